package storage

import "slices"

// Account is totals that are on disk in the very transaction of the units that
// moved them: the agent's ledger. The value is the owner's, the store does not
// understand it. It is asked for once a commit, however many units there are.
type Account struct {
	Key string
	// Encode returns the totals as they are now. It is called under the same lock
	// as Posting.Post, so that they are those of whole units.
	Encode func() []byte

	group *group // that will write it; guarded by intake.mu
}

// Posting enters one unit into its Account.
type Posting interface {
	// Post is called once, when it is sure that the unit is staged, with what it
	// brings and which of that a full stream or disk does not take; nil: none. It
	// must be quick, not call the store, and not keep the batches.
	Post(batches []StreamBatch, missed []bool)
}

// CursorPass moves a cursor in the transaction of a unit.
type CursorPass struct {
	Name, Stream string
	Next         uint64
	Passed       Passed

	// Loose: the reader needs nothing of the unit to go on behind what it has passed.
	// Where retention takes that before the unit is on disk, as when the disk is full, the
	// cursor goes there ahead of the unit: or else, after kill -9, it would lie in front of
	// records that are gone, and count them as expired.
	Loose bool
}

// Books is what the ledger is checked against, all as of the last commit.
type Books struct {
	Fork     uint32 // as Identity has it
	Streams  []StreamInfo
	Cursors  []Cursor
	Accounts map[string][]byte // by key; not to be written to
	// Interrupted: the process before did not end properly. What it had not committed is
	// in no book.
	Interrupted bool
}

// Books returns the accounts and what they account for.
func (s *Store) Books() Books {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b := Books{Fork: s.identity.fork, Streams: s.streamInfos(), Cursors: s.cursorInfos(), Accounts: make(map[string][]byte, len(s.accounts)), Interrupted: s.interrupted}
	for key, value := range s.accounts {
		b.Accounts[key] = value
	}
	return b
}

// missing returns which of the unit's batches find no room; nil if all do.
// overflows: none does. intake.mu is held; the answer is valid as long.
func (in *intake) missing(u *Unit, overflows bool) []bool {
	missed := in.missed[:0]
	any := false
	for i := range u.Batches {
		b := &u.Batches[i]
		m := b.Records.Len() > 0 && (overflows || (!u.Acks && in.gates[b.Stream].shut.Load() == gateDrops))
		missed, any = append(missed, m), any || m
	}
	in.missed = missed
	if !any {
		return nil
	}
	return missed
}

// post enters the unit into its account, and has the group write that. It
// reports whether the account was not among the group's before.
func (g *group) post(u *Unit, missed []bool) (joined bool) {
	if u.Posting != nil {
		u.Posting.Post(u.Batches, missed)
	}
	joined = g.join(u.Account)
	return g.join(u.Other) || joined
}

// join has the group write an account, which may be nil.
func (g *group) join(a *Account) (joined bool) {
	if a == nil || a.group == g {
		return false
	}
	a.group = g
	g.accounts = append(g.accounts, a)
	return true
}

// closeAccounts takes the accounts as they are at the end of the group.
func (g *group) closeAccounts() {
	for _, a := range g.accounts {
		a.group = nil
		g.totals = append(g.totals, Change{a.Key, a.Encode()})
	}
	g.accounts = nil
}

// pass moves the unit's cursors. They go to disk with group g and not before, except for loose ones.
func (s *Store) pass(g *group, passes []CursorPass) {
	if len(passes) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range passes {
		p := &passes[i]
		c := s.cursor(p.Name, p.Stream)
		if s.lags(c, p.Stream) && p.Loose {
			c.loosen()
		} else {
			c.tie(g.number, s.committed, p.Loose)
		}
		c.pass(p.Next, p.Passed)
	}
}

// appendAccounts encodes the totals of a group.
func (g *group) appendAccounts(b []byte) []byte {
	for i := range g.totals {
		t := &g.totals[i]
		b = append(appendChangeHead(b, stateAccount, len(t.Key), t.Value), t.Key...)
		b = append(b, t.Value...)
	}
	return b
}

// Account returns the committed value of an account; nil if there is none.
func (s *Store) Account(key string) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.accounts[key])
}
