package relay

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/headroom"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// ownerKey is what the keys of marks begin with that say which identity speaks for an
// agent; the agent's id follows, and the value is the identity's name. The other marks are
// relaywire's.
const ownerKey = "who\x00"

// How many agents one identity may speak for: a host has one, and another with each new data directory, as
// after it was set up anew; a relay may bring records of any number in any case.
const mostOwned, mostOwnedByRelay = 64, 1024

// mostKnownBytes is how many bytes what is known of all agents may take, where there is as much memory.
const mostKnownBytes = relaywire.MostKnown

// known is what this agent has of others. All relay inputs share it, and what a reload
// puts in their place.
//
// A frame is judged, handed to the pipeline and taken while all agents are locked whose
// records it has (relaywire.Known.Lock), so that nothing is stored twice that comes along two ways at
// once. mu is taken after that, for moments.
type known struct {
	*relaywire.Known

	mu sync.Mutex
	// guarded by mu:
	owners   map[relaywire.Agent]owner
	owned    map[string]int // agents of each owner
	sessions map[relaywire.Writer]*session
	open     map[relaywire.Agent]int            // sessions of an agent; none: it is not there
	last     map[relaywire.Agent]inputs.Receipt // of what was handed to the pipeline last of an agent's
	away     away                               // what agents that are away were told is there
}

// owner is who speaks for an agent.
type owner struct {
	name string
	kept bool // it is on disk, or on its way there
}

func newKnown(marks func(f func(key string, value []byte)), e events) *known {
	k := &known{Known: relaywire.NewKnown(), owners: make(map[relaywire.Agent]owner), owned: make(map[string]int), sessions: make(map[relaywire.Writer]*session), open: make(map[relaywire.Agent]int),
		last: make(map[relaywire.Agent]inputs.Receipt)}
	k.Bound(headroom.Share(mostKnownBytes))
	marks(func(key string, value []byte) {
		if id, ok := strings.CutPrefix(key, ownerKey); ok && len(id) == len(relaywire.Agent{}) {
			k.owners[relaywire.Agent([]byte(id))] = owner{string(value), true}
			k.owned[string(value)]++
			return
		}
		if err := k.Load(key, value); err != nil {
			e.unread(key, err)
		}
	})
	for id, o := range k.owners {
		k.Own(id, o.name)
	}
	return k
}

// speaks reports whether an identity may speak for an agent: the first that does is the
// only one that ever may.
func (k *known) speaks(id identity, agent relaywire.Agent) error {
	name, most := id.name, mostOwned
	if id.relay {
		most = mostOwnedByRelay
	}
	if name == "" {
		return fmt.Errorf("%w: it names nobody; make it with `runnel pki issue`, or give it a DNS name", errIdentity)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	o, ok := k.owners[agent]
	switch {
	case ok && o.name != name:
		return fmt.Errorf("%w: it is %q, and the agent is %q's; give it that certificate, or a data directory of its own", errIdentity, name, o.name)
	case !ok && k.owned[name] >= most:
		return fmt.Errorf("%w: %q speaks for %d others already, as many as one may; give this agent a certificate of its own", errIdentity, name, most)
	case !ok:
		k.owners[agent] = owner{name: name}
		k.owned[name]++
	}
	return nil
}

// begin begins a session, which fences the one before in the name of the same run: first
// of all, as that one may wait for what this one is going to.
func (k *known) begin(x *session) error {
	k.mu.Lock()
	if before := k.sessions[x.writer]; before != nil {
		before.fence()
	}
	k.mu.Unlock()
	unlock, err := x.lock(x.in.patience.hello, x.writer.Agent)
	if err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.disown(x.writer.Agent)
		return err
	}
	defer unlock()
	k.Begin(x.writer, x.number)
	if x.id.name != "" {
		k.Own(x.writer.Agent, x.id.name)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if before := k.sessions[x.writer]; before != nil {
		before.fence()
		x.ends.take(before.ends.leave())
	} else {
		k.open[x.writer.Agent]++
		x.ends.take(k.away.take(x.writer.Agent))
	}
	k.sessions[x.writer], x.since = x, time.Now()
	return nil
}

// end forgets a session that has ended, and who spoke and said nothing.
func (k *known) end(x *session) {
	defer k.Lock(x.writer.Agent)()
	k.End(x.writer, x.number)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sessions[x.writer] == x {
		delete(k.sessions, x.writer)
		k.open[x.writer.Agent]--
		k.away.put(x.writer.Agent, x.ends.leave())
	}
	k.disown(x.writer.Agent)
}

// disown forgets who speaks for an agent that is not there and has said nothing. k.mu is
// held.
func (k *known) disown(agent relaywire.Agent) {
	if k.open[agent] > 0 {
		return
	}
	delete(k.open, agent)
	if o, ok := k.owners[agent]; ok && !o.kept {
		delete(k.owners, agent)
		if k.owned[o.name]--; k.owned[o.name] == 0 {
			delete(k.owned, o.name)
		}
	}
}

// another returns a run of the same agent that has connected since the session has, and is
// still there; nil: there is none.
func (k *known) another(x *session) *session {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open[x.writer.Agent] < 2 {
		return nil
	}
	for w, other := range k.sessions {
		if w.Agent == x.writer.Agent && other != x && other.since.After(x.since) {
			return other
		}
	}
	return nil
}

// ask returns what is missing of a line, and the receipt after which what it says is on disk
// too; nil: it is.
func (k *known) ask(x *session, a *relaywire.Ask) (*relaywire.Tell, inputs.Receipt, error) {
	unlock, err := x.lock(x.in.patience.room, x.writer.Agent)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	tell, err := k.Ask(x.writer, x.number, a)
	return tell, k.receipt(x.writer.Agent), err
}

// receipt returns that of what was handed to the pipeline last of an agent's records.
func (k *known) receipt(agent relaywire.Agent) inputs.Receipt {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last[agent]
}

// marks are what is to be on disk with a frame: what will be known then.
func (k *known) marks(x *session, v *relaywire.Verdict) []inputs.Mark {
	var marks []inputs.Mark
	for _, m := range v.Marks() {
		marks = append(marks, inputs.Mark{Key: m.Key, Value: m.Value})
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if o, ok := k.owners[x.writer.Agent]; ok && !o.kept {
		marks = append(marks, inputs.Mark{Key: ownerKey + string(x.writer.Agent[:]), Value: []byte(o.name)})
	}
	return marks
}

// taken adds a frame to what is known, once the pipeline has it.
func (k *known) taken(x *session, v *relaywire.Verdict, agents []relaywire.Agent, receipt inputs.Receipt) {
	k.Take(v)
	k.mu.Lock()
	defer k.mu.Unlock()
	if o, ok := k.owners[x.writer.Agent]; ok {
		o.kept = true
		k.owners[x.writer.Agent] = o
	}
	for _, agent := range agents {
		k.last[agent] = receipt
	}
	for _, agent := range v.Evicts() {
		if k.last[agent] = receipt; k.open[agent] == 0 {
			delete(k.last, agent)
		}
	}
}
