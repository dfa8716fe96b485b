package relaywire

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// mostSessions ends what could go on for ever: two copies that both live may take the word
// from each other as long as neither gets to say anything.
const mostSessions = 7

// scenario is what may go wrong in one exploration, besides crashes, lost and doubled
// messages and broken connections, which may in each.
type scenario struct {
	name     string
	roll     []int // whose disk may be put back to what it was
	copies   bool  // the original's disk may be copied
	lives    bool  // the original may be copied with its memory
	failover bool  // the original may turn to the other relay
	perishes bool  // the first relay may be lost for ever, and records are kept until their end
	joined   bool  // frames may hold records of several commits, of which a copy may lack some
	reorder  bool  // of messages; there is one way, so that records keep their order
	records  [2]int
}

var scenarios = []scenario{
	{name: "network", reorder: true, records: [2]int{2, 0}},
	{name: "failover", failover: true, records: [2]int{2, 0}},
	{name: "relay lost", failover: true, perishes: true, records: [2]int{modelRecords, 0}},
	{name: "sender restored", roll: []int{original}, records: [2]int{modelRecords, 0}},
	{name: "relay restored", roll: []int{relay1}, failover: true, records: [2]int{1, 0}},
	{name: "relay and final restored", roll: []int{relay1, final}, records: [2]int{modelRecords, 0}},
	{name: "copied", copies: true, records: [2]int{modelRecords, 1}},
	{name: "copied, several upstreams", copies: true, failover: true, records: [2]int{1, 1}},
	{name: "copied alive", lives: true, joined: true, records: [2]int{modelRecords, 1}},
}

// step is one way on from a world.
type step struct {
	name string // with verbs for the three numbers
	n    [3]int
	do   func(w *world)
}

func (s step) String() string { return fmt.Sprintf(s.name, s.n[0], s.n[1], s.n[2]) }

// steps lists every way on. The functions own what they change.
func (s *scenario) steps(w *world, f *flaws) (all []step) {
	add := func(name string, n [3]int, do func(w *world)) { all = append(all, step{name, n, do}) }
	fault := func(name string, n [3]int, do func(w *world)) {
		if w.faults > 0 {
			add(name, n, func(w *world) { w.faults--; do(w) })
		}
	}
	for i := range final {
		p := w.places[i]
		if !p.there {
			continue
		}
		if i <= copied && w.records[i] > 0 {
			add("%d stores%.0d%.0d", [3]int{i}, func(w *world) {
				w.own(i)
				w.records[i]--
				w.contents++
				w.store(i, 'a'+w.contents-1, nil)
			})
		}
		if !p.speaking && w.owes(i) && w.nonces < mostSessions {
			add("%d connects%.0d%.0d", [3]int{i}, func(w *world) { w.own(i); w.own(p.upstream); w.connect(i, true, f) })
			fault("%d connects, unheard%.0d%.0d", [3]int{i}, func(w *world) { w.own(i); w.own(p.upstream); w.connect(i, false, f) })
		}
		if p.speaking {
			fault("%d loses its connection%.0d%.0d", [3]int{i}, func(w *world) { w.own(i).speaking = false })
			if w.says(i) {
				fault("%d loses its connection, and what is on it%.0d%.0d", [3]int{i}, func(w *world) { w.own(i).speaking = false; w.silence(i) })
			}
			if s.failover && i == original && !w.perished {
				fault("%d turns to the other relay%.0d%.0d", [3]int{i}, func(w *world) {
					p := w.own(i)
					p.speaking, p.upstream = false, relay1+relay2-p.upstream
				})
			}
		}
	}
	s.disasters(w, f, fault)
	s.messages(w, f, add, fault)
	return all
}

// owes reports whether a place has what nobody is known to have: with nothing to say
// it may as well say nothing.
func (w *world) owes(i int) bool {
	p := w.places[i]
	for at := range uint64(len(p.log)) {
		part := p.part(at + 1)
		has := p.ackedByAny(part)
		if w.keeps && i <= copied {
			has = p.ackedBy(p.upstream, part)
		}
		if !has && !p.doubt[part.Line].Has(part.Range) {
			return true
		}
	}
	return false
}

