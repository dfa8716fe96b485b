package syslog

import (
	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/runnel-log/runnel/record"
)

// grammar5424 asks go-syslog, whose machine is generated from the RFC's
// grammar, about a message that the fast path declined; in practice one of a
// version other than 1. Only a message that it accepts whole is taken: its best
// effort drops all that follows the first bad field.
//
// Its RFC 3164 machine is not asked at all: it refuses control characters with
// neither message nor error, and reads nothing that loose3164 does not read
// (TestGrammarReadsNoMore holds that over every message we have).
func (p *Parser) grammar5424(b []byte, at int, r *record.Record) bool {
	if at == 0 || at >= len(b) || b[at] < '1' || b[at] > '9' || len(b) > record.MaxField {
		return false
	}
	parsed, err := rfc5424.NewMachine().Parse(b)
	m, ok := parsed.(*rfc5424.SyslogMessage)
	if err != nil || !ok || m == nil {
		return false
	}
	if m.Timestamp != nil {
		if year := m.Timestamp.Year(); year < minYear || year > maxYear {
			return false
		}
		r.Time = m.Timestamp.UnixNano()
	}
	text := func(s *string) []byte {
		if s == nil {
			return nil
		}
		return []byte(*s)
	}
	r.Host, r.App, r.ProcID, r.MsgID = text(m.Hostname), text(m.Appname), text(m.ProcID), text(m.MsgID)
	r.Message = text(m.Message)
	if m.Version != 1 {
		r.Flags |= record.BestEffort // the version's number is not kept
	}
	return m.StructuredData == nil || rawSD(b, r)
}

// rawSD finds the structured data's own bytes, of which go-syslog keeps a map.
func rawSD(b []byte, r *record.Record) bool {
	at := 0
	for range 6 { // <PRI>VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID
		for at < len(b) && b[at] != ' ' {
			at++
		}
		at++
	}
	if at >= len(b) {
		return false
	}
	end := structured(b, at)
	if end <= at {
		return false
	}
	r.SD = b[at:end:end]
	return true
}
