package syslog

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestShrinkGivesTheBufferBack(t *testing.T) {
	line := strings.Repeat("x", 200) + "\n"
	f := NewFramer(io.MultiReader(strings.NewReader(strings.Repeat(line, 2000)), strings.NewReader("<13>half")), 1<<20)
	for range 2000 {
		if _, _, err := f.Next(); err != nil {
			t.Fatal(err)
		}
	}
	grown := f.Size()
	if grown <= smallBuffer {
		t.Fatalf("the buffer has %d bytes, want it grown", grown)
	}
	f.Shrink()
	if got := f.Size(); got != smallBuffer {
		t.Errorf("got %d bytes after Shrink, want %d", got, smallBuffer)
	}
	if frame, _, err := f.Next(); err != nil || string(frame) != "<13>half" {
		t.Errorf("after Shrink: got %q, %v", frame, err)
	}
}

func TestShrinkKeepsAPartOfAMessage(t *testing.T) {
	r, w := io.Pipe()
	f := NewFramer(r, 1<<20)
	go func() {
		w.Write(bytes.Repeat([]byte("y"), 3*smallBuffer))
		w.CloseWithError(errTimeout{})
	}()
	if _, _, err := f.Next(); err != (errTimeout{}) {
		t.Fatalf("got %v", err)
	}
	f.Shrink()
	if got := len(f.Tail()); got != 3*smallBuffer || f.Size() < got {
		t.Errorf("got %d bytes of the message in a buffer of %d, want all", got, f.Size())
	}
}

type errTimeout struct{}

func (errTimeout) Error() string   { return "timeout" }
func (errTimeout) Timeout() bool   { return true }
func (errTimeout) Temporary() bool { return true }
