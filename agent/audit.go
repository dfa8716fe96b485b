package agent

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// Audit returns the ledger as of the last commit, and beside it what was dropped since.
func (h host) Audit() query.Audit {
	books := h.a.store.Books()
	audit := auditOf(books)
	h.auditUncommitted(&audit, books.Accounts)
	for i := range audit.Pipelines {
		p := &audit.Pipelines[i]
		h.a.mu.Lock()
		counts := h.a.pipelineCounts[p.Name]
		h.a.mu.Unlock()
		if counts != nil {
			p.Rejected = counts.rejected.Get()
		}
	}
	h.auditInputs(&audit)
	audit.Gaps = auditGaps(h.a.store.Gaps())
	return audit
}

// auditUncommitted adds what was dropped since the last commit: a disk that takes
// nothing takes no word of that either. The accounts are older than what is dropped now,
// so nothing is missed in between.
func (h host) auditUncommitted(audit *query.Audit, accounts map[string][]byte) {
	h.a.mu.Lock()
	books := []*book{h.a.forwarderBook}
	for _, counts := range h.a.pipelineCounts {
		books = append(books, counts.book)
	}
	h.a.mu.Unlock()
	for _, b := range books {
		full := b.full.copy()
		if len(full) == 0 {
			continue
		}
		_ = parseBook(accounts[b.account.Key], func(c count, n uint64) { // as far as it goes
			if c.kind == countFull {
				full[c.name] -= min(full[c.name], n)
			}
		})
		for stream, n := range full {
			if n > 0 {
				audit.Stream(stream).Uncommitted += n
			}
		}
	}
}

// auditGaps is what damage took, range by range.
func auditGaps(gaps []storage.Gap) (all []query.GapAudit) {
	for _, g := range gaps {
		all = append(all, query.GapAudit{Stream: g.Stream, From: g.From, To: g.To - 1, Records: g.To - g.From, Reason: damageReason, Found: g.Found.UTC()})
	}
	return all
}

// damageReason is the one reason there is for a gap.
const damageReason = "damage"

// auditInputs says what pipelines have of each input, and what is known to be lost
// in front of it.
func (h host) auditInputs(audit *query.Audit) {
	received := make(map[string]uint64)
	for i := range audit.Pipelines {
		for input, n := range audit.Pipelines[i].Received {
			received[input] += n
		}
	}
	for _, in := range h.Status().Inputs {
		one := query.InputAudit{Name: in.Name, Received: received[in.Name], Dropped: in.Dropped}
		for _, l := range in.Listeners {
			one.KernelDrops += l.KernelDrops
		}
		delete(received, in.Name)
		audit.Inputs = append(audit.Inputs, one)
	}
	for input, n := range received { // the configuration has them no more
		audit.Inputs = append(audit.Inputs, query.InputAudit{Name: input, Received: n})
	}
	slices.SortFunc(audit.Inputs, func(a, b query.InputAudit) int { return cmp.Compare(a.Name, b.Name) })
}

// auditOf balances the books. It needs nothing but the store.
func auditOf(books storage.Books) (a query.Audit) {
	pipelines, forwarders, full := make(map[string]uint64), make(map[string]uint64), make(map[string]uint64) // by stream
	for _, key := range slices.Sorted(maps.Keys(books.Accounts)) {
		if name, ok := strings.CutPrefix(key, bookPipeline); ok {
			p := auditPipeline(name, books.Accounts[key])
			for stream, n := range p.Stored {
				pipelines[stream] += n
			}
			a.Pipelines = append(a.Pipelines, p)
			a.Modules = append(a.Modules, auditModules(name, books.Accounts[key])...)
		}
	}
	for _, value := range books.Accounts {
		_ = parseBook(value, func(c count, n uint64) { // as far as it goes
			if c.kind == countFull {
				full[c.name] += n
			}
		})
	}
	_ = parseBook(books.Accounts[bookForwarders], func(c count, n uint64) {
		if c.kind == countStored {
			forwarders[c.name] += n
		}
	})
	earlier, lost := make(map[string]uint64), make(map[string]uint64)
	_ = parseBook(books.Accounts[bookStreams], func(c count, n uint64) {
		switch c.kind {
		case countEarlier:
			earlier[c.name] += n
		case countLost:
			lost[c.name] += n
		}
	})
	ends := make(map[string]uint64)
	for _, s := range books.Streams {
		ends[s.Name] = s.Next
		if s.Name == "" {
			continue
		}
		one := query.StreamAudit{Name: s.Name, Stored: s.Next - 1, Pipelines: pipelines[s.Name], DeadLetters: forwarders[s.Name],
			Earlier: earlier[s.Name], Lost: lost[s.Name], Here: s.Records, Retention: s.First - 1,
			Damaged: s.Next - s.First - s.Records, Dropped: full[s.Name], Expired: s.Expired}
		one.Unexplained = int64(one.Pipelines + one.DeadLetters + one.Earlier - one.Lost - one.Stored)
		a.Streams = append(a.Streams, one)
	}
	for _, c := range books.Cursors {
		if _, ended := storage.ReaderOf(c.Name); c.Stream != startMark && !ended {
			a.Forwarders = append(a.Forwarders, auditCursor(&c, max(ends[c.Stream], 1)))
		}
	}
	for forwarder, streams := range readRedrives(books.Accounts[bookForwarders]) {
		for stream, r := range streams {
			a.Forwarders = append(a.Forwarders, auditRedrive(forwarder, stream, r))
		}
	}
	slices.SortFunc(a.Forwarders, func(a, b query.ForwarderAudit) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Stream, b.Stream))
	})
	a.Interrupted = books.Interrupted
	a.Sum()
	return a
}

