package wasm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// TestEditIsWhatItsOperationsDo compares the fast way of a PATCH with the slow one,
// on operations at random.
func TestEditIsWhatItsOperationsDo(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	keys := []string{"old", "status", "a", "", "class"}
	op := func(p []byte) []byte {
		code := []byte{1, 2, 3, 4, 5, 6, 7, 7, opRename, opRename, opRename, opStream, opMessage, 99}[random.IntN(14)]
		key, value := keys[random.IntN(len(keys))], "text"
		switch code {
		case 3, 4:
			value = "12345678"
		case 5:
			value = "\x01"
		case opRemove:
			value = ""
		case opRename:
			value = keys[random.IntN(len(keys))]
		case opStream:
			key, value = "", []string{"errors", "audit", "", "none"}[random.IntN(4)]
		}
		if random.IntN(20) == 0 {
			value += "x" // a length that is wrong for some
		}
		p = append(p, code, 0)
		p = binary.LittleEndian.AppendUint16(p, uint16(len(key)))
		p = binary.LittleEndian.AppendUint32(p, uint32(len(value)))
		return append(append(p, key...), value...)
	}
	m := load(t, Options{Code: assembly{}.bytes(), KnownStream: known})
	source, fast := commands(t, "hello"), 0
	v := source.At(0)
	for range 20_000 {
		var p []byte
		for range 1 + random.IntN(5) {
			p = op(p)
		}
		a := applier{in: &instance{module: m}, source: source, out: &Outcome{Batch: new(record.Batch)}}
		done, err := a.edit(0, v, p)
		if !done {
			if a.out.Batch.Len() > 0 || err != nil {
				t.Fatalf("%q: not done, but %d records and %v", p, a.out.Batch.Len(), err)
			}
			continue
		}
		fast++
		var r record.Record
		v.Decode(&r)
		for q := p; len(q) > 0; {
			key, size := opHeader+int(binary.LittleEndian.Uint16(q[2:])), int(binary.LittleEndian.Uint32(q[4:]))
			if q[0] == opStream {
				r.Stream = q[key : key+size]
			} else if !change(&r, q[0], q[opHeader:key], q[key:key+size]) {
				t.Fatalf("%q was accepted", p)
			}
			q = q[key+size:]
		}
		var want record.Batch
		if err := want.Append(&r); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.out.Batch.Bytes(), want.Bytes()) {
			t.Fatalf("%q: got\n%x\nwant\n%x", p, a.out.Batch.Bytes(), want.Bytes())
		}
		if got := fmt.Sprint(a.out.Patched, a.out.Routed); got != fmt.Sprint(1, min(1, len(r.Stream))) {
			t.Fatalf("%q: counted as %s", p, got)
		}
	}
	if fast < 2000 {
		t.Errorf("%d of 20000 were edits, too few to prove anything", fast)
	}
}
