package relaywire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/runnel-log/runnel/record"
)

var (
	host  = Agent([]byte("host............"))
	relay = Agent([]byte("relay..........."))
)

// samples has every message, at its least and with all that it can have.
func samples() []Message {
	lag := Lag{Records: 1 << 40, Bytes: 300, Oldest: time.Hour, Lost: 7}
	return []Message{
		&Hello{Writer: Writer{host, 1}, Versions: [2]uint16{1, 1}},
		&Hello{Writer: Writer{host, math.MaxUint32}, Versions: [2]uint16{1, 400}, Name: "edge-1", Build: "v1.2.3"},
		&Welcome{Version: 1},
		&Welcome{Version: 1, Agent: relay, Name: "relay", Build: "v1", Session: 1 << 63, Credit: 32 << 20, Above: []Hop{{relay, "relay"}, {host, ""}}},
		&Ask{Stream: "app", Epoch: 9, Parts: Ranges{{1, never}}},
		&Ask{Stream: "", Epoch: 9, Parts: Ranges{{0, 1}, {5, 6}, {1 << 60, never}}},
		&Tell{Stream: "app", Epoch: 9},
		&Tell{Stream: "app", Epoch: 9, Missing: Ranges{{3, 4}, {9, never}}, Ends: Range{1, 9}, Prints: []Print{{Range{1, 3}, 77}, {Range{4, 9}, math.MaxUint64}}},
		&Data{Number: 1, Part: Part{Line{Writer{Epoch: 3}, "app"}, Range{7, 8}}},
		&Data{Number: 1, Part: Part{Line{Writer{Epoch: 3}, "app"}, Range{7, 27}}, Gone: []Gone{{Range{7, 9}, Retention}, {Range{9, 10}, Damage}, {Range{12, 14}, Damage}}},
		&Data{Number: 300, Part: Part{Line{Writer{Epoch: 3}, "app"}, Range{7, 27}}, Sum: 5, Gone: []Gone{{Range{7, 9}, Retention}},
			Offsets: Ranges{{10, 20}, {25, 27}}, Payload: []byte("compressed"), Raw: 4000},
		&Data{Number: 300, Part: Part{Line{Writer{Epoch: 3}, "app"}, Range{10, 20}}, Sum: 5, Offsets: Ranges{{10, 20}}, Payload: []byte("compressed"), Raw: 4000,
			Origin: record.Origin{Agent: host, Epoch: math.MaxUint32, Sequence: math.MaxUint64 - 10, Stream: []byte("the host's")}},
		&Ack{Number: 1}, &Ack{Number: math.MaxUint64},
		&Nack{Code: CodeVersion}, &Nack{Code: CodeFull, Text: "the disk is full", After: time.Minute}, &Nack{Code: 200},
		&Report{}, &Report{Lag: lag},
		&Report{Lag: lag, Below: []Below{{Hop: Hop{host, "edge"}, Build: "v1", Via: 1, Seen: time.Unix(1e9, 5).UTC(), Lag: lag}, {}}},
		&Path{}, &Path{Above: []Hop{{relay, "central"}}},
		&Bye{},
		&Ended{Stream: "app", Epoch: 9, Parts: Ranges{{0, 1}}},
		&Ended{Epoch: math.MaxUint32, Parts: Ranges{{1, 4}, {5, 6}, {1 << 60, never}}},
	}
}

// large is a Data whose payload is n bytes.
func large(n int) *Data {
	d := &Data{Number: 4, Part: Part{Line{Writer{Epoch: 3}, "app"}, Range{7, 27}}, Sum: 5, Offsets: Ranges{{10, 27}}, Raw: 9, Payload: make([]byte, n)}
	rand.NewChaCha8([32]byte{}).Read(d.Payload)
	return d
}

