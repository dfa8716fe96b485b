package file

import (
	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
)

// The formats of a line.
const (
	formatJSON = "json"
	formatText = "text"
	formatRaw  = "raw"
)

// encoder writes batches in one format.
type encoder struct {
	format string
	text   []byte // one raw line under way
}

// append appends every record of b to dst as one line. No record can end its
// line early: JSON and text escape line ends, raw writes them as #012.
func (e *encoder) append(dst []byte, b *forwarders.Batch, agent string) []byte {
	meta := b.Meta(agent)
	for i := range b.Records.Len() {
		v := b.Records.At(i)
		meta.Offset = b.Offsets[i]
		switch e.format {
		case formatText:
			dst = record.AppendText(dst, v, meta, record.TextOptions{Terminal: true})
			dst = append(dst, '\n')
		case formatRaw:
			e.text = syslog.Append5424(e.text[:0], v)
			dst = syslog.AppendLF(dst, e.text)
		default:
			dst = append(record.AppendJSON(dst, v, meta), '\n')
		}
	}
	return dst
}
