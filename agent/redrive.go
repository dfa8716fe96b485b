package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// redrive is the way of one forwarder through one stream of dead letters. Those
// that it refused go to it again, once, in order; the others are passed over. It is in the
// forwarders' book, so it moves in the transaction of the dead letters it makes anew, and it
// pins nothing: retention takes dead letters as it would without.
//
//	until - start + rewound = redriven + again + others + expired + damaged + skipped + what is to come
type redrive struct {
	start, next, until                                                    uint64 // offsets; next == until: none is under way
	redriven, again, others, expired, damaged, skipped, rewound, repeated uint64
	moves                                                                 int // how often next was moved by hand since the agent's start
}

// numbers are what the book has of it, by their kind there.
func (r *redrive) numbers() map[byte]*uint64 {
	return map[byte]*uint64{
		countRedriveStart: &r.start, countRedriveNext: &r.next, countRedriveUntil: &r.until, countRedriven: &r.redriven,
		countRedriveAgain: &r.again, countRedriveOthers: &r.others, countRedriveExpired: &r.expired, countRedriveDamaged: &r.damaged,
		countRedriveSkipped: &r.skipped, countRedriveRewound: &r.rewound, countRedriveRepeated: &r.repeated,
	}
}

// pass moves it over dead letters of which p says what became.
func (r *redrive) pass(next uint64, p storage.Passed) {
	r.next, r.until = next, max(r.until, next) // it may have been stopped meanwhile
	r.redriven += p.Delivered
	r.again += p.Dead
	r.others += p.Filtered
	r.expired += p.Expired
	r.damaged += p.Damaged
	r.repeated += p.Repeated
}

// ask has it go on, from offset from where that is not 0, up to until.
func (r *redrive) ask(first, from, until uint64) {
	switch {
	case r.start == 0:
		r.start = max(from, first)
		r.next = r.start
		r.moves++
	case from > 0 && from != r.next:
		r.skipped += max(from, r.next) - r.next
		r.rewound += r.next - min(from, r.next)
		r.next = from
		r.moves++
	}
	r.until = max(r.next, until)
}

// redrives are one forwarder's, by stream of dead letters. They outlive a reload.
type redrives struct {
	forwarder string

	mu sync.Mutex
	of map[string]*redrive // guarded by mu
}

func newRedrives(forwarder string) *redrives {
	return &redrives{forwarder: forwarder, of: make(map[string]*redrive)}
}

// readRedrives returns the redrives in the forwarders' book, by forwarder and stream.
func readRedrives(value []byte) map[string]map[string]*redrive {
	all := make(map[string]map[string]*redrive)
	_ = parseBook(value, func(c count, n uint64) { // as far as it goes
		if (&redrive{}).numbers()[c.kind] == nil {
			return
		}
		if all[c.name] == nil {
			all[c.name] = make(map[string]*redrive)
		}
		r := all[c.name][c.detail]
		if r == nil {
			r = new(redrive)
			all[c.name][c.detail] = r
		}
		*r.numbers()[c.kind] = n
	})
	return all
}

// at returns how far the redrive of a stream has come; ok is false where none was ever asked for.
func (r *redrives) at(stream string) (now redrive, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.of[stream]; one != nil {
		return *one, true
	}
	return redrive{}, false
}

// underWay returns the streams of which a redrive has not come to its end, in order.
func (r *redrives) underWay() (streams []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, stream := range slices.Sorted(maps.Keys(r.of)) {
		if one := r.of[stream]; one.next < one.until {
			streams = append(streams, stream)
		}
	}
	return streams
}

// change changes one redrive and enters it into b. It is called from a Posting.
func (r *redrives) change(stream string, b *book, change func(*redrive)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.of[stream]
	if one == nil {
		one = new(redrive)
		r.of[stream] = one
	}
	change(one)
	for kind, n := range one.numbers() {
		b.set(count{kind, r.forwarder, stream}, *n)
	}
}

// sendsAgain reports whether stream is one of dead letters that the delivery sends
// again when it is asked to, rather than one that it covers.
func (d *delivery) sendsAgain(stream string) bool { return isDead(stream) && !d.covers(stream) }

// passAgain moves a redrive over the dead letters of s up to next. Those that were refused again
// are stored with the move, as are marks.
func (d *delivery) passAgain(ctx context.Context, s *sent, next uint64, p storage.Passed, graves []*grave, marks []storage.Change) error {
	if now, _ := d.redrives.at(s.stream); now.next != s.from {
		return nil // somebody has stopped it, and begun elsewhere; while moving is held, nobody does
	}
	u := storage.Unit{State: marks, Account: &d.book.account}
	if len(graves) > 0 {
		u.Batches = []storage.StreamBatch{{Stream: s.stream, Records: gather(graves)}}
	}
	u.Posting = entry(func(batches []storage.StreamBatch, missed []bool) {
		d.book.stores(batches, missed)
		d.redrives.change(s.stream, d.book, func(r *redrive) { r.pass(next, p) })
	})
	if _, err := d.store.Append(ctx, u); err != nil {
		return err
	}
	d.counts.passAgain(s.stream, p)
	d.buried(s.stream, graves)
	if now, _ := d.redrives.at(s.stream); now.next >= now.until {
		d.events.redriven(d.name, s.stream, now.redriven, now.again)
	}
	return nil
}

