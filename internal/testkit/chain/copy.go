package chain

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
)

// Copy is what one tier has: of each stream its records in order, by name.
type Copy struct {
	tier    string
	streams map[string][]entry
}

// entry is a record: where it was first stored, and a checksum of its text.
type entry struct {
	place
	text uint64
}

// place is an origin within its stream.
type place struct {
	agent  uint64 // its first half
	epoch  uint64
	offset uint64
}

func (p place) String() string { return fmt.Sprintf("%016x…/%d/%d", p.agent, p.epoch, p.offset) }

// texts has the same checksum for the same text in one process.
var texts = maphash.MakeSeed()

// Read reads all that a tier has. It must not run.
func Read(ctx context.Context, t *Tier) (*Copy, error) {
	c := &Copy{tier: t.Name, streams: map[string][]entry{}}
	err := t.Export(ctx, func(r Stored) error {
		fields := strings.Split(r.Origin, "/")
		if len(fields) != 4 || len(fields[0]) != 32 || fields[2] != r.Stream {
			return fmt.Errorf("record %d of stream %s says it comes from %q", r.Offset, r.Stream, r.Origin)
		}
		var e entry
		var err [3]error
		e.agent, err[0] = strconv.ParseUint(fields[0][:16], 16, 64)
		e.epoch, err[1] = strconv.ParseUint(fields[1], 10, 32)
		e.offset, err[2] = strconv.ParseUint(fields[3], 10, 64)
		if err != [3]error{} {
			return fmt.Errorf("record %d of stream %s says it comes from %q", r.Offset, r.Stream, r.Origin)
		}
		e.text = maphash.String(texts, r.Message)
		c.streams[r.Stream] = append(c.streams[r.Stream], e)
		return nil
	})
	return c, err
}

// Len is how many records it has.
func (c *Copy) Len() (n int) {
	for _, all := range c.streams {
		n += len(all)
	}
	return n
}

// Join adds what another has that c has not, behind its own.
func (c *Copy) Join(other *Copy) {
	for stream, all := range other.streams {
		seen := make(map[place]bool, len(c.streams[stream]))
		for _, e := range c.streams[stream] {
			seen[e.place] = true
		}
		for _, e := range all {
			if !seen[e.place] {
				c.streams[stream] = append(c.streams[stream], e)
			}
		}
	}
}

// Difference is what a tier has otherwise than the one where all began.
type Difference struct {
	Lost, Twice, Strange, Altered, Disordered int
	Text                                      string // the first of each, for people; empty: there is none
}

// Compare holds what a tier has against what it should have: the same records in the
// same order in the same streams.
func (c *Copy) Compare(first *Copy) (d Difference) {
	names := map[string]bool{}
	for _, each := range []*Copy{c, first} {
		for name := range each.streams {
			names[name] = true
		}
	}
	for name := range names {
		c.compare(&d, first, name)
	}
	return d
}

func (c *Copy) compare(d *Difference, first *Copy, stream string) {
	got, want := c.streams[stream], first.streams[stream]
	if slices.Equal(got, want) {
		return
	}
	say := func(n *int, what string, p place, at int) {
		if *n++; *n <= 3 {
			d.Text += fmt.Sprintf("%s, stream %s: %s is %s (at %d)\n", c.tier, stream, p, what, at)
		}
	}
	wanted := make(map[place]int, len(want)) // and where
	for i, e := range want {
		wanted[e.place] = i
	}
	seen, last := make(map[place]bool, len(got)), -1
	for i, e := range got {
		at, known := wanted[e.place]
		switch {
		case !known:
			say(&d.Strange, "nothing that "+first.tier+" has", e.place, i)
			continue
		case seen[e.place]:
			say(&d.Twice, "there twice", e.place, i)
			continue
		case want[at].text != e.text:
			say(&d.Altered, "altered", e.place, i)
		case at < last:
			say(&d.Disordered, "behind a later one", e.place, i)
		}
		seen[e.place], last = true, max(last, at)
	}
	for i, e := range want {
		if !seen[e.place] {
			say(&d.Lost, "lost", e.place, i)
		}
	}
}
