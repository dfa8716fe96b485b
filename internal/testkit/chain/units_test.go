package chain

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// TestFramesAreFound cuts what the relay writes where its frames begin, and elsewhere
// takes what comes.
func TestFramesAreFound(t *testing.T) {
	messages := []relaywire.Message{
		&relaywire.Hello{Versions: [2]uint16{1, 1}, Name: "host"},
		&relaywire.Ack{Number: 7},
		&relaywire.Data{Number: 1, Payload: make([]byte, 100)},
		&relaywire.Bye{},
	}
	var wire []byte
	var want [][]byte
	for _, m := range messages {
		frame := relaywire.Append(nil, m)
		want, wire = append(want, frame), append(wire, frame...)
	}
	next := units(bytes.NewReader(wire), true)
	for i, frame := range want {
		got, err := next()
		if err != nil || !bytes.Equal(got, frame) {
			t.Errorf("frame %d: got %x, %v, want %x", i, got, err, frame)
		}
	}
	if _, err := next(); !errors.Is(err, io.EOF) {
		t.Errorf("then %v", err)
	}
	if got, err := units(bytes.NewReader(wire), false)(); err != nil || !bytes.Equal(got, wire) {
		t.Errorf("got %x, %v, want all", got, err)
	}
	if got := nameOf(want[0]) + ", " + nameOf(want[1]); got != "Hello, Ack 7" {
		t.Errorf("they are %s", got)
	}
}
