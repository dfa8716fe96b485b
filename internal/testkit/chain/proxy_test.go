package chain

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

const patience = time.Minute

// frame is one as the relay has them, as far as the proxy looks: four letters and a
// length.
func frame(letter byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 4)
	return append(append(b, "crc."...), strings.Repeat(string(letter), 4)...)
}

// through sends frames a, b, c… of one direction through a proxy with a fault, and
// returns what comes out until the end, or until nothing is missing.
func through(t *testing.T, f fault, count, want int) (got string, p *Proxy) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err = newProxy(l.Addr().String(), 0, true, t.Logf, func(uint64, uint64) fault { return f })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	lower, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer lower.Close()
	upper, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer upper.Close()
	from, to := lower, upper
	if !f.up {
		from, to = upper, lower
	}
	var all []byte
	for i := range count {
		all = append(all, frame('a'+byte(i))...)
	}
	if _, err := from.Write(all); err != nil {
		t.Fatal(err)
	}
	if err := to.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, want)
	n, err := io.ReadFull(to, text)
	if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
		t.Fatalf("%s: %d bytes came", f, n)
	}
	return string(text[:n]), p
}

// said is what frames of these letters look like.
func said(letters string) string {
	var b strings.Builder
	for _, l := range []byte(letters) {
		b.Write(frame(l))
	}
	return b.String()
}

func TestEachFaultDoesWhatItSays(t *testing.T) {
	f := func(name string, x fault, want string) {
		for _, x.up = range []bool{true, false} {
			t.Run(name+map[bool]string{true: "Up", false: "Down"}[x.up], func(t *testing.T) {
				got, p := through(t, x, 6, len(want)+map[bool]int{true: 1, false: 0}[x.kind == cut || x.kind == silence || x.kind == halfOpen])
				if got != want {
					t.Errorf("got  %q\nwant %q", got, want)
				}
				if text, err := p.Done(); err != nil || (x.kind != none) != strings.HasPrefix(text, x.kind.String()+" 1, ") {
					t.Errorf("the proxy says %q, %v", text, err)
				}
			})
		}
	}
	f("none", fault{}, said("abcdef"))
	f("cut", fault{kind: cut, after: 2, part: 0.5}, said("ab")+string(frame('c')[:6]))
	f("cutBetween", fault{kind: cut, after: 2}, said("ab"))
	f("delay", fault{kind: delay, after: 1, units: 2, pause: time.Millisecond}, said("abcdef"))
	f("hold", fault{kind: hold, after: 5, pause: time.Millisecond}, said("abcdef"))
	f("drop", fault{kind: drop, after: 1, units: 2}, said("adef"))
	f("again", fault{kind: again, after: 1}, said("abbcdef"))
	f("later", fault{kind: later, after: 1, units: 3}, said("abcdebf"))
	f("exchange", fault{kind: exchange, after: 4}, said("abcdfe"))
	f("silence", fault{kind: silence, after: 1, pause: time.Millisecond}, said("a"))
	f("halfOpen", fault{kind: halfOpen, after: 3, pause: time.Millisecond}, said("abc"))
	flipped := []byte(said("abcdef"))
	flipped[12+6] ^= 1
	f("flip", fault{kind: flip, after: 1, part: 0.5}, string(flipped))
}

func TestWhatIsNoFrameIsTold(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := NewProxy(l.Addr().String(), 0, true, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Calm()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c); len(rest) > 0 {
		t.Errorf("got %q, %v", rest, err)
	}
	if _, err := p.Done(); err == nil || !strings.Contains(err.Error(), "not a frame") {
		t.Errorf("got %v", err)
	}
}

// TestAShutProxyHasNobodyAbove: what is open ends, and what comes is closed, until it is
// opened.
func TestAShutProxyHasNobodyAbove(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := NewProxy(l.Addr().String(), 0, false, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Calm()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", p.Address())
		if err == nil {
			err = c.SetDeadline(time.Now().Add(patience))
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	passes := func(c net.Conn) {
		t.Helper()
		above, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { above.Close() })
		if _, err := above.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Errorf("it passes nothing on: %v", err)
		}
	}
	first := dial()
	defer first.Close()
	passes(first)
	p.Shut()
	second := dial()
	defer second.Close()
	for _, c := range []net.Conn{first, second} {
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection through a shut proxy: %v", err)
		}
	}
	p.Open()
	if c, err := l.Accept(); err == nil { // the second's, which was closed at once
		c.Close()
	}
	third := dial()
	defer third.Close()
	passes(third)
}

// TestASeedIsAScript: every fault is drawn, in both directions, early and late, and
// the same seed draws the same.
func TestASeedIsAScript(t *testing.T) {
	var ways [kinds][2]bool
	early, late := 0, 0
	for n := range uint64(1000) {
		f := draw(7, n)
		if g := draw(7, n); f != g {
			t.Fatalf("%v, and then %v", f, g)
		}
		ways[f.kind][map[bool]int{true: 1}[f.up]] = true
		if f.after < 20 {
			early++
		}
		if f.after > 100 {
			late++
		}
	}
	for k, both := range ways {
		if both != [2]bool{true, true} {
			t.Errorf("%s: %v", kind(k), both)
		}
	}
	if early < 300 || late < 100 {
		t.Errorf("%d early and %d late of 1000", early, late)
	}
}