func auditPipeline(name string, value []byte) query.PipelineAudit {
	p := query.PipelineAudit{Name: name, Received: map[string]uint64{}, Stored: map[string]uint64{}, Dropped: map[string]uint64{}}
	sum := uint64(0)
	_ = parseBook(value, func(c count, n uint64) { // it has a checksum; where it ends too soon it does not add up
		switch c.kind {
		case countBegan:
			p.Since = record.TimeOf(int64(n))
		case countReceived:
			p.Received[c.name] += n
			sum += n
		case countEmitted:
			p.Emitted += n
			sum += n
		case countBrought:
			p.Brought += n
			sum += n
		case countStored:
			p.Stored[c.name] += n
			sum -= n
		case countDropped:
			p.Dropped[c.name] += n
			sum -= n
		case countFull:
			p.Dropped[fullReason] += n
			sum -= n
		case countLeft:
			p.Left += n
			sum -= n
		case countHeld:
			p.Held += n
			sum -= n
		}
	})
	p.Unexplained = int64(sum)
	return p
}

// auditModules returns the modules that a pipeline has had, by name.
func auditModules(pipeline string, value []byte) []query.ModuleAudit {
	var all []query.ModuleAudit
	of := func(name string) *query.ModuleAudit {
		i := slices.IndexFunc(all, func(m query.ModuleAudit) bool { return m.Name == name })
		if i < 0 {
			i = len(all)
			all = append(all, query.ModuleAudit{Name: name, Pipeline: pipeline, Dropped: map[string]uint64{}})
		}
		return &all[i]
	}
	_ = parseBook(value, func(c count, n uint64) { // likewise
		switch c.kind {
		case countIn:
			of(c.name).In += n
		case countEmitted:
			of(c.name).Emitted += n
		case countBrought:
			if c.name == "" {
				return
			}
			of(c.name).Brought += n
		case countOut:
			of(c.name).Out += n
		case countDead:
			of(c.name).Dead += n
		case countHeld:
			of(c.name).Held += n
		case countDropped:
			if c.detail != "" {
				of(c.detail).Dropped[c.name] += n
			}
		}
	})
	for i := range all {
		m := &all[i]
		m.Unexplained = int64(m.In + m.Emitted + m.Brought - m.Out - m.Dead - m.Held)
		for _, n := range m.Dropped {
			m.Unexplained -= int64(n)
		}
	}
	slices.SortFunc(all, func(a, b query.ModuleAudit) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// auditCursor is a forwarder in one stream, whose next offset is end.
func auditCursor(c *storage.Cursor, end uint64) query.ForwarderAudit {
	d := &c.Passed
	f := query.ForwarderAudit{Name: c.Name, Stream: c.Stream, Start: c.Start, Stored: end - c.Start, Delivered: d.Delivered, Repeated: d.Repeated,
		Filtered: d.Filtered, Dead: d.Dead, Expired: c.Expired, Damaged: d.Damaged, Skipped: c.Skipped, Rewound: c.Rewound,
		Pending: end - c.Next - (c.Expired - d.Expired)} // what retention has taken in front of it is not to come
	f.Unexplained = int64(f.Stored + f.Rewound - f.Delivered - f.Filtered - f.Dead - f.Expired - f.Damaged - f.Skipped - f.Pending)
	return f
}

// auditRedrive is a forwarder in the dead letters that were asked to go again.
func auditRedrive(forwarder, stream string, r *redrive) query.ForwarderAudit {
	end := max(r.next, r.until)
	f := query.ForwarderAudit{Name: forwarder, Stream: stream, Redrive: true, Start: r.start, Stored: end - r.start, Redriven: r.redriven, Repeated: r.repeated,
		Filtered: r.others, Dead: r.again, Expired: r.expired, Damaged: r.damaged, Skipped: r.skipped, Rewound: r.rewound, Pending: end - r.next}
	f.Unexplained = int64(f.Stored + f.Rewound - f.Redriven - f.Filtered - f.Dead - f.Expired - f.Damaged - f.Skipped - f.Pending)
	return f
}
