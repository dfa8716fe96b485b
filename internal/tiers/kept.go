package tiers

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// keptFor is for how long what is kept of an agent is good enough, while nothing but the time
// and its lag have changed.
const keptFor = 5 * time.Minute

// kept is what the agent has on disk of one below.
type kept struct {
	at    time.Time // what its Seen was then; zero: nothing is kept
	lasts []byte    // what of it is news when it changes
}

// Change is what is to be kept of an agent below in place of what was; a nil Value: nothing
// any more.
type Change struct {
	Agent relaywire.Agent
	Value []byte

	kept kept
}

// Changes returns what has changed of who is below since Kept was last told; without all
// only what is worth it.
func (t *Tiers) Changes(all bool) (changes []Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(time.Now())
	for agent := range t.gone {
		changes = append(changes, Change{Agent: agent})
	}
	for _, b := range t.below {
		if b.worth(all) {
			changes = append(changes, Change{b.Agent, b.encode(), kept{b.Seen, b.lasting()}})
		}
	}
	return changes
}

// Kept notes that what Changes returned is on its way to the disk.
func (t *Tiers) Kept(changes []Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range changes {
		if b := t.below[c.Agent]; b != nil && c.Value != nil {
			b.kept = c.kept
		}
		if c.Value == nil {
			delete(t.gone, c.Agent)
		}
	}
}

// worth reports whether b is to be kept again.
func (b *Below) worth(all bool) bool {
	since := b.Seen.Sub(b.kept.at)
	return b.kept.at.IsZero() || since > keptFor || all && since != 0 || !bytes.Equal(b.lasting(), b.kept.lasts)
}

// lasting is what does not change all the time.
func (b *Below) lasting() []byte {
	c := *b
	c.Seen, c.Reported, c.Lag = time.Time{}, time.Time{}, relaywire.Lag{Lost: b.Lag.Lost}
	return c.encode()
}

const keptVersion = 1

// encode writes what is kept (docs/format/relay.md "Agents below").
func (b *Below) encode() []byte {
	out := []byte{keptVersion, b.Via}
	for _, text := range []string{b.Name, b.Build, b.Input, b.Identity, b.Through.Name} {
		out = append(binary.AppendUvarint(out, uint64(len(text))), text...)
	}
	out = append(out, b.Through.Agent[:]...)
	for _, at := range []time.Time{b.Seen, b.Reported} {
		n := int64(0)
		if !at.IsZero() {
			n = max(0, at.UnixNano())
		}
		out = binary.AppendUvarint(out, uint64(n))
	}
	for _, n := range []uint64{b.Lag.Records, b.Lag.Bytes, uint64(max(0, b.Lag.Oldest)), b.Lag.Lost} {
		out = binary.AppendUvarint(out, n)
	}
	return out
}

var errKept = errors.New("malformed mark of an agent below")

// decode reads what encode has written.
func decode(agent relaywire.Agent, value []byte) (*Below, error) {
	if len(value) < 2 || value[0] != keptVersion {
		return nil, errKept
	}
	b, ok := new(Below), true
	b.Agent, b.Via = agent, value[1]
	value = value[2:]
	number := func() uint64 {
		n, size := binary.Uvarint(value)
		if size <= 0 {
			ok, value = false, nil
			return 0
		}
		value = value[size:]
		return n
	}
	for _, text := range []*string{&b.Name, &b.Build, &b.Input, &b.Identity, &b.Through.Name} {
		n := number()
		if n > uint64(len(value)) {
			return nil, errKept
		}
		*text, value = string(value[:n]), value[n:]
	}
	if len(value) < len(b.Through.Agent) {
		return nil, errKept
	}
	value = value[copy(b.Through.Agent[:], value):]
	for _, at := range []*time.Time{&b.Seen, &b.Reported} {
		if n := number(); n > math.MaxInt64 {
			ok = false
		} else if n > 0 {
			*at = time.Unix(0, int64(n))
		}
	}
	b.Lag.Records, b.Lag.Bytes = number(), number()
	oldest := number()
	b.Lag.Oldest, b.Lag.Lost = time.Duration(min(oldest, math.MaxInt64)), number()
	if !ok || len(value) > 0 {
		return nil, errKept
	}
	return b, nil
}

// Remember takes over, at a start, what was kept of agents below: they were there before. What
// cannot be read is kept no longer.
func (t *Tiers) Remember(values map[relaywire.Agent][]byte) error {
	var errs []error
	var all []*Below
	t.mu.Lock()
	defer t.mu.Unlock()
	for agent, value := range values {
		b, err := decode(agent, value)
		if err != nil {
			errs = append(errs, fmt.Errorf("agent %x: %w", agent, err))
			t.gone[agent] = struct{}{}
			continue
		}
		all = append(all, b)
	}
	// Those directly below first, as they say who reports the others, and then the oldest.
	slices.SortFunc(all, func(a, b *Below) int {
		return cmp.Or(cmp.Compare(min(a.Via, 2), min(b.Via, 2)), a.Seen.Compare(b.Seen))
	})
	for _, b := range all {
		t.remember(b)
	}
	return errors.Join(errs...)
}

// remember takes over one; t.mu is held.
func (t *Tiers) remember(b *Below) {
	now, from := time.Now(), source{identity: b.Identity}
	if b.Via > 1 {
		from = source{agent: b.Through.Agent}
		if by := t.below[b.Through.Agent]; by != nil && by.Identity != "" {
			from = source{identity: by.Identity}
		}
	}
	b.kept = kept{b.Seen, b.lasting()}
	for _, at := range []*time.Time{&b.Seen, &b.Reported} {
		if at.After(now) { // of a clock that was ahead
			*at = now
		}
	}
	if now.Sub(b.Seen) > forgetAfter || !t.room(from) {
		t.gone[b.Agent] = struct{}{}
		return
	}
	b.source, b.Before = from, true
	t.add(b.Agent, from)
	t.below[b.Agent] = b
}
