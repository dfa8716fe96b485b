package http

import (
	"bytes"
	"sync"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// FuzzBody reads any body as any kind. What is accepted is a sound batch within
// its bounds; of plain lines nothing is lost.
func FuzzBody(f *testing.F) {
	for _, body := range []string{
		`{"message":"a"}` + "\n" + `{"log":"b"}`, `[{"message":"a","attrs":{"n":1.5}},"b",[]]`, "one\r\n\ntwo\x00", "<13>1 - - - - - - a\n5 <1>ab",
		`{"time":"2026-11-22T10:07:05Z","sd":{"a":{"b":["c"]}},"flags":["gap"],"origin":"x"}`, "\"\\ud83d\\ude00\"", "[[[[", "\xff{}", "99999999999 <",
	} {
		for what := mediaNDJSON; what <= mediaSyslog; what++ {
			f.Add(byte(what), []byte(body))
		}
	}
	const limit, most = 64 << 10, 100
	f.Fuzz(func(t *testing.T, what byte, body []byte) {
		d := decoder{batch: record.NewBatch(), limit: limit, max: most, fill: func(r *record.Record) { r.Input = []byte("in") }}
		defer func() { d.batch.Release() }()
		if d.decode(media(what%5), body) != nil {
			return
		}
		if d.batch.Len() == 0 {
			return
		}
		var again record.Batch
		if err := again.Decode(bytes.Clone(d.batch.Bytes())); err != nil || again.Size() > limit {
			t.Fatalf("a batch of %d bytes: %v", d.batch.Size(), err)
		}
		var all []byte
		for i := range again.Len() {
			v := again.At(i)
			if len(v.Message()) > most || len(v.Stream()) > 0 || string(v.Input()) != "in" {
				t.Fatalf("record %d of %q: %d bytes, stream %q", i, body, len(v.Message()), v.Stream())
			}
			all = append(append(all, v.Message()...), '\n')
		}
		if m := media(what % 5); m == mediaText && d.truncated == 0 {
			var want []byte
			for line := range bytes.Lines(body) {
				if line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")); len(line) > 0 {
					want = append(append(want, line...), '\n')
				}
			}
			if !bytes.Equal(all, want) {
				t.Fatalf("got %q want %q", all, want)
			}
		}
	})
}

// FuzzUnpack decompresses anything. It ends, within its bounds, and gives back all memory.
func FuzzUnpack(f *testing.F) {
	for _, how := range []string{"gzip", "zstd"} {
		f.Add(how == "zstd", pack(f, how, []byte("hello")))
		f.Add(how == "zstd", pack(f, how, make([]byte, 100<<10)))
		f.Add(how == "zstd", append(pack(f, how, nil), pack(f, how, []byte("x"))...))
	}
	o := newOptions()
	o.MaxBody = minBody
	in := &Input{options: o, memory: budget{most: 1 << 20}, gzips: sync.Pool{New: newGzip}, zstds: sync.Pool{New: newZstd}}
	f.Fuzz(func(t *testing.T, zstd bool, packed []byte) {
		how := packGzip
		if zstd {
			how = packZstd
		}
		out, err := in.unpack(how, &held{budget: &in.memory, buf: packed})
		if err == nil && len(out.buf) > minBody {
			t.Fatalf("%d bytes came out", len(out.buf))
		}
		out.release()
		if used := in.memory.used.Load(); used != 0 {
			t.Fatalf("%d bytes are still counted", used)
		}
	})
}
