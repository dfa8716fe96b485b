package storage

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/record"
)

// What Packed returns is what Read returns, compressed.
func TestPackedIsWhatReadReturns(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir()})
	for i := range 3 {
		put(t, s, "app", numbered(uint64(1+i*300), 300, 200))
	}
	b := record.NewBatch()
	blocks := 0
	for at := uint64(1); at <= 900; {
		first, err := s.Read("app", at, b)
		if err != nil {
			t.Fatal(err)
		}
		packed, records, raw, ok := s.Packed("app", s.Epoch(), first, nil)
		if !ok || records != b.Len() || raw != b.Size() {
			t.Fatalf("Packed at %d: %d records of %d bytes, %v, want %d of %d", first, records, raw, ok, b.Len(), b.Size())
		}
		if got, err := s2.Decode(nil, packed); err != nil || !bytes.Equal(got, b.Bytes()) {
			t.Errorf("the block at %d decodes to something else: %v", first, err)
		}
		if _, _, _, ok := s.Packed("app", s.Epoch(), first+1, nil); ok {
			t.Errorf("a block begins at %d, within another", first+1)
		}
		at = first + uint64(b.Len())
		blocks++
	}
	if blocks == 0 {
		t.Error("no block was read")
	}
	for _, at := range []uint64{0, 901} {
		if _, _, _, ok := s.Packed("app", s.Epoch(), at, nil); ok {
			t.Errorf("a block begins at %d", at)
		}
	}
	if _, _, _, ok := s.Packed("app", s.Epoch()+1, 1, nil); ok {
		t.Error("a block is of an epoch that it is not of")
	}
	if _, _, _, ok := s.Packed("other", s.Epoch(), 1, nil); ok {
		t.Error("a stream that is not there has a block")
	}
}