// same reports whether two messages are equal, where no slice is an empty one.
func same(a, b Message) bool {
	if a, ok := a.(*Data); ok {
		b, ok := b.(*Data)
		if !ok || !bytes.Equal(a.Payload, b.Payload) {
			return false
		}
		x, y := *a, *b
		x.Payload, y.Payload = nil, nil
		return reflect.DeepEqual(x, y)
	}
	return reflect.DeepEqual(a, b)
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	messages := samples()
	for _, n := range []int{1, piece - 1, piece, piece + 1, 2 * piece, 2*piece + 1, 3*piece - 1, MaxPayload} {
		messages = append(messages, large(n))
	}
	var wire []byte
	for _, m := range messages {
		wire = Append(wire, m)
	}
	for _, from := range []io.Reader{bytes.NewReader(wire), iotest.HalfReader(bytes.NewReader(wire)), iotest.DataErrReader(bytes.NewReader(wire))} {
		r := NewReader(from)
		for i, want := range messages {
			got, err := r.Next()
			if err != nil || !same(got, want) {
				t.Fatalf("message %d: got %.300v, %v want %.300v", i, got, err, want)
			}
		}
		if m, err := r.Next(); err != io.EOF {
			t.Errorf("got %v, %v want the end", m, err)
		}
	}
}

// refused reports whether a reader of b comes to an error without a whole message.
func refused(b []byte) (Message, error) { return NewReader(bytes.NewReader(b)).Next() }

func TestACutFrameIsAnError(t *testing.T) {
	for _, m := range samples() {
		wire := Append(nil, m)
		for n := range wire {
			got, err := refused(wire[:n])
			want := io.ErrUnexpectedEOF
			if n == 0 {
				want = io.EOF
			}
			if err != want {
				t.Fatalf("%T cut at %d of %d: got %v, %v", m, n, len(wire), got, err)
			}
		}
	}
	wire := Append(nil, large(2*piece+1))
	for _, n := range []int{1, 8, 9, 12, 13, 14, piece, piece + 12, piece + 13, piece + 14, piece + 22, 2*piece + 25, 2*piece + 26, 2*piece + 27, len(wire) - 1} {
		if got, err := refused(wire[:n]); err != io.ErrUnexpectedEOF {
			t.Errorf("cut at %d: got %v, %v", n, got, err)
		}
	}
}

func TestAFlippedBitIsAnError(t *testing.T) {
	for _, m := range samples() {
		wire := Append(nil, m)
		for bit := range 8 * len(wire) {
			wire[bit/8] ^= 1 << (bit % 8)
			if got, err := refused(wire); err == nil {
				t.Fatalf("%T: bit %d of %d: got %v", m, bit, 8*len(wire), got)
			}
			wire[bit/8] ^= 1 << (bit % 8)
		}
	}
	wire := Append(nil, large(piece+1))
	for _, at := range []int{0, 2, 5, 8, 9, 12, 13, 1000, piece + 12, piece + 13, piece + 21, len(wire) - 1} {
		wire[at] ^= 1
		if got, err := refused(wire); err == nil {
			t.Errorf("byte %d: got %T", at, got)
		}
		wire[at] ^= 1
	}
}

// frame seals content, whatever it is.
func frame(content ...byte) []byte {
	b := append(make([]byte, frameHeader), content...)
	seal(b)
	return b
}

