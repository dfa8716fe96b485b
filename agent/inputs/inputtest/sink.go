package inputtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/record"
)

// Sink stands where the agent's pipeline is: it takes batches over, keeps their
// records, and settles each at once unless it is told to hold.
type Sink struct {
	mu      sync.Mutex // guards all below
	records []record.View
	batches int
	whole   int           // of those, as blocks
	changed chan struct{} // closed and replaced at each Emit
	hold    chan struct{} // receipts wait for its closing; nil: settled at once
	refuse  error         // what Emit returns
	forget  bool          // count only
	count   int
	marks   map[string][]byte
}

// NewSink returns an empty Sink.
func NewSink() *Sink { return &Sink{changed: make(chan struct{})} }

// NewCounter returns a Sink that keeps no records, only their number.
func NewCounter() *Sink { return &Sink{changed: make(chan struct{}), forget: true} }

// Hold makes receipts wait until release is called.
func (s *Sink) Hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold := make(chan struct{})
	s.hold = hold
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.hold = nil
		s.mu.Unlock()
		close(hold)
	})
}

// Refuse makes Emit return err, as a failed store does.
func (s *Sink) Refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

type receipt struct{ hold chan struct{} }

func (r receipt) Wait(ctx context.Context) error {
	if r.hold == nil {
		return nil
	}
	select {
	case <-r.hold:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Emit is inputs.Emit.
func (s *Sink) Emit(_ context.Context, b *record.Batch, marks ...inputs.Mark) (inputs.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return nil, s.refuse
	}
	for _, m := range marks {
		if s.marks == nil {
			s.marks = make(map[string][]byte)
		}
		if s.marks[m.Key] = bytes.Clone(m.Value); m.Value == nil {
			delete(s.marks, m.Key)
		}
	}
	s.batches++
	s.count += b.Len()
	if !s.forget {
		for i := range b.Len() {
			s.records = append(s.records, bytes.Clone(b.At(i)))
		}
	}
	b.Reset()
	b.Release()
	close(s.changed)
	s.changed = make(chan struct{})
	return receipt{s.hold}, nil
}

// Relay is inputs.Relay. It keeps records with their origins.
func (s *Sink) Relay(ctx context.Context, _ string, b *record.Batch, whole *record.Block, marks ...inputs.Mark) (inputs.Receipt, error) {
	if whole == nil {
		return s.Emit(ctx, b, marks...)
	}
	raw, err := s2.Decode(nil, whole.Body)
	if err == nil && !bytes.Equal(raw, b.Bytes()) {
		err = errors.New("bug: the block is another batch")
	}
	if err == nil {
		err = b.Stamp(&whole.Origin)
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.whole++
	s.mu.Unlock()
	return s.Emit(ctx, b, marks...)
}

// Whole returns how many batches have come as whole blocks.
func (s *Sink) Whole() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole
}

// Marks is inputs.Setup's: it calls f with every mark, in order of keys.
func (s *Sink) Marks(f func(key string, value []byte)) {
	s.mu.Lock()
	marks := maps.Clone(s.marks)
	s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(marks)) {
		f(key, marks[key])
	}
}

// Len returns how many records have come.
func (s *Sink) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Batches returns how many batches have come.
func (s *Sink) Batches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.batches
}

// Records returns what has come so far.
func (s *Sink) Records() []record.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[:len(s.records):len(s.records)]
}

// Wait waits until n records have come, and fails the test if they do not.
func (s *Sink) Wait(t testing.TB, n int) []record.View {
	t.Helper()
	s.Until(t, fmt.Sprintf("%d records", n), func() bool { return s.count >= n })
	return s.Records()
}

// WaitFor waits until n records are as wanted.
func (s *Sink) WaitFor(t testing.TB, n int, wanted func(record.View) bool) {
	t.Helper()
	seen, looked := 0, 0
	s.Until(t, fmt.Sprintf("%d of a kind", n), func() bool {
		for ; looked < len(s.records); looked++ {
			if wanted(s.records[looked]) {
				seen++
			}
		}
		return seen >= n
	})
}

// Until waits until a condition, asked at every Emit with the Sink locked, holds.
func (s *Sink) Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	late := time.After(Patience)
	for {
		s.mu.Lock()
		ok, count, changed := holds(), s.count, s.changed
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%d records came in %s, want %s", count, Patience, what)
		}
	}
}

// Line describes a record as the want part of a case does: flags, then the
// fields that are present. Times are left out unless one was stated; the
// receive time, the input and the agent always are.
func Line(v record.View) string {
	var b strings.Builder
	for _, name := range v.Flags().Names() {
		b.WriteString(name + " ")
	}
	if at := v.Time(); at != record.NoTime {
		b.WriteString("time=" + record.TimeOf(at).Format(time.RFC3339Nano) + " ")
	}
	number := func(name string, n uint8) {
		if n != record.Absent {
			fmt.Fprintf(&b, "%s=%d ", name, n)
		}
	}
	text := func(name string, value []byte) {
		if len(value) > 0 {
			b.WriteString(name + "=" + word(value) + " ")
		}
	}
	number("facility", v.Facility())
	number("severity", v.Severity())
	text("host", v.Host())
	text("app", v.App())
	text("procid", v.ProcID())
	text("msgid", v.MsgID())
	text("sd", v.SD())
	attrs := v.Attrs()
	for key, value := range attrs.All() {
		text("attrs."+string(key), value.Data)
	}
	text("peer", v.Peer())
	b.WriteString("message=" + strconv.Quote(string(v.Message())))
	return b.String()
}

// word quotes a value unless it reads as one word.
func word(b []byte) string {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == '"' {
			return strconv.Quote(string(b))
		}
	}
	return string(b)
}

func parseFloat(s string) float64 {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil {
		panic("bug: a metric's value " + strconv.Quote(s))
	}
	return f
}
