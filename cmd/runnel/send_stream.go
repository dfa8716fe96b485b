package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// arriving is lines of an input that goes on for as long as somebody writes to it.
type arriving struct {
	chunks chan [][]byte // whole lines, without empty ones; room for one, so that reading goes on during a write; closed at the end
	err    error         // why it ended, nil at its end; read once chunks is closed
}

// readArriving reads lines until r ends or ctx does. What one read has brought is one chunk: what a
// writer that pauses has written waits for nothing. A read that waits is left to wait, since nothing can
// end it but the process.
func readArriving(ctx context.Context, r io.Reader) *arriving {
	a := &arriving{chunks: make(chan [][]byte, 1)}
	go a.run(ctx, r)
	return a
}

func (a *arriving) run(ctx context.Context, r io.Reader) {
	defer close(a.chunks)
	buf, have := make([]byte, streamBatch), 0
	for {
		n, err := r.Read(buf[have:])
		have += n
		end := bytes.LastIndexByte(buf[have-n:have], '\n') + 1
		if end > 0 {
			end += have - n
		}
		if err != nil {
			end = have // the last line may have no end
		}
		if lines := linesOf(bytes.Clone(buf[:end])); len(lines) > 0 {
			select {
			case a.chunks <- lines:
			case <-ctx.Done():
				return
			}
		}
		have = copy(buf, buf[end:have])
		if have == len(buf) {
			buf = slices.Grow(buf, len(buf))[:2*len(buf)]
		}
		if err != nil {
			if err != io.EOF {
				a.err = fmt.Errorf("read standard input: %w", err)
			}
			return
		}
	}
}

// linesOf cuts a text into its lines, less those that are empty.
func linesOf(text []byte) (lines [][]byte) {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSuffix(line, []byte("\n")); len(line) > 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

var errGone = errors.New("the receiver has closed the connection")

// runArriving sends what arrives until that ends, the receiver goes, or ctx ends, which is no error.
func (s *sender) runArriving(ctx context.Context, a *arriving, w *writer) error {
	defer context.AfterFunc(ctx, func() { s.conn.SetWriteDeadline(time.Unix(1, 0)) })()
	gone, stop := s.watchPeer()
	defer stop()
	for {
		var lines [][]byte
		select {
		case <-ctx.Done():
			return nil
		case <-gone:
			return errGone
		case more, ok := <-a.chunks:
			if !ok && closed(gone) {
				return errGone
			}
			if !ok {
				return a.err
			}
			lines = more
		}
		if err := s.sendLines(ctx, lines, w); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// sendLines sends a chunk, at the rate that is asked for; a pause before it is not made good for.
func (s *sender) sendLines(ctx context.Context, lines [][]byte, w *writer) error {
	begun, before := time.Now(), s.messages
	for len(lines) > 0 && ctx.Err() == nil {
		most := len(lines)
		if s.rate > 0 {
			gone := s.messages - before
			if most = min(most, int(time.Since(begun).Seconds()*s.rate)+1-int(gone)); most <= 0 {
				wait(ctx, begun, float64(gone)/s.rate)
				continue
			}
		}
		s.buf, s.ends = s.buf[:0], s.ends[:0]
		for len(s.ends) < most && !s.filled() {
			s.buf = w.line(s.buf, lines[len(s.ends)])
			s.ends = append(s.ends, len(s.buf))
		}
		lines = lines[len(s.ends):]
		if err := s.flush(); err != nil && ctx.Err() == nil {
			return err
		}
	}
	if s.rate > 0 { // the last one takes its time, too
		wait(ctx, begun, float64(s.messages-before)/s.rate)
	}
	return nil
}

// watchPeer closes gone once the receiver of a stream has closed it: what is written afterwards would be
// counted as sent, and be lost. stop ends that.
func (s *sender) watchPeer() (gone chan struct{}, stop func()) {
	gone = make(chan struct{})
	if s.datagrams {
		return gone, func() {}
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		for buf := make([]byte, 512); ; {
			if _, err := s.conn.Read(buf); err != nil {
				close(gone)
				return
			}
		}
	})
	return gone, func() {
		_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // fails on a connection that has ended anyway
		watching.Wait()
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
