package record

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

var elsewhere = Origin{Agent: [16]byte{7}, Epoch: 9, Sequence: 41, Stream: []byte("app")}

// checkStamped holds what Stamp makes of b, and the sums of that, against AppendRelayed.
func checkStamped(t *testing.T, b *Batch) {
	t.Helper()
	var want, stamped Batch
	for i := range b.Len() {
		o := elsewhere
		o.Sequence += uint64(i)
		v := b.At(i)
		if err := want.AppendRelayed(v, &o); err != nil {
			t.Fatal(err)
		}
		if stream := v.Stream(); len(stream) > 0 { // AppendRelayed takes it away, and Stamp does not
			last := slices.Clone(want.At(i))
			want.Truncate(i)
			if err := want.AppendRouted(last, string(stream)); err != nil {
				t.Fatal(err)
			}
		}
		if got, sum := DigestOf(v, &o).Sum(5), DigestOf(want.At(i), nil).Sum(5); got != sum || got == 0 {
			t.Errorf("record %d: the sum is %x before it is stamped, and %x after", i, got, sum)
		}
	}
	stamped.AppendBatch(b, 0, b.Len())
	if err := stamped.Stamp(&elsewhere); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stamped.Bytes(), want.Bytes()) {
		t.Errorf("got  %q\nwant %q", stamped.Bytes(), want.Bytes())
	}
	if err := new(Batch).Decode(bytes.Clone(stamped.Bytes())); err != nil {
		t.Error(err)
	}
	once := bytes.Clone(stamped.Bytes())
	if err := stamped.Stamp(&Origin{Epoch: 1}); err != nil || !bytes.Equal(stamped.Bytes(), once) {
		t.Errorf("stamped a second time it is %q, %v", stamped.Bytes(), err)
	}
}

func TestAStampGoesIntoRecordsWithoutAnOrigin(t *testing.T) {
	f := func(changes ...func(r *Record)) {
		t.Helper()
		var b Batch
		for i, change := range changes {
			var r Record
			r.Reset()
			r.Host, r.App, r.Message = []byte("vm"), []byte("app"), bytes.Repeat([]byte("m"), i*7)
			r.Attrs.SetInt("n", int64(i))
			change(&r)
			if err := b.Append(&r); err != nil {
				t.Fatal(err)
			}
		}
		checkStamped(t, &b)
	}
	plain := func(*Record) {}
	own := func(r *Record) {
		r.Origin = Origin{Agent: [16]byte{8}, Epoch: 1, Child: 2, Sequence: 3, Stream: []byte("there")}
	}
	routed := func(r *Record) { r.Stream = []byte("routed") }
	empty := func(r *Record) { r.Host, r.App, r.Message = nil, nil, nil; r.Attrs.Reset() }
	f(plain)
	f(own)
	f(plain, plain, plain)
	f(own, plain, own)
	f(plain, own, plain)
	f(own, own)
	f(empty, empty, routed, own, empty)
}

func TestNothingIsStampedWithNoOrigin(t *testing.T) {
	var b Batch
	if err := b.Stamp(&elsewhere); err != nil || b.Len() != 0 || !b.Bare() {
		t.Errorf("of nothing it makes %d records, %v", b.Len(), err)
	}
	var r Record
	r.Reset()
	if err := b.Append(&r); err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(b.Bytes())
	if err := b.Stamp(&Origin{}); err != nil || !bytes.Equal(b.Bytes(), before) {
		t.Errorf("got %q, %v, want %q", b.Bytes(), err, before)
	}
	if err := b.Stamp(&Origin{Stream: make([]byte, MaxField)}); err != ErrFieldTooLong || !bytes.Equal(b.Bytes(), before) {
		t.Errorf("got %v, want %v", err, ErrFieldTooLong)
	}
}

func TestARecordAtTheLimitIsNotStamped(t *testing.T) {
	var r Record
	r.Reset()
	var b Batch
	for _, size := range []int{3, MaxSize - headerSize - originHeader - len(elsewhere.Stream) + 1, 5} {
		r.Message = make([]byte, size)
		if err := b.Append(&r); err != nil {
			t.Fatal(err)
		}
	}
	sum := DigestOf(b.At(1), &elsewhere)
	if err := b.Stamp(&elsewhere); err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{41, 0, 43} {
		if o := b.At(i).Origin(); o.Sequence != want {
			t.Errorf("record %d has the origin %+v, want %d", i, o, want)
		}
	}
	if sum != DigestOf(b.At(1), nil) {
		t.Error("it is not stamped, and its sum is another one")
	}
	if err := new(Batch).Decode(b.Bytes()); err != nil {
		t.Error(err)
	}
}

func TestBareIsWithoutOriginAndStream(t *testing.T) {
	var r Record
	r.Reset()
	f := func(want bool, change func(r *Record)) {
		t.Helper()
		var b Batch
		for i := range 3 {
			one := r
			if i == 1 {
				change(&one)
			}
			if err := b.Append(&one); err != nil {
				t.Fatal(err)
			}
		}
		if b.Bare() != want {
			t.Errorf("got %v, want %v", !want, want)
		}
	}
	f(true, func(*Record) {})
	f(true, func(r *Record) { r.Agent, r.Message = []byte("a"), []byte("m") })
	f(false, func(r *Record) { r.Stream = []byte("s") })
	f(false, func(r *Record) { r.Origin = elsewhere })
}

// A sum is never 0, which says that nobody knows it.
func TestASumIsOfTheRecordAndItsOffset(t *testing.T) {
	var b Batch
	var r Record
	r.Reset()
	seen := map[uint64]bool{0: true}
	for _, message := range []string{"", "a", "b", "ab"} {
		r.Message = []byte(message)
		if err := b.Append(&r); err != nil {
			t.Fatal(err)
		}
		for _, o := range []*Origin{nil, &elsewhere, {Agent: [16]byte{7}, Epoch: 9, Sequence: 42, Stream: []byte("app")}} {
			for _, at := range []uint64{0, 1, 2, math.MaxUint64} {
				sum := DigestOf(b.At(b.Len()-1), o).Sum(at)
				if seen[sum] {
					t.Errorf("%q at %d with %v has a sum that another one has", message, at, o)
				}
				seen[sum] = true
			}
		}
	}
}

// What is stamped in place needs no memory but for the room, once.
func BenchmarkStamp(b *testing.B) {
	var r Record
	r.Reset()
	r.Host, r.App, r.Message = []byte("vm"), []byte("app"), make([]byte, 250)
	var from, to Batch
	for !from.Full() {
		if err := from.Append(&r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.SetBytes(int64(from.Size()))
	for b.Loop() {
		to.Reset()
		to.AppendBatch(&from, 0, from.Len())
		if err := to.Stamp(&elsewhere); err != nil {
			b.Fatal(err)
		}
	}
}
