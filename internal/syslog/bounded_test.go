package syslog

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// roomy is a reader that minds being read into no room, for ever.
type roomy struct{ io.Reader }

var errNoRoom = errors.New("read into no room")

func (r roomy) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, errNoRoom
	}
	return r.Reader.Read(p)
}

// TestZeroCountsForEverAreALine holds that "0 0 0 …" is decided after a few
// bytes: waiting for what stands at its end would fill the buffer and then never read again.
func TestZeroCountsForEverAreALine(t *testing.T) {
	const max = 128 << 10
	zeros := strings.Repeat("0 ", max)
	f := func(name, after string, want ...string) {
		t.Helper()
		all, err := frames(roomy{strings.NewReader(zeros + after)}, max)
		if err != io.EOF || len(all) != len(want) {
			t.Fatalf("%s: got %d frames, %v want %d, %v", name, len(all), err, len(want), io.EOF)
		}
		for i := range all {
			if all[i] != want[i] {
				t.Errorf("%s: frame %d: got %.80q want %.80q", name, i, all[i], want[i])
			}
		}
	}
	line := zeros[:max] + " [truncated]"
	f("nothing", "", line)
	f("a line", "x\n<1>a\n", line, "<1>a")
	f("a message", "0 <1>x\n<1>a\n", line, "<1>a")
}

// TestDrippingSenderCostsNoMore holds that a byte more does not have those
// before it looked at again: a thousand a second would keep a processor busy.
func TestDrippingSenderCostsNoMore(t *testing.T) {
	f := func(name string, pieces ...string) {
		t.Helper()
		fr := NewFramer(&dripping{pieces}, 1<<20)
		for _, piece := range pieces {
			if piece != "" {
				continue
			}
			_, _, err := fr.Next()
			for err == nil {
				_, _, err = fr.Next()
			}
			if !errors.Is(err, timeout{}) {
				t.Fatalf("%s: got %v before the end", name, err)
			}
		}
		held := len(fr.Tail())
		if fr.searched != held || !fr.nuls && fr.judged < held-prioritySize {
			t.Errorf("%s: %d bytes are held, but %d searched and %d judged", name, held, fr.searched, fr.judged)
		}
	}
	f("text", "<1>", "", strings.Repeat("a", 5000), "")
	f("NULs in text", "<1>", "", strings.Repeat("\x00", 5000), "")
	f("NULs before what is no priority", "<1>", "", strings.Repeat("\x00<1", 5000), "")
	f("NUL framing", "<1>", "", "\x00<1>", "", strings.Repeat("a", 5000), "")
}
