package webhook

import (
	"bytes"

	"github.com/klauspost/compress/gzip"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
)

// The bodies of a request.
const (
	bodyNDJSON = "ndjson"
	bodyJSON   = "json"
	bodySingle = "single"
)

// encoder builds request bodies. What it returns is its own and lasts until
// the next call.
type encoder struct {
	body string
	gzip bool

	plain  []byte
	packed bytes.Buffer
	zip    *gzip.Writer
}

// batch returns b as one body.
func (e *encoder) batch(b *forwarders.Batch, agent string) []byte {
	e.plain = appendBatch(e.plain[:0], b, agent, e.body)
	return e.pack()
}

// record returns one record as one body.
func (e *encoder) record(v record.View, m record.Meta) []byte {
	e.plain = record.AppendJSON(e.plain[:0], v, m)
	return e.pack()
}

// appendBatch appends the records of b as lines of JSON or as a JSON array.
func appendBatch(dst []byte, b *forwarders.Batch, agent, body string) []byte {
	meta := b.Meta(agent)
	if body == bodyJSON {
		dst = append(dst, '[')
	}
	for i := range b.Records.Len() {
		if body == bodyJSON && i > 0 {
			dst = append(dst, ',')
		}
		meta.Offset = b.Place(i)
		dst = record.AppendJSON(dst, b.Records.At(i), meta)
		if body == bodyNDJSON {
			dst = append(dst, '\n')
		}
	}
	if body == bodyJSON {
		dst = append(dst, ']')
	}
	return dst
}

// pack compresses plain if the config says so.
func (e *encoder) pack() []byte {
	if !e.gzip {
		return e.plain
	}
	e.packed.Reset()
	if e.zip == nil {
		e.zip, _ = gzip.NewWriterLevel(&e.packed, gzip.BestSpeed) // the level is valid
	} else {
		e.zip.Reset(&e.packed)
	}
	_, _ = e.zip.Write(e.plain) // a bytes.Buffer takes everything
	_ = e.zip.Close()
	return e.packed.Bytes()
}
