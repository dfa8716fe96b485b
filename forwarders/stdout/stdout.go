// Package stdout writes records to the process's standard output, one line
// each, and flushes them batch by batch. It never writes a control character of
// a record as it came, except in raw format, which is for programs.
package stdout

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
)

//go:embed sample.yaml
var sample string

// Kind is the stdout forwarder.
var Kind = forwarders.Kind{
	Name:    "stdout",
	Sample:  sample,
	Options: func() config.Options { return &Options{Format: forwarders.Text} },
	New: func(o config.Options, s forwarders.Setup) (forwarders.Forwarder, error) {
		return newForwarder(*o.(*Options), s, os.Stdout), nil
	},
}

// Options is the forwarder's part of the config.
type Options struct {
	Format string `yaml:"format" oneof:"text json raw"`
}

// Check has nothing to look at beyond the words that format may be.
func (o *Options) Check(*config.At) {}

// Forwarder writes to one place.
type Forwarder struct {
	out     io.Writer
	agent   string
	lines   forwarders.Lines
	buf     []byte
	writing chan error // the result of the write under way; nil if there is none. Capacity 1: the writer never waits
	closed  chan struct{}
	close   sync.Once
}

func newForwarder(o Options, s forwarders.Setup, out io.Writer) *Forwarder {
	return &Forwarder{out: out, agent: s.Agent, lines: forwarders.Lines{Format: o.Format}, closed: make(chan struct{})}
}

var errClosed = errors.New("forwarder was closed")

// Deliver writes b. A terminal that is held, or a pipe that nobody reads,
// blocks the write for ever, and nothing can call it back: so it runs beside
// Deliver, and is the one goroutine here that may be left behind.
func (f *Forwarder) Deliver(ctx context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	if f.writing != nil { // of a Deliver whose ctx ended; its batch is offered again
		if err := f.wait(ctx); err != nil {
			return nil, err
		}
	}
	select {
	case <-f.closed:
		return nil, errClosed
	default:
	}
	f.buf = f.lines.Append(f.buf[:0], b, f.agent)
	p, done := f.buf, make(chan error, 1)
	f.writing = done
	go func() {
		_, err := f.out.Write(p)
		done <- err
	}()
	return nil, f.wait(ctx)
}

// wait waits for the write under way.
func (f *Forwarder) wait(ctx context.Context) error {
	select {
	case err := <-f.writing:
		f.writing = nil
		if err != nil {
			return fmt.Errorf("write to standard output: %w", err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-f.closed:
		return errClosed
	}
}

// Close ends a Deliver that is under way. Standard output stays open.
func (f *Forwarder) Close() error {
	f.close.Do(func() { close(f.closed) })
	return nil
}
