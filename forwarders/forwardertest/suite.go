package forwardertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
)

// suite is one part of a run: a kind and a receiver of its own.
type suite struct {
	*testing.T
	kind     forwarders.Kind
	receiver *Receiver
}

func (s *suite) new() forwarders.Forwarder { return New(s.T, s.kind, s.receiver.Options) }

// deliver delivers records 1 to n of a stream, or fails the test.
func (s *suite) deliver(f forwarders.Forwarder, stream string, from, to uint64, text func(uint64) string) *agent {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	a := &agent{f: f, stream: stream, from: from, to: to, size: 37, window: 8, text: text}
	if err := a.run(ctx, s.T, nil); err != nil {
		s.Fatalf("deliver: %v", err)
	}
	return a
}

// received waits for n texts and returns their offsets.
func (s *suite) received(n int) []uint64 {
	s.Helper()
	Eventually(s.T, fmt.Sprintf("the receiver has %d records", n), func() bool { return len(s.receiver.Texts()) >= n })
	return offsets(s.T, s.receiver.Texts())
}

// inOrder fails the test unless got is from, from+1 … to-1, each once.
func (s *suite) inOrder(got []uint64, from, to uint64) {
	s.Helper()
	want := make([]uint64, 0, to-from)
	for offset := from; offset < to; offset++ {
		want = append(want, offset)
	}
	if !slices.Equal(got, want) {
		s.Errorf("received %d records %v, want %d to %d in order", len(got), excerpt(got), from, to-1)
	}
}

func excerpt(p []uint64) []uint64 { return p[:min(len(p), 50)] }

func (s *suite) allRecordsInOrder() {
	s.deliver(s.new(), "app", 1, 2001, nil)
	s.inOrder(s.received(2000), 1, 2001)
}

// batchIsBorrowed relies on agent, which overwrites every batch once Deliver
// has returned, before it waits for the Ack.
func (s *suite) batchIsBorrowed() {
	long := strings.Repeat("x", 3000)
	s.deliver(s.new(), "app", 1, 301, func(uint64) string { return long })
	s.inOrder(s.received(300), 1, 301)
}

// hostile are texts that would become two records, or none, on a careless wire.
var hostile = []string{
	"", " ", "\n", "\n\n", "a\nb", "a\r\nb", "\x00", "a\x00b", "\xff\xfe", "\u2028x\u2029", "\x1b]52;c;AAAA\a", "12 <13>1 - - - - - - x",
	"<13>Oct 11 22:14:15 host app: x", `","message":"x"},{"a":"`, "]", "},\n{", "#012", "\xef\xbb\xbfx", "%s%n${env:HOME}{{.}}",
	strings.Repeat("\n", 500), strings.Repeat("é", 4000),
}

func (s *suite) anyBytesStayOneRecord() {
	n := uint64(len(hostile))
	s.deliver(s.new(), "app", 1, n+1, func(offset uint64) string { return hostile[offset-1] })
	s.inOrder(s.received(int(n)), 1, n+1)
}

func (s *suite) severalStreams() {
	f := s.new()
	s.deliver(f, "app", 1, 50, nil)
	s.deliver(f, "errors", 50, 80, nil)
	s.deliver(f, "app", 80, 120, nil)
	s.inOrder(s.received(119), 1, 120)
}

func (s *suite) closeFromManySides() {
	for range 5 {
		f := s.new()
		ctx, cancel := context.WithTimeout(s.Context(), patience)
		first := make(chan struct{})
		var once, wg = sync.Once{}, sync.WaitGroup{}
		wg.Go(func() {
			a := &agent{f: f, stream: "app", from: 1, to: 1 << 40, size: 10, window: 4,
				text: func(uint64) string { once.Do(func() { close(first) }); return "" }}
			var tries int
			err := a.run(ctx, s.T, func(error) bool { tries++; return tries > 3 })
			if ctx.Err() != nil {
				s.Errorf("Deliver goes on after Close: %v", err)
			}
		})
		<-first
		for range 4 {
			wg.Go(func() { f.Close() })
		}
		wg.Wait()
		cancel()
		if _, err := f.Deliver(s.Context(), Batch(s.T, "app", 1, 2, nil)); err == nil {
			s.Errorf("Deliver after Close = nil, want an error")
		}
	}
}

