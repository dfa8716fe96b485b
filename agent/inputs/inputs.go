// Package inputs holds the contract between the agent and whatever takes
// records from outside: Input, Kind, and what the agent gives each of them. Every
// kind is a folder beside this file. An input never imports another, nor the
// agent; it hands batches over by calling Emit and never drops one in silence.
package inputs

import (
	"context"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/tiers"
	"github.com/runnel-log/runnel/record"
)

// Input takes records from outside until it is told to stop.
type Input interface {
	// Run takes records and emits them. It is called once. When ctx ends it
	// stops accepting, reads what senders have already handed to the kernel
	// where the transport can lose it otherwise, emits it, and returns nil. An
	// error means the input cannot go on; the agent restarts it with back-off.
	Run(ctx context.Context) error
	// Retire stops accepting and serves the connections already open until
	// their peers close them; Run then returns nil. The agent calls it when a
	// reload has put a new input in this one's place. It does not block.
	Retire()
	// Status describes the input for `runnel status`, one Listener per address
	// in config order. It may be called at any time.
	Status() []Listener
}

// Listener is the state of one address an input listens on.
type Listener struct {
	URL         string    // as configured, with the port that was really taken
	Connections int       // open now; 0 for datagrams
	KernelDrops uint64    // datagrams the kernel dropped for want of buffer, since start
	LastError   string    // what went wrong there last; empty if nothing has
	LastErrorAt time.Time // zero if nothing has
}

// Emit takes a batch over: the caller must not touch it again, whatever is
// returned. It blocks only while too many bytes are in flight. An error means
// that the batch was not taken (ctx ended, the store is full or has failed).
// Batches emitted one after another keep their order into each stream.
//
// A batch may be of any size and is one transaction: all of its records and
// the marks are on disk when the receipt says so, or none is. The marks are
// also committed where the pipeline drops every record. They are copied.
type Emit func(ctx context.Context, b *record.Batch, marks ...Mark) (Receipt, error)

// Relay is Emit for records that another runnel kept in stream: they go into one of
// that name where the input's pipeline names none. whole is nil, or has b as it came (Body) and where its records are from
// (Origin), which is then not in their encoding; it is borrowed until Relay returns.
type Relay func(ctx context.Context, stream string, b *record.Batch, whole *record.Block, marks ...Mark) (Receipt, error)

// Mark is what an input wants to know again after a crash if, and only if, the
// records of the same Emit are there: that a request was answered, for one. It is
// absolute; a nil Value removes the key. Keys are the input's own: no other
// name or kind of input sees them.
type Mark struct {
	Key   string
	Value []byte
}

// Memory is what the inputs of one name and kind share in this process: the
// one that a reload retires, and the one that takes its place. The zero value is
// empty.
type Memory struct {
	once  sync.Once
	value any
	late  sync.WaitGroup
}

// Of returns what the first caller's make returned.
func (m *Memory) Of(make func() any) any {
	m.once.Do(func() { m.value = make() })
	return m.value
}

// Late has f told the outcome of r, however late that is: also after the input that
// was given r has ended. The store's close, at the latest, settles every receipt.
func (m *Memory) Late(r Receipt, f func(error)) {
	m.late.Go(func() { f(r.Wait(context.Background())) })
}

// Settled waits until nothing that Late was given is open. The agent calls it when
// the store is closed.
func (m *Memory) Settled() { m.late.Wait() }

// Receipt tells when the fate of an emitted batch is known.
type Receipt interface {
	// Wait returns nil once every record of the batch is on disk, was dropped by
	// the pipeline's own decision, or was rejected and counted; an error means
	// its outcome is unknown and nothing may be acknowledged.
	Wait(ctx context.Context) error
}

// Setup is what the agent gives an input.
type Setup struct {
	Name    string   // the input's name in the config
	Agent   string   // the agent's name
	AgentID [16]byte // its id, made with its store
	Version string   // of this binary
	Emit    Emit
	Relay   Relay
	Tiers   *tiers.Tiers // the agents above and below this one
	// Ended returns what is closed once all that is stored now has come to its end: is on the disk of the last agent
	// above, if records are passed on, or was dropped on its way there on purpose, or lost and said to be.
	Ended   func() <-chan struct{}
	Memory  *Memory
	Marks   func(f func(key string, value []byte)) // calls f with every mark that is there, in order of keys; value is borrowed
	Trouble func() error                           // why the store takes nothing at the moment; nil: it does
	Sockets *listen.Sockets                        // shared by all inputs; outlives a reload
	Log     zerolog.Logger                         // carries part and kind
	Metrics *metrics.Set                           // where the input registers its counters; labels input=Name
	Reached Points
}

// Points is called at the places that have a name, by tests, which end the process
// there; nil: nobody is.
type Points func(name string)

// Answered is the point at which a sender has been told that its records are stored.
const Answered = "answered"

// At says that the place has been reached.
func (p Points) At(name string) {
	if p != nil {
		p(name)
	}
}

// Kind is one kind of input, as cmd/runnel/parts.go lists it.
type Kind struct {
	Name    string                // the word after `type:`
	Sample  string                // sample.yaml: every key with its default and a comment
	Options func() config.Options // a fresh set of options holding the defaults
	Acks    bool                  // senders wait for the receipt, so the store commits sooner
	Relays  bool                  // it takes records from other runnels; all inputs of such a kind share marks and memory
	// New builds an input from options that Options returned and Check passed.
	// It opens sockets through setup.Sockets, so that an address in use is an
	// error here and not in Run.
	New func(options config.Options, setup Setup) (Input, error)
}
