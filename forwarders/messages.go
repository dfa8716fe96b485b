package forwarders

import (
	"time"

	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
)

// The formats in which Messages writes a record, and what it makes its message of.
const (
	RFC5424 = "rfc5424"
	RFC3164 = "rfc3164"

	MessageOriginal = "original" // the record's own
	MessageJSON     = "json"     // the whole record as JSON
	MessageAttrs    = "attrs"    // its attributes as JSON, where it has any
)

// Messages writes records as syslog messages without framing, for the kinds
// whose receiver takes syslog. It is for one goroutine.
type Messages struct {
	Format  string         // RFC5424 or RFC3164
	Content string         // MessageOriginal, MessageJSON or MessageAttrs
	Zone    *time.Location // of RFC 3164 times
	Agent   string         // this agent's name

	wire syslog.Encoder
	json []byte // the message where it is not the original
}

// Meta returns what Append wants to know of b; the caller sets Offset for each record.
func (m *Messages) Meta(b *Batch) record.Meta {
	if m.Content != MessageJSON {
		return record.Meta{}
	}
	return b.Meta(m.Agent)
}

// Append appends one record's message.
func (m *Messages) Append(dst []byte, v record.View, meta record.Meta) []byte {
	sd, message := v.SD(), v.Message()
	switch m.Content {
	case MessageJSON: // the structured data stands in it too
		m.json = record.AppendJSON(m.json[:0], v, meta)
		sd, message = nil, m.json
	case MessageAttrs:
		if m.json = record.AppendAttrsJSON(m.json[:0], v); len(m.json) > len("{}") {
			message = m.json
		}
	}
	if m.Format == RFC3164 {
		return m.wire.Append3164With(dst, v, m.Zone, message)
	}
	return m.wire.Append5424With(dst, v, sd, message)
}