func (s *suite) leavesNoGoroutine() {
	first := s.new()
	s.deliver(first, "app", 1, 10, nil) // what the receiver starts once is started now
	first.Close()
	before := runtime.NumGoroutine()
	for i := range uint64(5) {
		f := s.new()
		s.deliver(f, "app", 10+i, 11+i, nil)
		f.Close()
	}
	Eventually(s.T, "goroutines end with Close", func() bool { return runtime.NumGoroutine() <= before })
}

func (s *suite) brokenConnection() {
	f := s.new()
	const rounds, each = 8, 60
	for i := range uint64(rounds) {
		s.deliver(f, "app", 1+i*each, 1+(i+1)*each, nil)
		// Acknowledged may mean the receiver's kernel: let the receiver have it too.
		s.received(int((i + 1) * each))
		s.receiver.Break()
	}
	// An idle connection that broke is noticed and replaced without a repetition.
	s.inOrder(s.received(rounds*each), 1, rounds*each+1)
}

// large makes it certain that no kernel buffer swallows everything.
func large(uint64) string { return strings.Repeat("0123456789abcdef", 4<<10) }

// frozen starts a delivery that cannot end by itself, and returns once the
// receiver has seen it.
func (s *suite) frozen(ctx context.Context, f forwarders.Forwarder) <-chan error {
	s.receiver.Freeze(true)
	done := make(chan error, 1)
	go func() {
		a := &agent{f: f, stream: "app", from: 1, to: 4001, size: 37, window: 1 << 20, text: large}
		done <- a.run(ctx, s.T, func(error) bool { return true })
	}()
	select {
	case <-s.receiver.Reached:
	case err := <-done:
		s.Fatalf("delivery to a frozen receiver ended: %v", err)
	}
	return done
}

// ends waits for a delivery that must end with an error.
func (s *suite) ends(done <-chan error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	select {
	case err := <-done:
		if err == nil {
			s.Errorf("delivery to a frozen receiver = nil, want an error")
		}
	case <-ctx.Done():
		s.Fatalf("delivery still hangs after %s", patience)
	}
}

func (s *suite) frozenThenClosed() {
	f := s.new()
	done := s.frozen(s.Context(), f)
	f.Close()
	s.ends(done)
}

func (s *suite) frozenThenCancelled() {
	ctx, cancel := context.WithCancel(s.Context())
	done := s.frozen(ctx, s.new())
	cancel()
	s.ends(done)
}

func (s *suite) slowReceiver() {
	s.receiver.Freeze(true)
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	a := &agent{f: s.new(), stream: "app", from: 1, to: 131, size: 37, window: 8, text: large}
	done := make(chan error, 1)
	go func() { done <- a.run(ctx, s.T, nil) }()
	<-s.receiver.Reached
	s.receiver.Freeze(false)
	if err := <-done; err != nil {
		s.Fatalf("deliver: %v", err)
	}
	s.inOrder(s.received(130), 1, 131)
}

func (s *suite) refusedRecord() {
	s.receiver.Refuse(mark(77))
	a := s.deliver(s.new(), "app", 1, 151, nil)
	if !slices.Equal(a.dead, []uint64{77}) {
		s.Errorf("dead letters %v, want [77]; errors %v", a.dead, a.errors)
	}
	got := s.received(149)
	s.inOrder(slices.DeleteFunc(got, func(o uint64) bool { return o > 76 }), 1, 77)
	s.inOrder(slices.DeleteFunc(offsets(s.T, s.receiver.Texts()), func(o uint64) bool { return o < 78 }), 78, 151)
}

func (s *suite) busyReceiver() {
	s.receiver.Busy(5)
	a := s.deliver(s.new(), "app", 1, 101, nil)
	s.inOrder(s.received(100), 1, 101)
	for _, err := range a.errors {
		if refused := (*forwarders.Refused)(nil); errors.As(err, &refused) {
			s.Errorf("a busy receiver counts as a refusal: %v", err)
		}
	}
}
