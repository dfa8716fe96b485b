package relaywire

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// bring takes a frame of the next n offsets, each with the origin that f says, as a receiver does.
func (k *told) bring(t *testing.T, at *uint64, n uint64, f func(i uint64) Part) *Verdict {
	t.Helper()
	d := k.frame(*at, *at+n, 5)
	*at += n
	agents := []Agent{k.w.Agent}
	for i := range n {
		d.Origins = append(d.Origins, f(i))
		agents = append(agents, d.Origins[i].Agent)
	}
	idle := k.Idle(agents...)
	defer k.Lock(append(agents, idle...)...)()
	v, err := k.take(1, d, idle...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// again is what the disk has.
func (k *told) again(t *testing.T) *Known {
	t.Helper()
	again := NewKnown()
	for key, value := range k.disk {
		if err := again.Load(key, value); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
	}
	if again.size != k.size {
		t.Errorf("%d bytes are loaded, and %d were kept", again.size, k.size)
	}
	for id, a := range k.agents {
		if b := again.agents[id]; len(a.lines) > 0 && (b == nil || !reflect.DeepEqual(a.lines, b.lines) || a.forgot != b.forgot) {
			t.Errorf("what was loaded of %x is not what was kept", id)
		}
	}
	return again
}

// forgets reports what a Tell says to an agent.
func forgets(t *testing.T, k *Known, id Agent) bool {
	t.Helper()
	w := Writer{id, 1 << 31}
	k.Begin(w, 9)
	defer k.End(w, 9)
	tell, err := k.Ask(w, 9, &Ask{Stream: "app", Epoch: w.Epoch, Parts: Ranges{{1, never}}})
	if err != nil {
		t.Fatal(err)
	}
	return tell.Forgot
}

// TestAnOwnersAgentsShareTheirRoom: whatever one certificate's agents say, others lose nothing by it.
func TestAnOwnersAgentsShareTheirRoom(t *testing.T) {
	const most = 1 << 20
	k := newTold(t)
	k.Bound(most)
	at, epoch := uint64(1), uint32(0)
	of := func(id Agent) func(uint64) Part {
		return func(uint64) Part {
			epoch++
			return Part{Line{Writer{id, epoch}, "app"}, Range{1, 2}}
		}
	}
	victim := Agent{1}
	k.bring(t, &at, 100, of(victim))
	for i := range byte(20) {
		id := Agent{2, i}
		k.Begin(Writer{id, 1}, Session(i)+1)
		k.Own(id, "vm")
		for range 40 {
			k.bring(t, &at, 50, of(id))
		}
		k.mu.Lock()
		owned := k.owned["vm"]
		k.mu.Unlock()
		if beyond := owned - most/ownShare; beyond > (int(i)+2)*50*lineCost { // each has what one frame brings
			t.Fatalf("%d agents of one owner have %d bytes", i+1, owned)
		}
		if !k.agent(id).forgot {
			t.Error("what was forgotten is not said")
		}
		newest := arrival{epoch: epoch, stream: "app"}
		if len(k.agent(id).lines[newest].ranges) != 1 {
			t.Error("the newest is not kept")
		}
	}
	if a := k.agent(victim); len(a.lines) != 100 || a.forgot {
		t.Errorf("%d lines of another agent are kept, want 100", len(a.lines))
	}
	again := k.again(t)
	for i := range byte(20) {
		again.Own(Agent{2, i}, "vm")
	}
	if again.owned["vm"] != k.owned["vm"] {
		t.Errorf("got %d bytes of an owner, want %d", again.owned["vm"], k.owned["vm"])
	}
	if forgets(t, again, victim) || !forgets(t, again, Agent{2}) {
		t.Error("it is not said of whom something was forgotten")
	}
}

// TestRoomIsMadeOfWhoWasNotUsedForLongest: a relay can bring records of any number of agents.
func TestRoomIsMadeOfWhoWasNotUsedForLongest(t *testing.T) {
	const most = 1 << 20
	k := newTold(t)
	k.Bound(most)
	at := uint64(1)
	busy, agent := Agent{1}, uint64(0)
	evicted := 0
	for range 100 {
		v := k.bring(t, &at, 101, func(i uint64) Part {
			if i == 0 {
				return Part{Line{Writer{busy, 1}, "app"}, Range{at, at + 1}}
			}
			agent++
			return Part{Line{Writer{Agent([]byte(fmt.Sprintf("%016d", agent))), 1}, "app"}, Range{1, 2}}
		})
		evicted += len(v.Evicts())
		if k.size > most {
			t.Fatalf("%d bytes are kept", k.size)
		}
	}
	lines, size := 0, 0
	for _, a := range k.agents {
		lines += len(a.lines)
		for at, l := range a.lines {
			size += l.cost(at)
		}
	}
	marks := len(slices.DeleteFunc(slices.Collect(maps.Keys(k.disk)), func(key string) bool { return !strings.HasPrefix(key, MarkPrefix) }))
	if size != k.size || evicted == 0 || len(k.agents)+evicted != int(agent)+2 || lines != marks || len(k.disk) > 2*marks+1 {
		t.Errorf("%d agents and %d lines, %d evicted; %d marks, %d of lines; %d bytes, counted as %d", len(k.agents), lines, evicted, len(k.disk), marks, size, k.size)
	}
	again := k.again(t)
	for _, k := range []*Known{k.Known, again} {
		if forgets(t, k, busy) || !forgets(t, k, Agent([]byte(fmt.Sprintf("%016d", 1)))) {
			t.Error("it is not said of whom all was forgotten")
		}
	}
	first := Agent([]byte(fmt.Sprintf("%016d", 1)))
	k.bring(t, &at, 1, func(uint64) Part { return Part{Line{Writer{first, 2}, "app"}, Range{1, 2}} })
	if again = k.again(t); !forgets(t, again, first) {
		t.Error("of who has come back it is not said that all was forgotten")
	}
}

// TestAFramesAgentsMakeRoomToo: where all that is kept is of the agents that each frame is about.
func TestAFramesAgentsMakeRoomToo(t *testing.T) {
	const most = 1 << 20
	k := newTold(t)
	k.Bound(most)
	at, epoch := uint64(1), uint32(0)
	for range 200 {
		k.bring(t, &at, 50, func(i uint64) Part {
			epoch++
			return Part{Line{Writer{Agent{1, byte(i)}, epoch}, "app"}, Range{1, 2}}
		})
		if k.size > most {
			t.Fatalf("%d bytes are kept", k.size)
		}
	}
	k.again(t)
	if !forgets(t, k.Known, Agent{1, 0}) {
		t.Error("what was forgotten is not said")
	}
}

// TestWhoIsForgottenGoesOn in its session, and is told in the next.
func TestWhoIsForgottenGoesOn(t *testing.T) {
	k := newTold(t)
	k.Bound(1 << 20)
	k.must(t, k.frame(1, 4, 5))
	other := &told{k.Known, Writer{Agent{9}, 1}, k.disk}
	other.Begin(other.w, 1)
	other.ask(t, 1, "app", Ranges{{1, never}})
	at, agent := uint64(1), uint64(0)
	for gone := false; !gone; {
		if agent > 1<<20 {
			t.Fatal("it is kept for ever")
		}
		gone = slices.Contains(other.bring(t, &at, 100, func(uint64) Part {
			agent++
			return Part{Line{Writer{Agent([]byte(fmt.Sprintf("%016d", agent))), 1}, "app"}, Range{1, 2}}
		}).Evicts(), host)
	}
	k.must(t, k.frame(4, 6, 5))
	if _, err := k.take(1, k.frame(7, 8, 5)); !errors.Is(err, ErrHole) {
		t.Errorf("got %v", err)
	}
	if tell := k.ask(t, 1, "app", Ranges{{1, never}}); !tell.Forgot || len(tell.Missing) != 2 {
		t.Errorf("got %+v", tell)
	}
	if !forgets(t, k.again(t), host) {
		t.Error("what was forgotten is not said once loaded")
	}
}