func (s *scenario) disasters(w *world, f *flaws, fault func(string, [3]int, func(*world))) {
	for i := range places {
		if w.places[i].there && (i != relay2 || s.failover) {
			fault("%d crashes%.0d%.0d", [3]int{i}, func(w *world) { w.own(i); w.crash(i, false, f) })
			if w.says(i) {
				fault("%d crashes, and what it said is lost%.0d%.0d", [3]int{i}, func(w *world) { w.own(i); w.silence(i); w.crash(i, false, f) })
			}
			if i != final && !sameAcks(w.places[i]) {
				fault("%d crashes and forgets%.0d%.0d", [3]int{i}, func(w *world) { w.own(i); w.crash(i, true, f) })
			}
		}
	}
	for _, i := range s.roll {
		if w.snapshot[i] == nil {
			fault("%d is noted down%.0d%.0d", [3]int{i}, func(w *world) { w.faults++; w.snapshot[i] = w.places[i].disk() })
		}
		if w.snapshot[i] != nil && w.snapshot[i].there {
			fault("%d is put back%.0d%.0d", [3]int{i}, func(w *world) {
				w.faults++ // what the scenario is about is not one of the faults
				w.places[i] = w.snapshot[i].disk()
				w.snapshot[i] = &place{} // once
				w.open(i, f)
			})
		}
	}
	if s.perishes && !w.perished {
		fault("%d is lost for ever%.0d%.0d", [3]int{relay1}, func(w *world) { w.faults++; w.perish() })
	}
	if s.copies && !w.places[copied].there {
		fault("%d is copied%.0d%.0d", [3]int{}, func(w *world) {
			w.faults++
			w.places[copied] = w.places[original].disk()
			w.open(copied, f)
		})
	}
	if s.lives && !w.places[copied].there {
		fault("%d is copied alive%.0d%.0d", [3]int{}, func(w *world) {
			w.faults++
			w.alive = true
			p := w.own(original)
			c := p.disk()
			c.upstream, c.onDisk = p.upstream, p.onDisk
			w.places[copied] = c
		})
	}
}

// sameAcks reports whether all that p knows to be acknowledged is on its disk.
func sameAcks(p *place) bool {
	for r := range places {
		if !maps.EqualFunc(p.acked[r], p.onDisk[r], func(a, b Ranges) bool { return slices.Equal(a, b) }) {
			return false
		}
	}
	return true
}

func (s *scenario) messages(w *world, f *flaws, add, fault func(string, [3]int, func(*world))) {
	for n := range w.net {
		m := w.net[n]
		first := true
		for _, before := range w.net[:n] {
			first = first && (before.from != m.from || before.to != m.to || before.session != m.session)
		}
		what := [3]int{m.from, m.to, int(m.data.From)}
		kind := "%d → %d offset %d"
		if m.ack {
			kind += " acknowledged"
		}
		take := func(w *world) { w.net = append(append([]message(nil), w.net[:n]...), w.net[n+1:]...) }
		deliver := func(w *world) { w.own(m.to); w.own(m.from); w.deliver(m, f) }
		if first {
			add(kind+" arrives", what, func(w *world) { take(w); deliver(w) })
			fault(kind+" is lost", what, take)
			fault(kind+" arrives twice", what, deliver)
		} else if s.reorder {
			fault(kind+" overtakes", what, func(w *world) { take(w); deliver(w) })
		}
	}
}

// settle lets all that is up say all that it can, to everybody it knows, until nothing
// is new any more.
func (w *world) settle(f *flaws) {
	for i := range places {
		w.own(i)
	}
	flow := func() {
		for len(w.net) > 0 {
			m := w.net[0]
			w.net = w.net[1:]
			w.deliver(m, f)
		}
	}
	flow()
	for range 4 {
		for _, i := range []int{original, copied, relay1, relay2} {
			p := w.places[i]
			for _, up := range []int{relay1, relay2, final} {
				if !p.there || !w.places[up].there || (up == final) != (i > copied) {
					continue
				}
				p.speaking, p.upstream = false, up
				w.connect(i, true, f)
				if !p.speaking { // forked
					w.connect(i, true, f)
				}
				flow()
			}
		}
	}
}