// TestWhatNobodyWouldSayIsMalformed: with the right checksum, and in a form that Append never makes.
func TestWhatNobodyWouldSayIsMalformed(t *testing.T) {
	f := func(what string, wire []byte) {
		t.Helper()
		m, err := refused(wire)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, %v", what, m, err)
		}
	}
	raw := func(m Message) []byte { return append([]byte{m.kind()}, m.append(nil)...) }
	data := func(change func(d *Data)) []byte {
		d := &Data{Number: 1, Part: Part{Line{Writer{Epoch: 3}, "a"}, Range{7, 27}}, Sum: 5, Offsets: Ranges{{10, 20}, {25, 27}}, Payload: []byte("x"), Raw: 5}
		change(d)
		return Append(nil, d)
	}
	f("nothing", make([]byte, 9))
	f("too long", []byte{1, 0, 0x40, 0, 0, 0, 0, 0, 0})
	f("a stranger", []byte("GET / HTTP/1.1\r\n\r\n"))
	f("kind 0", frame(0))
	f("a kind to come", frame(kindEnded+1))
	f("an end of nothing", frame(kindEnded, 0, 0, 0, 0, 0, 0))
	f("a Bye that goes on", frame(kindBye, 0))
	f("an Ack of two numbers", frame(kindAck, 1, 1))
	f("a number in two bytes that fits in one", frame(kindAck, 0x81, 0))
	f("a number of 65 bits", frame(kindAck, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2))
	f("no code", Append(nil, &Nack{}))
	f("a Hello of another trade", frame(append([]byte{kindHello}, strings.Replace(string(raw(samples()[0])[1:]), magic, "runnel-delay", 1)...)...))
	f("version 0", Append(nil, &Hello{Versions: [2]uint16{0, 1}}))
	f("versions backwards", Append(nil, &Hello{Versions: [2]uint16{2, 1}}))
	f("version 65536", frame(append(append([]byte{kindHello}, magic...), append([]byte{1, 0x80, 0x80, 4}, make([]byte, 22)...)...)...))
	f("an Ask of nothing", Append(nil, &Ask{Stream: "a"}))
	f("an Ask of 32 769 parts", Append(nil, &Ask{Stream: "a", Parts: every(2, MaxParts+1)}))
	f("ranges that touch", Append(nil, &Ask{Stream: "a", Parts: Ranges{{1, 2}, {2, 3}}}))
	f("a range of nothing", Append(nil, &Ask{Stream: "a", Parts: Ranges{{1, 1}}}))
	f("a name of 4097 bytes", frame(append(append([]byte{kindAsk, 0x81, 0x20}, make([]byte, 4097)...), 0, 0, 0, 0, 1, 1, 1)...))
	f("a print of nothing", Append(nil, &Tell{Ends: Range{1, 5}, Prints: []Print{{Range{2, 2}, 1}}}))
	f("a print without a sum", Append(nil, &Tell{Ends: Range{1, 5}, Prints: []Print{{Range{2, 3}, 0}}}))
	f("a print of what is not there", Append(nil, &Tell{Ends: Range{1, 5}, Prints: []Print{{Range{2, 6}, 1}}}))
	f("65 prints", Append(nil, &Tell{Ends: Range{1, 5}, Prints: slices.Repeat([]Print{{Range{2, 3}, 1}}, prints+1)}))
	f("nothing, from 3 on", Append(nil, &Tell{Ends: Range{3, 3}}))
	f("a frame of nothing", data(func(d *Data) { *d = Data{Number: 1, Part: Part{d.Line, Range{7, 7}}} }))
	f("records before the range", data(func(d *Data) { d.From = 11 }))
	f("records behind the range", data(func(d *Data) { d.To = 26 }))
	f("a frame that ends without a record", data(func(d *Data) { d.To = 28 }))
	f("a record that is gone", data(func(d *Data) { d.Gone = []Gone{{Range{9, 11}, Damage}} }))
	f("gone from before the range", data(func(d *Data) { d.Gone = []Gone{{Range{6, 8}, Damage}} }))
	f("gone from behind the range", data(func(d *Data) { *d = Data{Part: d.Part, Gone: []Gone{{Range{26, 28}, Damage}}} }))
	f("gone for no reason", data(func(d *Data) { d.Gone = []Gone{{Range{7, 8}, 0}} }))
	f("gone for a third reason", data(func(d *Data) { d.Gone = []Gone{{Range{7, 8}, 3}} }))
	f("gone in pieces", data(func(d *Data) { d.Gone = []Gone{{Range{7, 8}, 1}, {Range{8, 9}, 1}} }))
	f("gone backwards", data(func(d *Data) { d.Gone = []Gone{{Range{8, 9}, 1}, {Range{7, 8}, 1}} }))
	f("records from behind the last offset", data(func(d *Data) { d.Origin = record.Origin{Agent: host, Sequence: math.MaxUint64 - 11} }))
	origin := func(bytes ...byte) []byte {
		d := &Data{Number: 1, Part: Part{Line{Writer{Epoch: 3}, "a"}, Range{7, 8}}, Sum: 5, Offsets: Ranges{{7, 8}}, Raw: 5}
		content := raw(d)
		return frame(append(append(content[:len(content)-1], bytes...), 'x')...)
	}
	f("an origin that is none", origin(append([]byte{1}, make([]byte, 16+4+1+1)...)...))
	f("an origin of a second kind", origin(2))
	f("an origin that is cut off", origin(append([]byte{1}, make([]byte, 16)...)...))
	f("no sum", data(func(d *Data) { d.Sum = 0 }))
	f("no length", data(func(d *Data) { d.Raw = 0 }))
	f("64.5 MiB and a byte, decompressed", data(func(d *Data) { d.Raw = MaxPayload + 1 }))
	f("records without a payload", data(func(d *Data) { d.Payload = nil }))
	f("a payload without records", data(func(d *Data) { d.Offsets, d.Sum, d.Raw = nil, 0, 0 }))
	f("16 385 records", data(func(d *Data) { d.To = d.From + MaxRecords + 1; d.Offsets = Ranges{d.Range} }))
	f("more gone than ever was", data(func(d *Data) {
		d.To = 7 + MaxGone + 1
		*d = Data{Part: d.Part, Gone: []Gone{{Range{7, 9}, Damage}, {Range{9, d.To}, Retention}}}
	}))
	hello := func(name string) []byte {
		wire := raw(&Hello{Versions: [2]uint16{1, 1}})
		return frame(append(appendText(wire[:len(wire)-2], name), 0)...)
	}
	if m, err := refused(hello("é")); err != nil {
		t.Fatalf("got %v, %v", m, err)
	}
	for _, name := range []string{strings.Repeat("n", MaxName+1), "\x1b[2J", "a\nb", "\x7f", "\u0085", "\u202egnp", "\xff"} {
		f(fmt.Sprintf("to be called %q", name), hello(name))
	}
	f("nine hops", frame(append([]byte{kindPath, 9}, make([]byte, 9*17)...)...))
	f("a thousand and one below", frame(append([]byte{kindReport, 0, 0, 0, 0, 0xe9, 7}, make([]byte, 1001*31)...)...))
	f("a time of 300 years", frame(kindReport, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0))
}

