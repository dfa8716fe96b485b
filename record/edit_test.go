package record

import (
	"bytes"
	"testing"
)

func TestAppendEditedIsDecodeDeleteSetAppend(t *testing.T) {
	var r Record
	r.Reset()
	r.Host, r.App, r.Stream, r.Peer, r.Message = []byte("h"), []byte("app"), []byte("old"), []byte("::1"), []byte("text")
	r.Origin = Origin{Sequence: 7, Stream: []byte("s")}
	r.Attrs.SetString("lvl", "info")
	r.Attrs.SetInt("status", 200)
	r.Attrs.SetString("path", "/")
	r.Attrs.SetBool("ok", false)
	var in Batch
	if err := in.Append(&r); err != nil {
		t.Fatal(err)
	}
	encoded := func(key, value string) []byte {
		var a Attrs
		a.SetString(key, value)
		return a.buf
	}
	f := func(stream []byte, without []string, set ...string) {
		t.Helper()
		var got, want Batch
		var keys, attrs [][]byte
		in.At(0).Decode(&r)
		if stream != nil {
			r.Stream = stream
		}
		for _, key := range without {
			keys = append(keys, []byte(key))
			r.Attrs.Delete(key)
		}
		for i := 0; i < len(set); i += 2 {
			attrs = append(attrs, encoded(set[i], set[i+1]))
			r.Attrs.SetString(set[i], set[i+1])
		}
		if err := want.Append(&r); err != nil {
			t.Fatal(err)
		}
		if err := got.AppendEdited(in.At(0), stream, keys, attrs, len(attrs)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("stream %q without %q with %q:\ngot  %x\nwant %x", stream, without, set, got.Bytes(), want.Bytes())
		}
		if err := new(Batch).Decode(bytes.Clone(got.Bytes())); err != nil {
			t.Errorf("without %q with %q: does not decode: %v", without, set, err)
		}
	}
	for _, stream := range []string{"-", "", "old", "errors", "x"} {
		to := []byte(stream)
		if stream == "-" {
			to = nil
		}
		f(to, nil)
		f(to, nil, "class", "web")
		f(to, []string{"lvl"}, "level", "info")
		f(to, []string{"ok"}, "ok", "yes")
		f(to, []string{"status", "none", ""})
		f(to, []string{"lvl", "status", "path", "ok"}, "a", "", "", "b")
		f(to, []string{"path", "status"})
	}
}

func TestAppendEditedLeavesABatchThatItCannotFill(t *testing.T) {
	var r Record
	r.Reset()
	var in, b Batch
	if err := in.Append(&r); err != nil {
		t.Fatal(err)
	}
	if err := b.AppendEdited(in.At(0), make([]byte, MaxField+1), nil, nil, 0); err != ErrFieldTooLong || b.Len() != 0 {
		t.Errorf("got %v and %d records, want %v and none", err, b.Len(), ErrFieldTooLong)
	}
	if err := b.AppendEdited(in.At(0), nil, nil, [][]byte{make([]byte, MaxSize)}, 1); err != ErrTooLarge || b.Len() != 0 {
		t.Errorf("got %v and %d records, want %v and none", err, b.Len(), ErrTooLarge)
	}
	if err := b.AppendEdited(in.At(0), nil, nil, nil, 0); err != nil || !bytes.Equal(b.Bytes(), in.Bytes()) {
		t.Errorf("got %v and %x, want the record as it was", err, b.Bytes())
	}
}