// trace is how a state was reached.
type trace struct {
	before *trace
	step   step
}

func (t *trace) String() string {
	var names []string
	for ; t != nil; t = t.before {
		names = append([]string{t.step.String()}, names...)
	}
	return strings.Join(names, "\n  ")
}

// explore walks through every state that the scenario has, breadth first, and returns
// how many there are, and the first trace that breaks a promise; at most limit states.
func (s *scenario) explore(faults, limit int, f *flaws) (states int, broken string) {
	type node struct {
		w *world
		t *trace
	}
	start := newWorld(faults)
	start.records = s.records
	start.joined, start.keeps = s.joined, s.perishes
	if !s.lives { // there is always one to compare
		for _, p := range start.places {
			if p.known != nil {
				p.known.prints = prints
			}
		}
	}
	seen := map[[sha256.Size224]byte]struct{}{}
	var key []byte
	queue := []node{{start, nil}}
	for len(queue) > 0 && states < limit {
		n := queue[0]
		queue[0] = node{} // or all worlds are kept
		queue = queue[1:]
		states++
		quiet := true
		for _, st := range s.steps(n.w, f) {
			w := n.w.clone()
			st.do(w)
			quiet = quiet && w.faults < n.w.faults
			key = w.key(key[:0])
			h := sha256.Sum224(key)
			if _, had := seen[h]; had {
				continue
			}
			seen[h] = struct{}{}
			st.do = nil // or the trace keeps every world
			t := &trace{n.t, st}
			if what := w.broken(s.reorder, f); what != "" {
				return states, what + "\n  " + t.String()
			}
			queue = append(queue, node{w, t})
		}
		if quiet { // nothing happens any more by itself
			w := n.w.clone()
			w.settle(f)
			what := w.broken(s.reorder, f)
			if what == "" {
				what = w.lost()
			}
			if what != "" {
				return states, what + ", when all was said\n  " + n.t.String()
			}
		}
	}
	return states, ""
}

// TestNothingIsLostOrDoubledInAnyState walks through the protocol's states.
func TestNothingIsLostOrDoubledInAnyState(t *testing.T) {
	for i := range scenarios {
		s := &scenarios[i]
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			states, broken := s.explore(modelFaults, modelStates, &flaws{})
			t.Logf("%d states", states)
			if broken != "" {
				t.Error(broken)
			}
			if states == modelStates && !soak {
				t.Errorf("there are more than %d states", states)
			}
		})
	}
}

// TestSeededFlawsAreFound: an explorer that finds nothing proves nothing.
func TestSeededFlawsAreFound(t *testing.T) {
	f := func(in string, records int, f flaws) {
		t.Helper()
		s := scenarios[slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == in })]
		s.records[0] = max(s.records[0], records)
		states, broken := s.explore(1, modelStates, &f)
		if broken == "" {
			t.Errorf("%+v: not found in %d states", f, states)
			return
		}
		t.Logf("%+v: in state %d: %s", f, states, broken)
	}
	f("sender restored", 2, flaws{oneEpoch: true, noForks: true}) // prints alone would tell, and leave more in doubt
	f("network", 1, flaws{marksApart: true})
	f("network", 1, flaws{cursorRules: true})
	f("network", 1, flaws{noHoles: true})
	f("network", 1, flaws{earlyAcks: true})
	f("failover", 1, flaws{noOrigins: true})
	f("relay restored", 1, flaws{noReserve: true})
	f("copied alive", 1, flaws{noForks: true})
	f("copied alive", 1, flaws{noProof: true})
	f("network", 1, flaws{hopEnds: true})
	f("relay lost", 1, flaws{noKeep: true})
}
