// Package inputtest is the conformance suite for inputs: protocol cases that
// are files and no Go, and the lifecycle that every input promises. A kind's own
// tests use Start to run one input over real sockets with a Sink in the agent's
// place. Nothing here sleeps; what is awaited has a deadline.
package inputtest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/tiers"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// Patience is how long a test waits for what must come.
const Patience = 20 * time.Second

// Agent is the agent's name in every test.
const Agent = "agent-1"

// AgentID is its id.
var AgentID = [16]byte{1, 2, 3}

// Running is an input that runs.
type Running struct {
	Input   inputs.Input
	Sink    *Sink
	Metrics *metrics.Set
	Sockets *listen.Sockets
	Memory  *inputs.Memory
	cancel  context.CancelFunc
	done    chan error
	stopped bool
}

// Setup is what a test may choose; the zero value is right for most.
type Setup struct {
	Sockets *listen.Sockets        // nil: new ones, closed at the test's end
	Metrics *metrics.Set           // nil: a new set
	Sink    *Sink                  // nil: a new one
	Memory  *inputs.Memory         // nil: a new one
	Tiers   *tiers.Tiers           // nil: nobody is above or below
	Trouble func() error           // nil: the store has none
	Ended   func() <-chan struct{} // nil: all ends where it is
	Log     zerolog.Logger         // zero: nothing is logged
	Options func(config.Options)   // changes what cannot be written in a config, such as the clock
}

// Options decodes text, a part's section of the config, for kind. Relative file
// names are in dir.
func Options(t testing.TB, kind inputs.Kind, dir, text string) config.Options {
	t.Helper()
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if name, ok := strings.CutPrefix(line, "type:"); ok {
			if word, _, _ := strings.Cut(strings.TrimSpace(name), " "); word != kind.Name {
				t.Fatalf("config for type %q given to the %s input", word, kind.Name)
			}
			lines[i] = "#" // the agent reads it before the part does; the line stays for positions
		}
	}
	n, ps := config.ParseIn("config.yaml", dir, []byte(strings.Join(lines, "\n")))
	o := kind.Options()
	if len(ps) == 0 {
		config.Decode(n, o, &ps)
	}
	if len(ps) > 0 {
		t.Fatalf("config:\n%v", ps)
	}
	return o
}

// Start runs an input of kind with the given section of the config, and stops
// it at the test's end.
func Start(t testing.TB, kind inputs.Kind, dir, text string, s Setup) *Running {
	t.Helper()
	o := Options(t, kind, dir, text)
	if s.Options != nil {
		s.Options(o)
	}
	if s.Sockets == nil {
		s.Sockets = listen.NewSockets()
		t.Cleanup(func() { s.Sockets.Close() })
	}
	if s.Metrics == nil {
		s.Metrics = metrics.NewSet()
	}
	if s.Sink == nil {
		s.Sink = NewSink()
	}
	if s.Memory == nil {
		s.Memory = new(inputs.Memory)
	}
	if s.Trouble == nil {
		s.Trouble = func() error { return nil }
	}
	if s.Ended == nil {
		s.Ended = func() <-chan struct{} {
			now := make(chan struct{})
			close(now)
			return now
		}
	}
	in, err := kind.New(o, inputs.Setup{Name: "in", Agent: Agent, AgentID: AgentID, Version: "test", Emit: s.Sink.Emit, Relay: s.Sink.Relay, Tiers: s.Tiers, Ended: s.Ended, Memory: s.Memory, Marks: s.Sink.Marks,
		Trouble: s.Trouble, Sockets: s.Sockets, Log: s.Log, Metrics: s.Metrics})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Running{Input: in, Sink: s.Sink, Metrics: s.Metrics, Sockets: s.Sockets, Memory: s.Memory, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- in.Run(ctx) }()
	t.Cleanup(func() { r.Stop(t) })
	return r
}

// Stop ends the input and waits for it.
func (r *Running) Stop(t testing.TB) {
	t.Helper()
	r.cancel()
	r.Wait(t)
}

// Wait waits until Run has returned.
func (r *Running) Wait(t testing.TB) {
	t.Helper()
	if r.stopped {
		return
	}
	select {
	case err := <-r.done:
		r.stopped = true
		if err != nil {
			t.Errorf("Run: %v, want nil", err)
		}
	case <-time.After(Patience):
		t.Fatalf("Run has not returned %s after its ctx ended", Patience)
	}
}

// URL returns the ith address as it was taken.
func (r *Running) URL(i int) string { return r.Input.Status()[i].URL }

// Count returns the value of a counter or gauge by its full name, labels included; 0 if absent.
func (r *Running) Count(name string) float64 {
	var b strings.Builder
	r.Metrics.WritePrometheus(&b)
	for line := range strings.Lines(b.String()) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), "} "); key+"}" == name {
			return parseFloat(value)
		}
	}
	return 0
}

// Run runs testdata/*.txtar and the lifecycle cases for kind. addresses are
// URLs that the kind can listen on, one for each of its transports; $DIR in them is a
// directory of the test's own, where server.pem, server.key and ca.pem are.
func Run(t *testing.T, kind inputs.Kind, addresses ...string) {
	RunAs(t, kind, SayLine, addresses...)
}

// RunAs is Run for a kind to which a line of syslog says nothing.
func RunAs(t *testing.T, kind inputs.Kind, say Say, addresses ...string) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata/*.txtar: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { runCase(t, kind, file) })
	}
	Lifecycle(t, kind, say, addresses...)
}

// Dir returns a directory with a server's certificate and its authority, and
// lets $DIR in text stand for it.
func Dir(t testing.TB, text string) (dir, expanded string) {
	t.Helper()
	dir = t.TempDir()
	if strings.Contains(text, "server.pem") {
		ca := tlstest.NewAuthority(t, "inputtest")
		ca.IssueTo(t, filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"), "server", time.Now().Add(time.Hour))
		pem, err := os.ReadFile(ca.File)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "ca.pem"), pem, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir, strings.ReplaceAll(text, "$DIR", dir)
}
