package forwarders

import (
	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
)

// The formats in which Lines writes a record.
const (
	JSON = "json" // as the API answers it
	Text = "text" // for people; control characters escaped
	Raw  = "raw"  // an RFC 5424 message; line ends in it as #012
)

// Lines writes batches one line a record, for the kinds whose receiver is a
// file. It is for one goroutine.
type Lines struct {
	Format string // JSON, Text or Raw

	wire syslog.Encoder
	text []byte // one raw line under way
}

// Append appends every record of b to dst as one line; agent is the name of
// this agent. No record can end its line early.
func (l *Lines) Append(dst []byte, b *Batch, agent string) []byte {
	meta := b.Meta(agent)
	for i := range b.Records.Len() {
		v := b.Records.At(i)
		meta.Offset = b.Place(i)
		switch l.Format {
		case Text:
			dst = record.AppendText(dst, v, meta, record.TextOptions{Terminal: true})
			dst = append(dst, '\n')
		case Raw:
			l.text = l.wire.Append5424(l.text[:0], v)
			dst = syslog.AppendLF(dst, l.text)
		default:
			dst = append(record.AppendJSON(dst, v, meta), '\n')
		}
	}
	return dst
}
