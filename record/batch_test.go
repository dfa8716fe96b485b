package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// full returns a record in which everything is set.
func full() *Record {
	r := sample()
	r.Stream, r.Agent = []byte("errors"), []byte("vm-17")
	r.Origin = Origin{Agent: [16]byte{1, 2, 3}, Epoch: 4, Child: 5, Sequence: 6, Stream: []byte("app")}
	r.Attrs.SetString("text", "é")
	r.Attrs.Set("bytes", Bytes, []byte{0xff, 0})
	r.Attrs.SetFloat("float", 1.5)
	r.Attrs.SetBool("yes", true)
	r.Attrs.Set("json", JSON, []byte(`[1]`))
	return r
}

func TestDecodeGivesWhatAppendTook(t *testing.T) {
	var b Batch
	var bare Record
	bare.Reset()
	for _, r := range []*Record{full(), &bare, sample()} {
		if err := b.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	var again Batch
	if err := again.Decode(bytes.Clone(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	if again.Len() != 3 || again.Size() != b.Size() {
		t.Fatalf("got %d records in %d bytes", again.Len(), again.Size())
	}
	var r Record
	again.At(0).Decode(&r)
	if got, want := fmt.Sprintf("%+v", r), fmt.Sprintf("%+v", *full()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !bytes.Equal(reencode(t, &again), b.Bytes()) {
		t.Error("encoding it again gives other bytes")
	}
}

// reencode decodes every record of b and encodes it again.
func reencode(t testing.TB, b *Batch) []byte {
	t.Helper()
	var again Batch
	for i := range b.Len() {
		var r Record
		b.At(i).Decode(&r)
		if err := again.Append(&r); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	return again.Bytes()
}

func TestDecodeRefusesWhatAppendNeverWrites(t *testing.T) {
	good := func() []byte {
		var b Batch
		if err := b.Append(full()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	const at = BatchHeaderSize
	f := func(name string, spoil func(p []byte) []byte) {
		t.Helper()
		var b Batch
		if err := b.Decode(spoil(good())); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if b.Len() != 0 || b.Size() != 0 || b.Bytes() != nil {
			t.Errorf("%s: left %d records", name, b.Len())
		}
	}
	le := binary.LittleEndian
	set := func(i int, to byte) func([]byte) []byte { return func(p []byte) []byte { p[i] = to; return p } }
	attrs := func(p []byte) []byte { return p[len(p)-int(le.Uint32(p[at+atAttrs:])):] }
	f("nothing", func([]byte) []byte { return nil })
	f("header alone", func(p []byte) []byte { return p[:BatchHeaderSize] })
	f("magic", set(0, 'x'))
	f("version", set(2, 2))
	f("size", set(4, 0))
	f("no records", set(8, 0))
	f("two records", set(8, 2))
	f("many records", set(11, 0xff))
	f("reserved", set(12, 1))
	f("one byte less", func(p []byte) []byte { return p[:len(p)-1] })
	f("one byte more", func(p []byte) []byte { return append(p, 0) })
	f("severity", set(at+atSeverity, 8))
	f("facility", set(at+atFacility, 24))
	for i := at + atHost; i < at+headerSize; i += 2 {
		f(fmt.Sprintf("length at %d", i-at), func(p []byte) []byte { p[i]++; return p })
	}
	f("zero origin", func(p []byte) []byte {
		origin := bytes.Index(p, []byte{1, 2, 3, 0, 0, 0})
		clear(p[origin : origin+originHeader])
		le.PutUint16(p[at+atOrigin:], originHeader)
		le.PutUint32(p[at+atSD:], le.Uint32(p[at+atSD:])+3)
		return p
	})
	f("short origin", func(p []byte) []byte {
		le.PutUint16(p[at+atOrigin:], 31)
		le.PutUint32(p[at+atSD:], le.Uint32(p[at+atSD:])+4)
		return p
	})
	f("attribute kind 0", func(p []byte) []byte { attrs(p)[0] = 0; return p })
	f("attribute kind 7", func(p []byte) []byte { attrs(p)[0] = 7; return p })
	f("attribute padding", func(p []byte) []byte { attrs(p)[1] = 1; return p })
	f("attribute key length", func(p []byte) []byte { attrs(p)[2]++; return p })
	f("attribute value length", func(p []byte) []byte { attrs(p)[4] = 7; return p })
	f("attribute length beyond all", func(p []byte) []byte { attrs(p)[7] = 0xff; return p })
	f("bool 2", func(p []byte) []byte { p[bytes.LastIndex(p, []byte("yes"))+3] = 2; return p })
	f("key twice", func(p []byte) []byte { copy(p[bytes.LastIndex(p, []byte("json")):], "text"); return p })
}

func TestDecodeFindsOneKeyTwiceAmongMany(t *testing.T) {
	for _, n := range []int{2, 30, 33, 1000, MaxAttrs} {
		var r Record
		r.Reset()
		var w writer
		for i := range n {
			w.open(fmt.Appendf(nil, "key%06d", i), Bool, 1)
			w.buf = append(w.buf, 1)
		}
		r.Attrs.buf, r.Attrs.n = w.buf, n
		var b Batch
		if err := b.Append(&r); err != nil {
			t.Fatal(err)
		}
		p := bytes.Clone(b.Bytes())
		if err := new(Batch).Decode(bytes.Clone(p)); err != nil {
			t.Errorf("%d keys: %v", n, err)
		}
		copy(p[bytes.LastIndex(p, []byte("key")):], "key000000")
		if err := new(Batch).Decode(p); err == nil {
			t.Errorf("%d keys, one twice: accepted", n)
		}
	}
}

func TestAppendRefusesWhatCannotBeEncoded(t *testing.T) {
	long := strings.Repeat("x", MaxField+1)
	f := func(name string, want error, spoil func(r *Record)) {
		t.Helper()
		r := sample()
		spoil(r)
		var b Batch
		if err := b.Append(r); !errors.Is(err, want) {
			t.Errorf("%s: got %v want %v", name, err, want)
		}
		if want != nil && (b.Len() != 0 || b.Size() != 0) {
			t.Errorf("%s: the batch was changed", name)
		}
	}
	f("host at its limit", nil, func(r *Record) { r.Host = []byte(long[:MaxField]) })
	f("host", ErrFieldTooLong, func(r *Record) { r.Host = []byte(long) })
	f("agent", ErrFieldTooLong, func(r *Record) { r.Agent = []byte(long) })
	f("origin", ErrFieldTooLong, func(r *Record) { r.Origin.Stream = []byte(long[:MaxField-originHeader+1]) })
	f("key at its limit", nil, func(r *Record) { r.Attrs.SetInt(long[:MaxField], 1) })
	f("key", ErrFieldTooLong, func(r *Record) { r.Attrs.SetInt(long, 1) })
	f("message", ErrTooLarge, func(r *Record) { r.Message = make([]byte, MaxSize) })
	f("attribute", ErrTooLarge, func(r *Record) { r.Attrs.Set("a", Bytes, make([]byte, MaxSize)) })
	f("int of 3 bytes", ErrAttribute, func(r *Record) { r.Attrs.Set("a", Int, make([]byte, 3)) })
	f("bool 2", ErrAttribute, func(r *Record) { r.Attrs.Set("a", Bool, []byte{2}) })
	f("no kind", ErrAttribute, func(r *Record) { r.Attrs.Set("a", 0, nil) })
	f("after Reset", nil, func(r *Record) { r.Attrs.Set("a", 0, nil); r.Attrs.Reset() })
}

func TestSeverityAndFacilityBeyondTheStandardAreAbsent(t *testing.T) {
	r := sample()
	r.Severity, r.Facility = 8, 24
	if v := encode(t, r); v.Severity() != Absent || v.Facility() != Absent {
		t.Errorf("got %d %d", v.Severity(), v.Facility())
	}
}

func TestCopyingWhileChangingEqualsEncodingAnew(t *testing.T) {
	for _, stream := range []string{"", "a", "errors", strings.Repeat("x", MaxField)} {
		r := full()
		v := encode(t, r)
		var got Batch
		if err := got.AppendRouted(v, stream); err != nil {
			t.Fatal(err)
		}
		got.AppendFlagged(got.At(0), Dead|Truncated)
		r.Stream = []byte(stream)
		if want := encode(t, r); !bytes.Equal(got.At(0), want) {
			t.Errorf("routed to %.10q differs", stream)
		}
		r.Flags |= Dead
		if want := encode(t, r); !bytes.Equal(got.At(1), want) {
			t.Errorf("routed to %.10q and flagged differs", stream)
		}
		if err := new(Batch).Decode(got.Bytes()); err != nil {
			t.Error(err)
		}
	}
	var b Batch
	if err := b.AppendRouted(encode(t, full()), strings.Repeat("x", MaxField+1)); err != ErrFieldTooLong || b.Size() != 0 {
		t.Errorf("got %v", err)
	}
}

func TestTruncateDropsTheRest(t *testing.T) {
	var b Batch
	for range 3 {
		if err := b.Append(full()); err != nil {
			t.Fatal(err)
		}
	}
	one := b.Size() - 2*len(b.At(2))
	b.Truncate(5)
	b.Truncate(1)
	if b.Len() != 1 || b.Size() != one {
		t.Fatalf("got %d records in %d bytes", b.Len(), b.Size())
	}
	if err := new(Batch).Decode(bytes.Clone(b.Bytes())); err != nil {
		t.Error(err)
	}
	if b.Truncate(0); b.Len() != 0 || b.Bytes() != nil || b.Size() != 0 {
		t.Errorf("got %d records", b.Len())
	}
}

func TestAppendBatchCopiesARange(t *testing.T) {
	var from, to Batch
	for i := range 5 {
		r := sample()
		r.Message = bytes.Repeat([]byte{'a' + byte(i)}, i)
		if err := from.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	to.AppendBatch(&from, 2, 2)
	if to.Size() != 0 {
		t.Error("an empty range left a header")
	}
	to.AppendBatch(&from, 3, 5)
	to.AppendBatch(&from, 0, 2)
	to.AppendBatch(&to, 0, 1)
	var got []string
	for i := range to.Len() {
		got = append(got, string(to.At(i).Message()))
	}
	if got := strings.Join(got, ","); got != "ddd,eeee,,b,ddd" {
		t.Errorf("got %q", got)
	}
}

func TestSettingAttributesNeverTouchesTheBatch(t *testing.T) {
	var b Batch
	for range 2 {
		if err := b.Append(full()); err != nil {
			t.Fatal(err)
		}
	}
	before := bytes.Clone(b.Bytes())
	f := func(change func(a *Attrs)) {
		t.Helper()
		a := b.At(0).Attrs()
		change(&a)
		if !bytes.Equal(b.Bytes(), before) {
			t.Fatal("the batch was changed")
		}
	}
	f(func(a *Attrs) { a.SetInt("status", 1); a.SetInt("new", 2) })
	f(func(a *Attrs) { a.Delete("status"); a.Delete("status") })
	f(func(a *Attrs) { a.Reset(); a.SetString("x", strings.Repeat("y", 50)) })
	f(func(a *Attrs) { FlattenJSON([]byte(`{"status":1,"z":2}`), a, FlattenOptions{}) })
	f(func(a *Attrs) { FlattenJSON([]byte(`{"status":1,"z":`), a, FlattenOptions{}) })
	f(func(a *Attrs) { ParseLogfmt([]byte(`status=1 z="`), a) })
	f(func(a *Attrs) { c := a.Clone(); c.SetInt("status", 1); c.Delete("text") })
}

func TestAnAttributeMayBeSetFromAnother(t *testing.T) {
	var a Attrs
	a.SetString("b", "old")
	a.SetString("a", "value")
	a.SetInt("c", 1)
	v, _ := a.Get("a")
	a.Set("b", v.Kind, v.Data) // removing the old b moves a
	v, _ = a.Get("b")
	a.Set("b", v.Kind, v.Data)
	if got, want := show(&a), "a=string:\"value\"\nc=int:1\nb=string:\"value\"\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if a.Len() != 3 || !validAttrs(a.buf, a.n) {
		t.Error("attributes are not well formed")
	}
}
