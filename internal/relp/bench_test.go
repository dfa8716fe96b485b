package relp

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// again is a stream without end.
type again struct {
	wire []byte
	at   int
}

func (a *again) Read(p []byte) (int, error) {
	n := copy(p, a.wire[a.at:])
	a.at = (a.at + n) % len(a.wire)
	return n, nil
}

// go test ./internal/relp -run - -bench .
//
// A frame of a 300-byte message, without sockets.
func BenchmarkReader(b *testing.B) {
	r := NewReader(&again{wire: AppendFrame(nil, 4242, Syslog, bytes.Repeat([]byte("x"), 300))})
	r.Allow(1<<20, 1<<20)
	b.ReportAllocs()
	b.SetBytes(300)
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestReaderAllocatesNothing(t *testing.T) {
	r := NewReader(&again{wire: AppendFrame(nil, 4242, Syslog, bytes.Repeat([]byte("x"), 300))})
	r.Allow(1<<20, 1<<20)
	for range 10_000 { // the buffer has grown
		r.Next()
	}
	if n := testing.AllocsPerRun(1000, func() { r.Next() }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
	answers := strings.NewReader("")
	wire := string(AppendOK(nil, 42))
	a := NewReader(answers)
	if n := testing.AllocsPerRun(1000, func() {
		answers.Reset(wire)
		f, err := a.Next()
		if err == io.EOF {
			f, err = a.Next()
		}
		if got, bad := ParseAnswer(f.Data); err != nil || bad != nil || got.Code != CodeOK {
			t.Fatalf("%q: %v, %v", f.Data, err, bad)
		}
	}); n != 0 {
		t.Errorf("%v allocations an answer", n)
	}
}
