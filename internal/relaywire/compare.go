package relaywire

import (
	"fmt"
	"slices"
)

// Own is what a sender knows of one of its lines when it compares.
type Own struct {
	Range          // all that was ever written of it, without To; what is gone by now counts
	Acked   Ranges // what this receiver has acknowledged; the rest of the parts that were asked for, nobody has
	Running bool   // this run still writes the line
	Unsaid  bool   // this run began the line since there was another copy, and has sent this receiver nothing of it
}

// Outcome is what a sender makes of a Tell.
type Outcome struct {
	Again     Ranges // acknowledged once and lost since: to be sent again, as far as it is still there
	Delivered Ranges // it is there though its acknowledgement never came: it counts as acknowledged
	// Forgotten was acknowledged once, and is too long ago for the receiver to say that it is there: it counts as
	// delivered. If there is any, the line is asked for again without it.
	Forgotten Ranges
	Send      Ranges // not there yet; the last range ends where the Ask did
	// Doubt is never sent, by nobody, and never asked for again: it is said to be in doubt, and counted. If there is any, the line is
	// asked for again without it before anything of the line is sent.
	Doubt Ranges
	// Other says that another copy of this agent, with its memory, writes the line too. Where the
	// line is Running, the store begins a new epoch, and the sender a new session in its name.
	Other bool
}

// Compare says what to make of a receiver's answer. sum returns the checksum (Sum) of the record at an offset, and false
// where it is not there any more. An error is a peer that lies; it says which rule it broke.
func (t *Tell) Compare(q *Ask, own Own, sum func(offset uint64) (uint64, bool)) (o Outcome, err error) {
	if err := t.answers(q); err != nil {
		return o, err
	}
	proven := uint64(0)           // histories that parted once do not meet again: up to here they are one
	other, beyond := false, false // prints of another's records, and of what lies behind all that was ever written
	for _, p := range t.Prints {
		beyond = beyond || p.To > own.To
		if p.From < own.From || p.To > own.To {
			continue // of what a copy of the disk has not
		}
		if mine, ok := sum(p.To - 1); !ok {
			continue
		} else if mine != p.Sum {
			other = true
		} else {
			proven = max(proven, p.To)
		}
	}
	onward := own.Running && t.Ends.To > own.To
	switch o.Other = other || onward; {
	case onward && !other && !beyond:
		return Outcome{}, fmt.Errorf("%w: stream %q is said to go on up to %d, this run has written it up to %d, and no print shows anything behind that; %s", ErrMalformed,
			t.Stream, t.Ends.To, own.To, restart)
	case o.Other && own.Running && own.Unsaid:
		return Outcome{}, fmt.Errorf("%w: records of stream %q are said to be there under an epoch that has just begun, and of which nothing was sent; %s", ErrMalformed, t.Stream, restart)
	}
	for _, part := range q.Parts {
		o.sort(part, t, &own, proven)
	}
	return o, nil
}

// restart is what helps where the receiver does not lie.
const restart = "if a copy of this machine, with its memory, runs too, give it a data directory of its own and restart this agent"

// sort adds a part of the question to where it belongs.
func (o *Outcome) sort(part Range, t *Tell, own *Own, proven uint64) {
	missing := within(t.Missing, part)
	for _, r := range missing {
		unacked := own.Acked.Missing(nil, r)
		for _, acked := range Ranges(unacked).Missing(nil, r) {
			known := t.knownFrom(acked)
			o.Forgotten = o.Forgotten.Add(Range{acked.From, known})
			o.Again = o.Again.Add(Range{known, acked.To})
		}
		for _, u := range unacked {
			written := Range{u.From, max(u.From, min(u.To, own.To))}
			if o.Other {
				o.Doubt, u.From = o.Doubt.Add(written), written.To
			}
			o.Send = o.Send.Add(u)
		}
	}
	for _, there := range missing.Missing(nil, part) {
		for _, u := range own.Acked.Missing(nil, there) {
			u.To = max(u.From, min(u.To, own.To))
			split := min(max(u.From, proven), u.To)
			if o.Other {
				split = u.From
			}
			o.Delivered = o.Delivered.Add(Range{u.From, split})
			o.Doubt = o.Doubt.Add(Range{split, u.To})
		}
	}
}

// knownFrom returns from where on the receiver would know if r had been there.
func (t *Tell) knownFrom(r Range) uint64 {
	switch {
	case !t.Forgot:
		return r.From
	case t.Ends.Len() == 0:
		return r.To
	}
	return min(max(r.From, t.Ends.From), r.To)
}

// within returns what of the set is in r.
func within(s Ranges, r Range) (in Ranges) {
	for _, have := range s {
		in = in.Add(Range{max(have.From, r.From), min(have.To, r.To)})
	}
	return in
}

// answers reports whether t can be the answer to q.
func (t *Tell) answers(q *Ask) error {
	if t.Stream != q.Stream || t.Epoch != q.Epoch {
		return fmt.Errorf("%w: stream %q was asked for, and the answer is of %q", ErrMalformed, q.Stream, t.Stream)
	}
	for _, r := range t.Missing {
		if !slices.ContainsFunc(q.Parts, func(p Range) bool { return p.From <= r.From && r.To <= p.To }) {
			return fmt.Errorf("%w: [%d, %d) of stream %q is said to be missing, and was not asked for", ErrMalformed, r.From, r.To, t.Stream)
		}
	}
	for _, p := range q.Parts {
		for _, there := range t.Missing.Missing(nil, p) {
			if there.From < t.Ends.From || there.To > t.Ends.To {
				return fmt.Errorf("%w: [%d, %d) of stream %q is said to be there, and the line to have nothing but [%d, %d)", ErrMalformed,
					there.From, there.To, t.Stream, t.Ends.From, t.Ends.To)
			}
		}
	}
	return nil
}