// errUnderWay: where a redrive begins can be moved only when it has ended.
var errUnderWay = errors.New("its dead letters are going again at the moment; wait, or stop that first")

// askRedrives changes what the redrives of a stream are to do, of all these
// forwarders, which are in the order of their names, or of none; and returns once that is on disk.
// moving: where they begin too. With errReplaced nothing is changed.
func askRedrives(ctx context.Context, all []*delivery, stream string, moving bool, ask func(*redrive)) error {
	ctx, cancel := context.WithTimeout(ctx, durableWithin)
	defer cancel()
	if err := enterRedrives(ctx, all, stream, moving, ask); err != nil {
		return err
	}
	receipt, err := all[0].store.Append(ctx, storage.Unit{Account: &all[0].book.account, Hurry: true}) // a Posting without records has no receipt to wait for
	if err == nil {
		err = receipt.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("it is done, but a restart may undo it: %w", err)
	}
	return nil
}

// enterRedrives is askRedrives that does not wait for the disk.
func enterRedrives(ctx context.Context, all []*delivery, stream string, moving bool, ask func(*redrive)) error {
	for _, d := range all {
		d.moving.Lock()
		defer d.moving.Unlock()
		if d.retired {
			return errReplaced
		}
		if now, _ := d.redrives.at(stream); moving && now.next < now.until {
			return fmt.Errorf("forwarder %q: %w", d.name, errUnderWay)
		}
	}
	for _, d := range all {
		if moving {
			d.mu.Lock()
			delete(d.skip, stream)
			delete(d.narrow, stream)
			delete(d.edges, stream)
			d.mu.Unlock()
		}
	}
	_, err := all[0].store.Append(ctx, storage.Unit{Account: &all[0].book.account, Posting: entry(func([]storage.StreamBatch, []bool) {
		for _, d := range all {
			d.redrives.change(stream, d.book, ask)
		}
	})})
	return err
}

// isMine reports whether a dead letter is of a record that this forwarder refused.
func (d *delivery) isMine(v record.View) bool { return signedBy(v) == d.name }

// restore makes of a dead letter the record that was refused, and returns the
// offset that it had in its stream; 0 where that is not known here. It keeps its origin,
// which says what the dead letters' stream cannot: where it was first, and under which epoch.
func restore(v record.View, r *record.Record, agent [16]byte) (place uint64) {
	r.Reset()
	v.Decode(r)
	r.Flags &^= record.Dead
	unsign(r)
	if o := &r.Origin; o.Agent == agent && o.Child == 0 {
		place = o.Sequence
	}
	return place
}

// letters are where the dead letters of a stream are, by the forwarder that
// refused them; "": none did, so they are a module's.
type letters struct {
	by       map[string][]uint64 // offsets
	complete bool
}

// of returns how many there are of a forwarder from an offset on.
func (l *letters) of(forwarder string, from uint64) uint64 {
	at, _ := slices.BinarySearch(l.by[forwarder], from)
	return uint64(len(l.by[forwarder]) - at)
}

func (l *letters) forget(forwarder string) { delete(l.by, forwarder) }

// left lists those of all other forwarders, or of one.
func (l *letters) left(only string) []query.Letters {
	left := []query.Letters{}
	for _, by := range slices.Sorted(maps.Keys(l.by)) {
		if only == "" || by == only {
			left = append(left, query.Letters{Forwarder: by, Records: uint64(len(l.by[by]))})
		}
	}
	return left
}

// countFor bounds how long dead letters are counted.
const countFor = 5 * time.Second

// countLetters looks through the dead letters from one offset to another.
func countLetters(ctx context.Context, store *storage.Store, stream string, from, until uint64) (letters, error) {
	ctx, cancel := context.WithTimeout(ctx, countFor)
	defer cancel()
	l := letters{by: make(map[string][]uint64), complete: true}
	b := record.NewBatch()
	defer b.Release()
	for at := from; at < until; {
		if ctx.Err() != nil {
			l.complete = false
			return l, nil
		}
		first, err := store.Read(stream, at, b)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return l, fmt.Errorf("read stream %q at %d: %w", stream, at, err)
		}
		for i := range b.Len() {
			if offset := first + uint64(i); offset >= from && offset < until {
				by := signedBy(b.At(i))
				l.by[by] = append(l.by[by], offset)
			}
		}
		at = first + uint64(b.Len())
	}
	return l, nil
}

// redrivesOf returns those of a forwarder. a.mu is held.
func (a *Agent) redrivesOf(forwarder string) *redrives {
	if a.redrives[forwarder] == nil {
		a.redrives[forwarder] = newRedrives(forwarder)
	}
	return a.redrives[forwarder]
}
