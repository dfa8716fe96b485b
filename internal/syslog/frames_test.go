package syslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/runnel-log/runnel/internal/testkit"
	"github.com/runnel-log/runnel/record"
)

// frames reads all of r: each frame, with its flags, and the last error.
func frames(r io.Reader, max int) (all []string, err error) {
	f := NewFramer(r, max)
	for {
		frame, flags, err := f.Next()
		if err != nil {
			return all, err
		}
		text := string(frame)
		if names := flags.Names(); names != nil {
			text += " " + fmt.Sprint(names)
		}
		all = append(all, text)
	}
}

// chunks is a reader that gives data in pieces, each cut at a given place.
type chunks struct {
	data []byte
	cuts []int
	at   int
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.at == len(c.data) {
		return 0, io.EOF
	}
	to := len(c.data)
	for _, cut := range c.cuts {
		if cut > c.at && cut < to {
			to = cut
		}
	}
	n := copy(p, c.data[c.at:to])
	c.at += n
	return n, nil
}

// everySplit holds that the frames do not depend on where reads end.
func everySplit(t *testing.T, name string, data []byte, max int, want []string) {
	t.Helper()
	for cut := 0; cut <= len(data); cut++ {
		if got, _ := frames(&chunks{data: data, cuts: []int{cut}}, max); !slices.Equal(got, want) {
			t.Fatalf("%s cut at %d:\n got %q\nwant %q", name, cut, got, want)
		}
		if got := framesResumed(t, data, cut, max); !slices.Equal(got, want) {
			t.Fatalf("%s, suspended at %d:\n got %q\nwant %q", name, cut, got, want)
		}
	}
	if got, _ := frames(iotest.OneByteReader(bytes.NewReader(data)), max); !slices.Equal(got, want) {
		t.Fatalf("%s byte by byte:\n got %q\nwant %q", name, got, want)
	}
}

func TestFrames(t *testing.T) {
	f := func(in string, want ...string) {
		t.Helper()
		everySplit(t, fmt.Sprintf("%q", in), []byte(in), 40, want)
	}
	long := strings.Repeat("x", 60)
	f("")
	f("<1>a\n<1>b\n", "<1>a", "<1>b")
	f("<1>a\n<1>b", "<1>a", "<1>b")
	f("<1>a\r\n", "<1>a\r") // the program's own, RFC 6587 has no CR
	f("\n\n<1>a\n\r\n\n<1>b\n", "<1>a", "<1>b")
	f("5 <1>ab5 <1>cd", "<1>ab", "<1>cd")
	f("6 <1>ab\n6 <1>cd\n", "<1>ab", "<1>cd") // Docker over TLS counts the LF
	f("5 <1>ab\n5 <1>cd\n", "<1>ab", "<1>cd") // others add one that is not counted
	f("7 <1>a\nbc<1>d\n", "<1>a\nbc", "<1>d") // an LF inside a counted message
	f("5 <1>ab<1>cd\n5 <1>ef", "<1>ab", "<1>cd", "<1>ef")
	f("0 5 <1>ab", "<1>ab")
	f("0 errors\n", "0 errors")
	f("0 0 5 <1>ab", "<1>ab")
	f(strings.Repeat("0 ", 8)+"5 <1>ab", "<1>ab")
	f(strings.Repeat("0 ", 9)+"5 <1>ab\n<1>a\n", strings.Repeat("0 ", 9)+"5 <1>ab", "<1>a")
	f("<1>a\n<1>b\x00\x00<1\x00<2>c\x00<2>d\n", "<1>a", "<1>b", "<1", "<2>c", "<2>d\n")
	f("05 <1>ab\n", "05 <1>ab") // no leading zero
	f("12345 text\n<1>a\n", "12345 text", "<1>a")
	f("12345\n", "12345")
	f("12345", "12345")
	f("9 <1>", "<1> [partial]")
	f("-5 <1>a\n", "-5 <1>a")
	f(strings.Repeat("1", 39)+"\n<1>a\n", strings.Repeat("1", 39), "<1>a")
	f("<1>"+long+"\n<1>a\n", ("<1>" + long)[:40]+" [truncated]", "<1>a")
	f("63 <1>"+long+"5 <1>ab", ("<1>" + long)[:40]+" [truncated]", "<1>ab")
	f("40 <1>"+long[:37]+"5 <1>ab", "<1>"+long[:37], "<1>ab")
	f("41 <1>"+long[:37]+"\n5 <1>ab", "<1>"+long[:37], "<1>ab")
	f("41 <1>"+long[:38]+"5 <1>ab", "<1>"+long[:37]+" [truncated]", "<1>ab")
	f("63 <1>"+long[:50], ("<1>" + long)[:40]+" [truncated]")
	f("<134>hello\x00<131>multi\nline\x00<134>third\x00", "<134>hello", "<131>multi\nline", "<134>third")
	f("<134>hello\x00<131>last", "<134>hello", "<131>last")
	f("<1>a\x00b\x00\x00 c\n<1>d\n", "<1>a\x00b\x00\x00 c", "<1>d") // Docker: a NUL is text
	f("<1>a\n<1>b\x00<2>c\n<1>d\n", "<1>a", "<1>b\x00<2>c", "<1>d") // one is not enough after lines
	f("<1>a\n<1>b\x00<2>c\x00<2>d\n\x00<1>e\x00", "<1>a", "<1>b", "<2>c", "<2>d\n", "<1>e")
	f("<1>a\n\x00<1>b\n\x00", "<1>a", "<1>b") // Perl's Sys::Syslog
	f("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r", "Host: x\r")
}