// TestPartsHaveOneForm: pieces are whole, agree on their sum, and end with their Data.
func TestPartsHaveOneForm(t *testing.T) {
	f := func(what string, wire ...[]byte) {
		t.Helper()
		m, err := refused(bytes.Join(wire, nil))
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, %v", what, m, err)
		}
	}
	part := func(total uint32, n int) []byte {
		return frame(append(le.AppendUint32([]byte{kindPart}, total), make([]byte, n)...)...)
	}
	data := func(n int) []byte {
		d := large(1)
		return frame(append(append([]byte{kindData}, d.append(nil)...), make([]byte, n)...)...)
	}
	if m, err := refused(append(part(piece+1, piece), data(1)...)); err != nil {
		t.Fatalf("got %v, %v", m, err)
	}
	f("short", part(piece+1, piece-1), data(2))
	f("long", part(piece+2, piece+1), data(1))
	f("of what needs none", part(piece, piece), data(1))
	f("of nothing", part(0, piece), data(1))
	f("of too much", part(MaxPayload+1, piece))
	f("which do not agree", part(2*piece+1, piece), part(2*piece+2, piece), data(1))
	f("too few", part(2*piece+1, piece), data(1))
	f("too few, and the rest at once", part(2*piece+1, piece), data(piece+1))
	f("too many", part(piece+1, piece), part(piece+1, piece))
	f("with less at the end than said", part(piece+2, piece), data(1))
	f("with more", part(piece+2, piece), data(3))
	f("of a Bye", part(piece+1, piece), Append(nil, &Bye{}))
	f("of none, but a large Data", data(piece+1))
}

