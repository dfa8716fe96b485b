package agent

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/runnel-log/runnel/storage"
	"github.com/runnel-log/runnel/wasm"
)

// moduleTally is what a module made of one batch.
type moduleTally struct {
	name                         string
	in, emitted, out, dead, held int
	dropped                      []wasm.Dropped
}

// of returns the tally of a module, a new one if it has none.
func (t *tally) of(module string) *moduleTally {
	for i := range t.modules {
		if t.modules[i].name == module {
			return &t.modules[i]
		}
	}
	if t.modules == nil {
		t.modules = t.room[:0]
	}
	t.modules = append(t.modules, moduleTally{name: module})
	return &t.modules[len(t.modules)-1]
}

// unit is what goes into the store of a batch.
func (t *tally) unit(batches []storage.StreamBatch, changes []storage.Change, x extra) storage.Unit {
	u := storage.Unit{Batches: batches, Block: x.whole, State: changes, Hurry: x.hurry, Acks: x.hurry, Account: &t.counts.book.account, Posting: t}
	if t.left != nil {
		u.Other = &t.left.from.account
	}
	return u
}

// nothing reports whether there is nothing to enter into the ledger.
func (t *tally) nothing() bool {
	return t.took == 0 && t.emitted == 0 && t.held == 0 && len(t.dropped) == 0
}

// Reasons of the pipeline's own.
const (
	fullReason    = "full"    // the stream was, or the disk, and drops what is new
	damagedReason = "damaged" // what a module held cannot be read any more
	otherReason   = "other"   // from the hundredth reason on
)

// Post enters a batch into the pipeline's book and counts it, in the very place that it
// has among all others.
func (t *tally) Post(batches []storage.StreamBatch, missed []bool) {
	b := t.counts.book
	if t.left != nil {
		t.left.post(b)
	} else {
		b.add(count{countReceived, t.input, ""}, uint64(t.took))
	}
	for reason, n := range t.dropped {
		b.add(count{countDropped, label(reason), ""}, uint64(n-t.byModules(reason)))
	}
	for i := range t.modules {
		b.post(&t.modules[i])
	}
	stored := b.stores(batches, missed)
	t.drop(fullReason, recordsIn(batches)-stored)
	t.counts.add(t, stored)
}

// byModules returns how many records modules dropped for a reason.
func (t *tally) byModules(reason string) (n int) {
	for i := range t.modules {
		for _, d := range t.modules[i].dropped {
			if d.Reason == reason {
				n += d.Count
			}
		}
	}
	return n
}

// post enters what a module made of a batch.
func (b *book) post(m *moduleTally) {
	for _, c := range []struct {
		kind byte
		n    int
	}{{countIn, m.in}, {countEmitted, m.emitted}, {countOut, m.out}, {countDead, m.dead}, {countHeld, m.held}} {
		b.add(count{c.kind, m.name, ""}, uint64(c.n))
	}
	for _, d := range m.dropped {
		b.add(count{countDropped, label(d.Reason), m.name}, uint64(d.Count))
	}
}

// entry is a Posting of a unit that is not a batch on its way through a pipeline.
type entry func(batches []storage.StreamBatch, missed []bool)

func (e entry) Post(batches []storage.StreamBatch, missed []bool) { e(batches, missed) }

// stores enters what of a unit is stored, and what is not.
func (b *book) stores(batches []storage.StreamBatch, missed []bool) (stored int) {
	for i := range batches {
		n, kind := batches[i].Records.Len(), byte(countStored)
		if missed != nil && missed[i] {
			kind = countFull
		} else {
			stored += n
		}
		b.add(count{kind, batches[i].Stream, ""}, uint64(n))
	}
	return stored
}

// departure is what a module held that is leaving its pipeline for good, on its way
// through one that may be another.
type departure struct {
	from   *book
	module string
	n      int
}

// post enters the departure into both books.
func (d *departure) post(into *book) {
	d.from.add(count{countHeld, d.module, ""}, -uint64(d.n))
	d.from.add(count{countOut, d.module, ""}, uint64(d.n))
	d.from.add(count{countLeft, d.module, ""}, uint64(d.n))
	into.add(count{countBrought, "", ""}, uint64(d.n))
}

// enter puts right what the book says modules hold, where that is not so. Nothing
// has been added to the book yet of what they hold.
func (s *states) enter(ctx context.Context, store *storage.Store, b *book) error {
	holds, booked := make(map[string]int), make(map[string]int)
	for module, state := range s.module {
		if n, _ := state.Held(); n > 0 {
			holds[module] = n
		}
	}
	_ = parseBook(store.Account(b.account.Key), func(c count, n uint64) { // it has been read before
		if c.kind == countHeld && n > 0 {
			booked[c.name] = int(n)
		}
	})
	if maps.Equal(holds, booked) {
		return nil
	}
	for module := range booked {
		holds[module] += 0 // those that hold nothing too
	}
	_, err := store.Append(ctx, storage.Unit{Account: &b.account, Posting: entry(func([]storage.StreamBatch, []bool) {
		for module, n := range holds {
			b.holds(module, n)
		}
	})})
	return err
}

// holds puts right what the book says a module holds: part of it cannot be read
// any more, or was held before there was a ledger.
func (b *book) holds(module string, n int) {
	has := b.get(count{countHeld, module, ""})
	b.set(count{countHeld, module, ""}, uint64(n))
	switch {
	case has > uint64(n):
		b.add(count{countDropped, damagedReason, module}, has-uint64(n))
	case has < uint64(n):
		b.add(count{countBrought, module, ""}, uint64(n)-has)
	}
}

// putRight compares the books with what the store has, before anything is added:
// records that damage has taken, or that were there before the ledger began.
func (a *Agent) putRight(ctx context.Context) error {
	books := a.store.Books()
	streams, err := openBook(a.store, bookStreams)
	if err != nil {
		a.events.bookDamaged(bookStreams, err)
	}
	fork := count{kind: countFork}
	forked := streams.get(fork) != uint64(books.Fork)
	streams.set(fork, uint64(books.Fork))
	moved := forked
	stored := storedBy(books.Accounts)
	for _, s := range books.Streams {
		earlier, lost := count{countEarlier, s.Name, ""}, count{countLost, s.Name, ""}
		has := s.Next - 1
		want := stored[s.Name] + streams.get(earlier) - streams.get(lost)
		switch {
		case want > has: // in one transaction with their records, so those were there once
			streams.add(lost, want-has)
			a.events.lostToDamage(s.Name, want-has)
			moved = true
		case want < has && forked:
			streams.add(earlier, has-want)
			moved = true
		}
	}
	if !moved {
		return nil
	}
	receipt, err := a.store.Append(ctx, storage.Unit{Account: &streams.account, Hurry: true})
	if err != nil || len(books.Streams) == 0 {
		return err
	}
	// Or an audit in the first moments would find what is about to be explained. A
	// disk that takes nothing is no reason not to start.
	ctx, cancel := context.WithTimeout(ctx, enterWithin)
	defer cancel()
	if err := receipt.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// enterWithin bounds how long a start waits for the ledger.
const enterWithin = time.Second

// storedBy adds up what pipelines and forwarders have stored in each stream.
func storedBy(accounts map[string][]byte) map[string]uint64 {
	stored := make(map[string]uint64)
	for _, value := range accounts {
		_ = parseBook(value, func(c count, n uint64) { // a damaged one counts as far as it goes
			if c.kind == countStored {
				stored[c.name] += n
			}
		})
	}
	return stored
}
