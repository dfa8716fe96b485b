package record

import (
	"bytes"
	"testing"
)

func TestAppendExtendedIsDecodeSetAppend(t *testing.T) {
	var r, extra Record
	r.Reset()
	r.Host, r.App, r.Stream, r.Peer, r.Message = []byte("h"), []byte("app"), []byte("old"), []byte("::1"), []byte("text")
	r.Origin = Origin{Sequence: 7, Stream: []byte("s")}
	r.Attrs.SetInt("status", 200)
	var in Batch
	if err := in.Append(&r); err != nil {
		t.Fatal(err)
	}
	extra.Attrs.SetString("class", "web")
	extra.Attrs.SetBool("ok", true)
	for _, stream := range []string{"", "old", "errors", "x"} {
		var got, want Batch
		var to []byte
		if stream != "" {
			to = []byte(stream)
		}
		in.At(0).Decode(&r)
		if to != nil {
			r.Stream = to
		}
		r.Attrs.SetString("class", "web")
		r.Attrs.SetBool("ok", true)
		if err := want.Append(&r); err != nil {
			t.Fatal(err)
		}
		if err := got.AppendExtended(in.At(0), to, extra.Attrs.buf, 2); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("stream %q: got %x want %x", stream, got.Bytes(), want.Bytes())
		}
		if err := new(Batch).Decode(bytes.Clone(got.Bytes())); err != nil {
			t.Errorf("stream %q: does not decode: %v", stream, err)
		}
	}
	var small Batch
	if err := small.AppendExtended(in.At(0), make([]byte, MaxField+1), nil, 0); err != ErrFieldTooLong || small.Len() != 0 {
		t.Errorf("got %v and %d records, want %v and none", err, small.Len(), ErrFieldTooLong)
	}
}

func TestHasAttrIsAttr(t *testing.T) {
	var b Batch
	var r Record
	r.Reset()
	r.Attrs.SetInt("status", 200)
	r.Attrs.SetString("", "no name")
	r.Attrs.SetString("path", "")
	if err := b.Append(&r); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"status", "", "path", "pat", "paths", "no name"} {
		_, want := b.At(0).Attr(key)
		if got := b.At(0).HasAttr([]byte(key)); got != want {
			t.Errorf("%q: got %v, want %v", key, got, want)
		}
	}
}