func TestAbsurdCountClosesTheConnection(t *testing.T) {
	f := func(in string, want ...string) {
		t.Helper()
		got, err := frames(strings.NewReader(in), 1<<20)
		if !errors.Is(err, ErrFrameCount) || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v want %q, %v", in, got, err, want, ErrFrameCount)
		}
	}
	f("99999999999999999999 <13>1 - - - - - - x")
	f("999999999 <13>1 - - - - - - x")
	f("<1>a\n18446744073709551616 <1>b", "<1>a")
	f("1844674407370955161 <1>b")
}

func TestBrokenConnectionMarksWhatCame(t *testing.T) {
	reset := errors.New("connection reset by peer")
	got, err := frames(io.MultiReader(strings.NewReader("<1>a\n<1>b"), iotest.ErrReader(reset)), 100)
	if want := []string{"<1>a", "<1>b [partial]"}; !slices.Equal(got, want) || err != reset {
		t.Errorf("got %q, %v want %q, %v", got, err, want, reset)
	}
}

type dripping struct {
	parts []string // an empty one is a timeout
}

type timeout struct{}

func (timeout) Error() string   { return "deadline" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

func (d *dripping) Read(p []byte) (int, error) {
	if len(d.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, d.parts[0])
	d.parts = d.parts[1:]
	if n == 0 {
		return 0, timeout{}
	}
	return n, nil
}

func TestTimeoutGoesOnWhereItStopped(t *testing.T) {
	f := NewFramer(&dripping{[]string{"<1>", "", "a\n<1", "", "", ">b\n"}}, 100)
	var got []string
	timeouts := 0
	for {
		frame, flags, err := f.Next()
		if errors.Is(err, timeout{}) {
			timeouts++
			continue
		}
		if err != nil {
			break
		}
		got = append(got, fmt.Sprint(string(frame), flags))
	}
	if want := []string{"<1>a0", "<1>b0"}; !slices.Equal(got, want) || timeouts != 3 {
		t.Errorf("got %q after %d timeouts, want %q after 3", got, timeouts, want)
	}
}

func TestBufferedAndTail(t *testing.T) {
	f := NewFramer(&chunks{data: []byte("<1>a\n<1>b\n<1>c\n"), cuts: []int{12}}, 100)
	step := func(frame string, buffered bool, tail string) {
		t.Helper()
		got, _, err := f.Next()
		if err != nil || string(got) != frame {
			t.Fatalf("got %q, %v want %q", got, err, frame)
		}
		if f.Buffered() != buffered {
			t.Fatalf("after %q: Buffered is %v", frame, !buffered)
		}
		if string(got) != frame {
			t.Fatalf("Buffered changed %q to %q", frame, got)
		}
		if !buffered && string(f.Tail()) != tail {
			t.Fatalf("after %q: tail %q want %q", frame, f.Tail(), tail)
		}
	}
	step("<1>a", true, "")
	step("<1>b", false, "<1")
	step("<1>c", false, "")
	if _, _, err := f.Next(); err != io.EOF {
		t.Errorf("got %v at the end", err)
	}
}

func TestLongFrameIsNotHeld(t *testing.T) {
	const max = 64 << 10
	f := func(name string, in io.Reader, want int) {
		t.Helper()
		fr := NewFramer(in, max)
		first, flags, err := fr.Next()
		if err != nil || len(first) != max || flags != record.Truncated {
			t.Errorf("%s: %d bytes, flags %v, %v", name, len(first), flags.Names(), err)
		}
		last, flags, err := fr.Next()
		if err != nil || string(last) != "<1>after" || flags != 0 {
			t.Errorf("%s: got %q, %v, %v", name, last, flags.Names(), err)
		}
		if len(fr.buf) > 2*max {
			t.Errorf("%s: the buffer grew to %d", name, len(fr.buf))
		}
	}
	letters := func(n int64) io.Reader { return io.LimitReader(&cycle{data: []byte("B")}, n) }
	f("line", io.MultiReader(strings.NewReader("<1>"), letters(10e6), strings.NewReader("\n<1>after\n")), 2)
	f("octets", io.MultiReader(strings.NewReader("10000003 <1>"), letters(10e6), strings.NewReader("8 <1>after")), 2)
}

func TestFramingDoesNotAllocate(t *testing.T) {
	f := NewFramer(&cycle{data: AppendLF(nil, []byte(msg5424))}, 1<<20)
	for range 1000 {
		if _, _, err := f.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, func() { f.Next() }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

// TestFramesOfTheHostile sends the stream cases of testdata/hostile.
func TestFramesOfTheHostile(t *testing.T) {
	for _, c := range testkit.Cases(t, testkit.Path(t, "testdata/hostile/hostile.jsonl")) {
		if c.Transport != "tcp" && c.Transport != "tls" {
			continue
		}
		got, err := frames(bytes.NewReader(c.Sent()), 1<<20)
		if err != io.EOF && !errors.Is(err, ErrFrameCount) {
			t.Errorf("%s: %v", c.Name, err)
		}
		if want, ok := c.Frames(t, c.Check, "frames_expected_b64"); ok && !slices.EqualFunc(got, want, func(a string, b []byte) bool { return a == string(b) }) {
			t.Errorf("%s: got %.200q want %q", c.Name, got, want)
		}
		var n int
		if raw, ok := c.Check["frames_expected"]; ok && json.Unmarshal(raw, &n) == nil && len(got) != n {
			t.Errorf("%s: got %d frames want %d", c.Name, len(got), n)
		}
		var last []byte
		if raw, ok := c.Check["last_frame_b64"]; ok && json.Unmarshal(raw, &last) == nil && (len(got) == 0 || got[len(got)-1] != string(last)) {
			t.Errorf("%s: got %.200q last, want %q", c.Name, got, last)
		}
	}
}

// TestFramesOfTheCaptures holds the streams that Docker and others really sent
// against what rsyslog's imtcp made of them, and against reads of every size.
func TestFramesOfTheCaptures(t *testing.T) {
	text, err := os.ReadFile(testkit.Path(t, "testdata/docker/rsyslog-imtcp-on-these-streams.json"))
	if err != nil {
		t.Fatal(err)
	}
	var rsyslog map[string]struct {
		Messages int   `json:"messages"`
		Lengths  []int `json:"raw_lengths"`
	}
	if err := json.Unmarshal(text, &rsyslog); err != nil {
		t.Fatal(err)
	}
	dirs, _ := filepath.Glob(testkit.Path(t, "testdata/docker/raw/docker-[sr]*"))
	compared := 0
	for _, dir := range append(dirs, testkit.Path(t, "testdata/senders/raw")) {
		for _, c := range testkit.Captures(t, dir) {
			if !c.Stream || strings.Contains(c.Name, "_zip") {
				continue
			}
			got, err := frames(bytes.NewReader(c.Bytes), 1<<20)
			if err != io.EOF {
				t.Errorf("%s: %v", c.Name, err)
			}
			if len(c.Bytes) < 3000 {
				everySplit(t, c.Name, c.Bytes, 1<<20, got)
			}
			for i, frame := range got {
				if !strings.HasPrefix(frame, "<") && !strings.HasPrefix(c.Name, "sng_tcp") {
					t.Errorf("%s frame %d: %.60q", c.Name, i, frame)
				}
			}
			path, err := filepath.Rel(testkit.Path(t, "testdata"), filepath.Join(dir, c.Name+".raw"))
			if err != nil {
				t.Fatal(err)
			}
			want, ok := rsyslog[path]
			if !ok || slices.Max(want.Lengths) >= 8096 {
				continue // rsyslog cuts at 8096 bytes
			}
			compared++
			if len(got) != want.Messages {
				t.Errorf("%s: got %d frames, rsyslog %d", c.Name, len(got), want.Messages)
			}
		}
	}
	for name, stream := range rsyslog {
		if slices.Max(stream.Lengths) < 8096 && !strings.Contains(name, "_zip") {
			compared--
		} else if stream.Messages == 0 {
			t.Errorf("%s: rsyslog made nothing of it", name)
		}
	}
	if compared != 0 {
		t.Errorf("compared %+d captures with rsyslog more than it has short ones", compared)
	}
}
