package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// streamed is a send whose standard input a test writes.
type streamed struct {
	*io.PipeWriter
	stdout, stderr bytes.Buffer
	code           chan int // once it has ended
}

func stream(to string, args ...string) *streamed {
	r, w := io.Pipe()
	s := &streamed{PipeWriter: w, code: make(chan int, 1)}
	go func() {
		s.code <- run(append([]string{"send", "--to", to, "--file", "-", "-o", "json"}, args...), r, &s.stdout, &s.stderr)
		r.Close()
	}()
	return s
}

// ends waits for the exit code and checks it, and what was counted.
func (s *streamed) ends(t *testing.T, code int, messages int64) {
	t.Helper()
	select {
	case got := <-s.code:
		var said sent
		if s.stdout.Len() > 0 {
			if err := json.Unmarshal(s.stdout.Bytes(), &said); err != nil {
				t.Error(err)
			}
		}
		if got != code || said.Messages != messages {
			t.Errorf("exit %d after %d messages, want %d after %d: %s", got, said.Messages, code, messages, &s.stderr)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it has not ended")
	}
}

// has waits until n messages have come, and returns the last.
func (s *sink) has(t *testing.T, n int) string {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; {
		s.mu.Lock()
		have, last := len(s.messages), ""
		if have > 0 {
			last = s.messages[have-1]
		}
		s.mu.Unlock()
		if have >= n {
			return last
		}
		if <-time.After(time.Millisecond); time.Now().After(until) {
			t.Fatalf("%d messages have come, want %d", have, n)
		}
	}
}

func listening(t *testing.T) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, "tcp://" + l.Addr().String()
}

// What a writer that pauses has written is there while it pauses; each line goes once and is counted.
func TestSendStreamsStandardInput(t *testing.T) {
	l, to := listening(t)
	var s sink
	s.stream(t, l, 1)
	in := stream(to)
	fmt.Fprint(in, "first\n")
	if got := s.has(t, 1); !strings.HasSuffix(got, " first") {
		t.Errorf("got %q", got)
	}
	fmt.Fprint(in, "in two pie") // half a line waits
	fmt.Fprint(in, "ces\n\n<13>as it is\n")
	if got := s.has(t, 3); got != "<13>as it is" {
		t.Errorf("got %q", got)
	}
	var many strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&many, "line %d\n", i)
	}
	long := strings.Repeat("x", 700_000) // more than is read at once
	fmt.Fprint(in, many.String()+long+"\n")
	s.has(t, 20_004)
	fmt.Fprint(in, "without an end")
	in.Close()
	in.ends(t, exitGood, 20_005)
	s.wg.Wait()
	if len(s.messages) != 20_005 || !strings.HasSuffix(s.messages[1], " in two pieces") || !strings.HasSuffix(s.messages[20_003], long) || !strings.HasSuffix(s.messages[20_004], " without an end") {
		t.Errorf("%d messages, the last are of %d and %d bytes", len(s.messages), len(s.messages[len(s.messages)-2]), len(s.messages[len(s.messages)-1]))
	}
	for i, m := range s.messages[3:20_003] {
		if !strings.HasSuffix(m, fmt.Sprintf(" line %d", i)) {
			t.Fatalf("message %d is %q", i, m)
		}
	}
}

func TestSendStreamsOverSeveralConnections(t *testing.T) {
	l, to := listening(t)
	var s sink
	s.stream(t, l, 3)
	in := stream(to, "--connections", "3", "--rate", "100000")
	for i := range 300 {
		fmt.Fprintf(in, "line %d\n", i)
	}
	in.Close()
	in.ends(t, exitGood, 300)
	s.wg.Wait()
	seen := make(map[string]bool)
	for _, m := range s.messages {
		seen[m[strings.LastIndex(m, " line ")+1:]] = true
	}
	if len(s.messages) != 300 || len(seen) != 300 {
		t.Errorf("%d messages, %d of them different; want 300", len(s.messages), len(seen))
	}
}

// It ends with 1, and what was sent is counted, when the receiver goes while nothing is to be sent, when the input
// cannot be read on, and when it holds nothing.
func TestSendStreamSaysWhatWentWrong(t *testing.T) {
	l, to := listening(t)
	in := stream(to)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(in, "one\n")
	if _, err := conn.Read(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	conn.Close() // and standard input stays open
	in.ends(t, exitFailed, 1)
	if !strings.Contains(in.stderr.String(), "after 1 messages: the receiver has closed the connection") {
		t.Errorf("it says %s", &in.stderr)
	}

	var s sink
	s.stream(t, l, 2)
	in = stream(to)
	fmt.Fprint(in, "one\ntwo\n")
	s.has(t, 2)
	in.CloseWithError(errors.New("no such device"))
	in.ends(t, exitFailed, 2)
	if !strings.Contains(in.stderr.String(), "read standard input: no such device") {
		t.Errorf("it says %s", &in.stderr)
	}

	in = stream(to)
	in.Close()
	in.ends(t, exitFailed, 0)
	if !strings.Contains(in.stderr.String(), "standard input holds no lines") {
		t.Errorf("it says %s", &in.stderr)
	}
	s.wg.Wait()
}
