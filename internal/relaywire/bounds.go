package relaywire

import (
	"cmp"
	"slices"
)

// Bounds of what is kept for an agent. What is beyond is forgotten, the oldest first, and it stays
// known that something was (Tell.Forgot).
const (
	prints     = 64      // of a line: the last, of which the one that agrees proves all before it, however many frames are under way
	mostRanges = 4096    // of a line
	mostLines  = 1 << 16 // of an agent
	mostProven = 4096    // lines of an agent that have prints
	mostPlans  = 1 << 16 // lines that a session asks for: a sender asks for all that it has at its beginning
)

// MostKnown is how many bytes all that is known of all agents may take, unless Bound says less.
const MostKnown = 256 << 20

const (
	ownShare = 4    // of the whole, what the agents of one owner may take: a quarter
	leastOwn = 1024 // of the whole, what an agent may take whatever its owner's others do
	lineCost = 400  // bytes of a line, and of its mark, beside what cost counts
)

// room is how much is kept, in bytes.
type room struct {
	most, size int
	owned      map[string]int // of size, by owner
	tick       uint64         // counts up with every use of an agent
	forgot     bool           // all of some agents, ever
}

// holding is an agent's part of a room.
type holding struct {
	size  int
	owner string // empty: nobody has said so
	tick  uint64 // of its last use; 0: not since the start
}

// Bound says how many bytes may be kept. It is called before anything else.
func (k *Known) Bound(bytes int) { k.most = bytes }

// Own says who speaks for an agent: all its agents together may take a quarter of the room. Of an agent
// of whom nothing is known, and that has no session, it is not remembered.
func (k *Known) Own(id Agent, owner string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.agents[id]
	if a == nil {
		return
	}
	k.charge(a.owner, -a.size)
	a.owner = owner
	k.charge(a.owner, a.size)
}

// charge counts bytes of an owner's; k.mu is held.
func (k *Known) charge(owner string, n int) {
	if owner == "" {
		return
	}
	if k.owned[owner] += n; k.owned[owner] == 0 {
		delete(k.owned, owner)
	}
}

// grow counts n bytes more of an agent, which is in use.
func (k *Known) grow(a *agent, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n != 0 || len(a.current) > 0 {
		k.tick++
		a.tick = k.tick
	}
	a.size += n
	k.size += n
	k.charge(a.owner, n)
}

// cost is how many bytes a line takes, about.
func (l *line) cost(at arrival) int {
	return lineCost + len(at.stream) + len(at.as) + 16*len(l.ranges) + 24*len(l.last)
}

// Idle names agents of whom all is to be forgotten with the next frame, as too much is kept: those that
// were not used for longest, of those that nobody locks. except are those of the frame.
func (k *Known) Idle(except ...Agent) (idle []Agent) {
	k.mu.Lock()
	defer k.mu.Unlock()
	over := k.size - k.most/8*7
	if k.size <= k.most/16*15 {
		return nil
	}
	of := make(map[Agent]bool, len(except))
	for _, id := range except {
		of[id] = true
	}
	for id, a := range k.agents {
		if a.holders == 0 && a.size > 0 && !of[id] {
			idle = append(idle, id)
		}
	}
	slices.SortFunc(idle, func(x, y Agent) int { return cmp.Compare(k.agents[x].tick, k.agents[y].tick) })
	for i, id := range idle {
		if over -= k.agents[id].size; over <= 0 {
			return idle[:i+1]
		}
	}
	return idle
}

// add adds to what is known of a line of an agent.
func (v *Verdict) add(k *Known, id Agent, l *line, r Range) {
	if l.ranges = l.ranges.Add(r); len(l.ranges) > mostRanges {
		l.ranges = l.ranges[len(l.ranges)-mostRanges:]
		v.forgot(k, id)
	}
}

// forgot notes that something goes of an agent.
func (v *Verdict) forgot(k *Known, id Agent) {
	if k.agent(id).marked {
		return
	}
	if v.forgets == nil {
		v.forgets = make(map[Agent]struct{})
	}
	v.forgets[id] = struct{}{}
}

