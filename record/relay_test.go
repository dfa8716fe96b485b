package record

import (
	"bytes"
	"errors"
	"testing"
)

// A record that is passed on is the record that Decode and Append would make.
func TestRelayedIsTheRecordWithItsOrigin(t *testing.T) {
	o := Origin{Agent: [16]byte{7}, Epoch: 9, Sequence: 41, Stream: []byte("app")}
	other := Origin{Agent: [16]byte{8}, Epoch: 1, Child: 2, Sequence: 3, Stream: []byte("elsewhere")}
	f := func(change func(r *Record), want Origin) {
		t.Helper()
		var r Record
		r.Reset()
		r.Host, r.App, r.ProcID, r.MsgID = []byte("vm"), []byte("app"), []byte("12"), []byte("id")
		r.Input, r.Peer, r.Agent = []byte("in"), []byte("10.0.0.1"), []byte("edge")
		r.SD, r.Message = []byte(`[a b="c"]`), []byte("hello")
		r.Attrs.SetInt("n", 5)
		change(&r)
		var from, to, built Batch
		if err := from.Append(&r); err != nil {
			t.Fatal(err)
		}
		from.Append(&r) // it is not the only one
		to.AppendView(from.At(1))
		if err := to.AppendRelayed(from.At(0), &o); err != nil {
			t.Fatal(err)
		}
		r.Stream, r.Origin = nil, want
		built.AppendView(from.At(1))
		if err := built.Append(&r); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(to.Bytes(), built.Bytes()) {
			t.Errorf("got  %q\nwant %q", to.Bytes(), built.Bytes())
		}
		var read Batch
		if err := read.Decode(bytes.Clone(to.Bytes())); err != nil {
			t.Error(err)
		}
	}
	f(func(*Record) {}, o)
	f(func(r *Record) { r.Stream = []byte("routed") }, o)
	f(func(r *Record) { r.Origin = other }, other)
	f(func(r *Record) { r.Stream, r.Origin = []byte("routed"), other }, other)
	f(func(r *Record) { r.Host, r.Input, r.Peer, r.Agent, r.SD, r.Message = nil, nil, nil, nil, nil, nil }, o)
}

func TestRelayedBeyondTheLimitIsLeftOut(t *testing.T) {
	var r Record
	r.Reset()
	r.Message = make([]byte, MaxSize-headerSize)
	var from, to Batch
	if err := from.Append(&r); err != nil {
		t.Fatal(err)
	}
	if err := to.AppendRelayed(from.At(0), &Origin{Epoch: 1}); !errors.Is(err, ErrTooLarge) || to.Len() != 0 {
		t.Errorf("got %v and %d records, want %v and none", err, to.Len(), ErrTooLarge)
	}
	if err := to.AppendRelayed(from.At(0), &Origin{Epoch: 1, Stream: make([]byte, MaxField)}); !errors.Is(err, ErrFieldTooLong) {
		t.Errorf("got %v, want %v", err, ErrFieldTooLong)
	}
}