// TestMemoryIsAskedForBeforeItIsTaken: a liar gets no more than he sends, and once again.
func TestMemoryIsAskedForBeforeItIsTaken(t *testing.T) {
	var asked []int
	open := 0
	budget := func(n int) (func(), error) {
		asked = append(asked, n)
		open++
		return func() { open-- }, nil
	}
	wire := Append(nil, large(3*piece))
	wire = Append(wire, large(100))
	wire = Append(wire, large(cheap+1))
	r := NewReader(bytes.NewReader(wire))
	r.Budget = budget
	for i, want := range []int{3 * piece, 0, cheap + 1} {
		asked = nil
		if _, err := r.Next(); err != nil || open != len(asked) {
			t.Errorf("message %d: got %v, %d open want %d", i, err, open, len(asked))
		}
		sum := 0
		for _, n := range asked {
			if sum += n; n > mostStep {
				t.Errorf("message %d: %d bytes at once", i, n)
			}
		}
		if sum < want || sum > want+cheap {
			t.Errorf("message %d: asked for %d bytes of %d", i, sum, want)
		}
	}
	if r.Close(); open != 0 {
		t.Errorf("%d are open", open)
	}

	full := errors.New("full")
	f := func(m Message, come int) {
		t.Helper()
		wire := bytes.NewReader(Append(nil, m))
		r := NewReader(wire)
		r.Budget = func(int) (func(), error) { return nil, full }
		if _, err := r.Next(); err != full {
			t.Errorf("got %v want %v", err, full)
		}
		if read := int(wire.Size()) - wire.Len(); read != come {
			t.Errorf("%d bytes were read, want %d", read, come)
		}
		r.Close()
	}
	f(large(cheap), 9+cheap)
	f(large(piece+1), 13+cheap)

	// What is cut off gives back what it had.
	for _, come := range []int{cheap + 20, piece} {
		asked = nil
		r = NewReader(bytes.NewReader(Append(nil, large(MaxPayload))[:come]))
		r.Budget = budget
		if _, err := r.Next(); err != io.ErrUnexpectedEOF || open != 0 {
			t.Errorf("got %v, %d open", err, open)
		}
		sum := 0
		for _, n := range asked {
			sum += n
		}
		if sum > 2*come {
			t.Errorf("%d bytes were asked for where %d came", sum, come)
		}
	}
}

// TestALyingCountAllocatesLittle: a frame of few bytes that promises many things.
func TestALyingCountAllocatesLittle(t *testing.T) {
	wire := frame(kindAsk, 0, 0, 0, 0, 0, 0x80, 0x80, 4, 1, 1) // 65536 ranges in two bytes
	const times = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		if _, err := refused(wire); !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / times; each > 16<<10 {
		t.Errorf("%d bytes were allocated for a frame of %d", each, len(wire))
	}
}

// every returns n ranges of one offset, a step apart.
func every(step uint64, n int) (s Ranges) {
	for i := range uint64(n) {
		s = append(s, Range{1 + step*i, 2 + step*i})
	}
	return s
}

// TestNamesAreSentAsTheyPrint: whatever an agent is called, its frame is one, also the largest report.
func TestNamesAreSentAsTheyPrint(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		got, err := refused(Append(nil, &Hello{Versions: [2]uint16{1, 1}, Name: name}))
		if err != nil || got.(*Hello).Name != want {
			t.Errorf("%q: got %v, %v want %q", name, got, err, want)
		}
	}
	f("edge-1", "edge-1")
	f("größe 1", "größe 1")
	f("\x1b[2Jx\xff\n", "?[2Jx??")
	f(strings.Repeat("é", 200), strings.Repeat("é", 127))
	long := strings.Repeat("\x00", 5000)
	m := &Report{Below: slices.Repeat([]Below{{Hop: Hop{host, long}, Build: long, Seen: time.Now()}}, MaxBelow)}
	if got, err := refused(Append(nil, m)); err != nil || len(got.(*Report).Below) != MaxBelow {
		t.Errorf("got %T, %v", got, err)
	}
}

