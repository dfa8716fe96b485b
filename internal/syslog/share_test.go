package syslog

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/runnel-log/runnel/record"
)

// TestMessagesShareTheirMemory: a connection that gets no more memory has its
// message cut to what has come of it, and those after it come whole.
func TestMessagesShareTheirMemory(t *testing.T) {
	long := "<13>" + strings.Repeat("x", 300_000)
	f := func(name, in string, room int, want ...string) {
		t.Helper()
		for how, from := range map[string]io.Reader{"whole": strings.NewReader(in), "halves": iotest.HalfReader(strings.NewReader(in))} {
			lent, most := 0, 0
			fr := NewFramer(from, 1<<20)
			fr.Share(func(more int) bool {
				if more > 0 && lent+more > room {
					return false
				}
				lent += more
				most = max(most, lent)
				return true
			})
			var got []string
			for {
				frame, flags, err := fr.Next()
				if err != nil {
					break
				}
				if len(frame) > 100 {
					frame = frame[:5]
				}
				text := string(frame)
				if flags&record.Truncated != 0 {
					text += " [truncated]"
				}
				got = append(got, text)
			}
			if strings.Join(got, ", ") != strings.Join(want, ", ") {
				t.Errorf("%s, %s: got %q want %q", name, how, got, want)
			}
			if held := max(0, fr.Size()-largeBuffer); lent != held || most > room {
				t.Errorf("%s, %s: %d bytes are lent, %d held; %d were at most, of %d", name, how, lent, held, most, room)
			}
			if fr.Share(nil); lent != 0 {
				t.Errorf("%s, %s: %d bytes are not given back", name, how, lent)
			}
		}
	}
	f("a line", long+"\n<13>next\n", 0, "<13>x [truncated]", "<13>next")
	f("a counted message", "300004 "+long+"8 <13>next<13>line\n", 0, "<13>x [truncated]", "<13>next", "<13>line")
	f("NUL framing", "<13>a\x00<13>b\x00"+long+"\x00<13>next\x00", 0, "<13>a", "<13>b", "<13>x [truncated]", "<13>next")
	f("room for one doubling", long+"\n<13>next\n", 64<<10, "<13>x [truncated]", "<13>next")
	f("room for all", long+"\n<13>next\n"+long+"\n", 512<<10, "<13>x", "<13>next", "<13>x")
	f("the end", long, 0, "<13>x [truncated]")
}

// TestSharedMemoryIsGivenBack whatever is sent and whenever room is refused.
func TestSharedMemoryIsGivenBack(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		var in strings.Builder
		for range 20 {
			body := "<13>" + strings.Repeat("x", random.IntN(200_000))
			switch random.IntN(3) {
			case 0:
				in.WriteString(body + "\n")
			case 1:
				in.WriteString("100 " + body + "\n")
			case 2:
				in.WriteString("150000 " + body + "\n")
			}
		}
		lent := 0
		fr := NewFramer(strings.NewReader(in.String()), 128<<10)
		fr.Share(func(more int) bool {
			if more > 0 && random.IntN(2) == 0 {
				return false
			}
			lent += more
			return true
		})
		for frames := 0; ; frames++ {
			if _, _, err := fr.Next(); err != nil {
				break
			}
			if frames > in.Len() {
				t.Fatalf("seed %d: it never ends", seed)
			}
			if random.IntN(4) == 0 {
				fr.Shrink()
			}
			if held := max(0, fr.Size()-largeBuffer); lent != held {
				t.Fatalf("seed %d: %d bytes are lent, %d held", seed, lent, held)
			}
		}
		if fr.Share(nil); lent != 0 {
			t.Fatalf("seed %d: %d bytes are not given back", seed, lent)
		}
	}
}