// forget has v leave out the lines that are too many, and the prints of lines that are too many: those that were not
// used for longest.
func (k *Known) forget(v *Verdict) {
	lines, proven := make(map[Agent]int), make(map[Agent]int) // more than there were
	for i := range v.changes {
		c := &v.changes[i]
		had, was := k.agent(c.agent).lines[c.at]
		if !was {
			lines[c.agent]++
		}
		if len(had.last) == 0 && len(c.line.last) > 0 {
			proven[c.agent]++
		}
	}
	for id, n := range lines {
		if n += len(k.agent(id).lines) - mostLines; n > 0 {
			v.forgot(k, id)
			for _, c := range k.oldest(v, id, n+mostLines/16, func(*line) bool { return true }) { // some more, so that it is not done for every frame
				v.change(change{lineKey: c.lineKey, gone: true})
			}
		}
	}
	for id, n := range proven {
		if n += k.agent(id).proven - mostProven; n > 0 {
			for _, c := range k.oldest(v, id, n+mostProven/16, func(l *line) bool { return len(l.last) > 0 }) {
				c.line.last = nil
				v.change(c)
			}
		}
	}
}

// oldest returns some of an agent's lines that v does not change, those that were not used for longest.
func (k *Known) oldest(v *Verdict, id Agent, n int, which func(*line) bool) (old []change) {
	for at, l := range k.agent(id).lines {
		if _, changes := v.index[lineKey{id, at}]; !changes && which(&l) {
			old = append(old, change{lineKey{id, at}, l, false})
		}
	}
	slices.SortFunc(old, func(x, y change) int { return cmp.Compare(x.line.used, y.line.used) })
	return old[:min(n, len(old))]
}

// makeRoom has v leave out what is too much in bytes: of the agents of the frame that have more than is theirs, then
// all of those that are idle, and of the agents of the frame again.
func (k *Known) makeRoom(v *Verdict, idle []Agent) {
	grown := v.grown(k)
	all := 0
	for id, n := range grown {
		size, most := k.measure(id)
		if over := size + n - most; over > 0 {
			n -= k.shrink(v, id, over+most/16) // some more, so that it is not done for every frame
		}
		all += n
		if a := k.agent(id); a.forgot {
			v.forgot(k, id) // by a mark of its own, now that it has lines again
		}
	}
	k.mu.Lock()
	size, most, said := k.size, k.most, k.forgot
	k.mu.Unlock()
	for _, id := range idle {
		if size+all <= most/8*7 {
			break
		}
		a := k.agent(id)
		for at := range a.lines {
			v.change(change{lineKey: lineKey{id, at}, gone: true})
		}
		all -= a.size
		v.evicts, v.whole = append(v.evicts, id), !said
	}
	if size+all > most {
		for id := range v.data.agents() {
			all -= k.shrink(v, id, size+all-most+most/16)
		}
	}
}

// grown returns how many bytes more v keeps of each agent.
func (v *Verdict) grown(k *Known) map[Agent]int {
	grown := make(map[Agent]int)
	for i := range v.changes {
		c := &v.changes[i]
		if before, had := k.agent(c.agent).lines[c.at]; had {
			grown[c.agent] -= before.cost(c.at)
		}
		if !c.gone {
			grown[c.agent] += c.line.cost(c.at)
		}
	}
	return grown
}

// agents are all that a frame is about.
func (d *Data) agents() map[Agent]struct{} {
	all := map[Agent]struct{}{d.Agent: {}}
	for i := range d.Origins {
		all[d.Origins[i].Agent] = struct{}{}
	}
	return all
}

// measure returns how many bytes are kept of an agent, and how many may be.
func (k *Known) measure(id Agent) (size, most int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.entry(id)
	most = k.most / ownShare
	if a.owner != "" {
		most -= k.owned[a.owner] - a.size
	}
	return a.size, max(most, k.most/leastOwn)
}

// shrink has v leave out lines of an agent that it does not change, those that were not used for longest, and returns how
// many bytes that makes.
func (k *Known) shrink(v *Verdict, id Agent, over int) (freed int) {
	if over <= 0 {
		return 0
	}
	for _, c := range k.oldest(v, id, mostLines, func(*line) bool { return true }) {
		if freed >= over {
			break
		}
		freed += c.line.cost(c.at)
		v.change(change{lineKey: c.lineKey, gone: true})
	}
	if freed > 0 {
		v.forgot(k, id)
	}
	return freed
}

// evicted notes of whom v has forgotten all.
func (k *Known) evicted(v *Verdict) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range v.evicts {
		a := k.entry(id)
		a.forgot, a.marked, k.forgot = true, false, true
	}
}

// Evicts returns the agents of whom all is forgotten with the frame.
func (v *Verdict) Evicts() []Agent { return v.evicts }
