package stdout

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/config"
)

// screen is a place to write to that can be read meanwhile.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buf.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s.buf.String(), "\n"), "\n")
}

// onto is the kind, writing to w.
func onto(w io.Writer) forwarders.Kind {
	kind := Kind
	kind.New = func(o config.Options, s forwarders.Setup) (forwarders.Forwarder, error) {
		return newForwarder(*o.(*Options), s, w), nil
	}
	return kind
}

func TestKeepsTheContract(t *testing.T) {
	for _, format := range []string{forwarders.JSON, forwarders.Text, forwarders.Raw} {
		t.Run(format, func(t *testing.T) {
			var s *screen
			kind := Kind
			kind.New = func(o config.Options, setup forwarders.Setup) (forwarders.Forwarder, error) {
				return newForwarder(*o.(*Options), setup, s), nil
			}
			forwardertest.Run(t, kind, func(*testing.T) *forwardertest.Receiver {
				s = new(screen)
				return &forwardertest.Receiver{Options: &Options{Format: format}, Texts: s.lines}
			})
		})
	}
}

func TestTextEscapesControlCharacters(t *testing.T) {
	s := new(screen)
	f := forwardertest.New(t, onto(s), &Options{Format: forwarders.Text})
	text := func(uint64) string { return "\x1b]52;c;AAAA\a\r\x9b31m\x7f\u202e" }
	if _, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 1, 2, text)); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(s.lines(), "\n")
	if strings.ContainsAny(got, "\x1b\a\r\x7f\u202e") || !strings.Contains(got, "52;c;AAAA") {
		t.Errorf("wrote %q, want its control characters escaped", got)
	}
}

// A pipe that nobody reads must not hold up Close or a Deliver whose context
// ended, and its batch, offered again, comes after what was stuck.
func TestUnreadPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	f := forwardertest.New(t, onto(w), &Options{Format: forwarders.JSON})
	big := func(uint64) string { return strings.Repeat("x", 256<<10) }
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := f.Deliver(ctx, forwardertest.Batch(t, "app", 1, 2, big)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Deliver = %v, want the context's end", err)
	}
	drained := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, r) // ends when w is closed
		drained <- n
	}()
	if _, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 1, 2, big)); err != nil {
		t.Fatalf("Deliver once the pipe is read: %v", err)
	}
	f.Close()
	w.Close()
	if n := <-drained; n < 2*256<<10 {
		t.Errorf("%d bytes were written, want both batches whole", n)
	}
}