func TestAppendCutsWhatPeopleName(t *testing.T) {
	long := strings.Repeat("n", MaxText+1)
	hops := make([]Hop, MaxPath+1)
	for _, m := range []Message{&Hello{Versions: [2]uint16{1, 1}, Name: long, Build: long}, &Nack{Code: CodeFull, Text: long, After: -1}, &Path{Above: hops}, &Report{Below: make([]Below, MaxBelow+1)}} {
		got, err := refused(Append(nil, m))
		if err != nil {
			t.Errorf("%T: %v", m, err)
		}
		switch m := got.(type) {
		case *Hello:
			if len(m.Name) != MaxName || len(m.Build) != MaxName {
				t.Errorf("got names of %d and %d bytes", len(m.Name), len(m.Build))
			}
		case *Nack:
			if len(m.Text) != MaxText || m.After != 0 {
				t.Errorf("got %d bytes, after %v", len(m.Text), m.After)
			}
		case *Path:
			if len(m.Above) != MaxPath {
				t.Errorf("got %d hops", len(m.Above))
			}
		case *Report:
			if len(m.Below) != MaxBelow {
				t.Errorf("got %d below", len(m.Below))
			}
		}
	}
}

func TestSumsTellPlacesAndRecordsApart(t *testing.T) {
	seen := map[uint64]string{}
	for at := range uint64(4) {
		for _, b := range []string{"", "a", "b", "ab"} {
			what := fmt.Sprint(at, b)
			sum := Sum(at, []byte(b))
			if had, ok := seen[sum]; ok || sum == 0 {
				t.Errorf("%s and %s have the sum %x", had, what, sum)
			}
			seen[sum] = what
		}
	}
	if got, want := Sum(7, []byte("runnel")), uint64(0x953c0c9039fc770d); got != want {
		t.Errorf("got %x want %x", got, want)
	}
}

// FuzzReader: whatever arrives is an error or a message, and a message has one encoding.
func FuzzReader(f *testing.F) {
	for _, m := range samples() {
		f.Add(Append(nil, m)[frameHeader:])
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) == 0 || len(content) > MaxFrame {
			return
		}
		wire := frame(content...)
		m, err := refused(wire)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && content[0] != kindPart {
				t.Fatalf("got %v", err)
			}
			return
		}
		if again := Append(nil, m); !bytes.Equal(again, wire) {
			t.Fatalf("%x was read as %+v, which is %x", wire, m, again)
		}
	})
}

// FuzzStream: frames one after another, headers and all.
func FuzzStream(f *testing.F) {
	var all []byte
	for _, m := range samples() {
		all = Append(all, m)
	}
	f.Add(all)
	f.Add(all[:len(all)/2])
	f.Fuzz(func(t *testing.T, wire []byte) {
		r := NewReader(bytes.NewReader(wire))
		defer r.Close()
		var again []byte
		for {
			m, err := r.Next()
			if err != nil {
				break
			}
			again = Append(again, m)
		}
		if !bytes.HasPrefix(wire, again) {
			t.Fatalf("got %x of %x", again, wire)
		}
	})
}

// BenchmarkData measures a frame of 512 records of 300 bytes, compressed to a third: what encoding and reading
// it costs. It says nothing about a network.
//
//	go test -run '^$' -bench Data ./internal/relaywire
func BenchmarkData(b *testing.B) {
	d := large(512 * 300 / 3)
	d.Range, d.Offsets, d.Raw = Range{1000, 1512}, Ranges{{1000, 1512}}, 512*300
	wire := Append(nil, d)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(wire)))
		var buf []byte
		for b.Loop() {
			buf = Append(buf[:0], d)
		}
	})
	b.Run("next", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(wire)))
		from := bytes.NewReader(wire)
		r := NewReader(from)
		for b.Loop() {
			from.Reset(wire)
			if _, err := r.Next(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("known", func(b *testing.B) { // what Judge, Marks and Take cost
		b.ReportAllocs()
		k := NewKnown()
		w := Writer{host, 3}
		k.Begin(w, 1)
		if _, err := k.Ask(w, 1, &Ask{Stream: "app", Epoch: 3, Parts: Ranges{{1, never}}}); err != nil {
			b.Fatal(err)
		}
		d := &Data{Part: Part{Line{w, "app"}, Range{1, 513}}, Sum: 1}
		for b.Loop() {
			v, err := k.Judge(w, 1, d)
			if err != nil {
				b.Fatal(err)
			}
			v.Marks()
			k.Take(v)
			d.From, d.To = d.To, d.To+512
		}
	})
}
