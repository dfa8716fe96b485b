// Package syslog reads and writes syslog: a Parser turns one message into a
// Record, a Framer cuts a byte stream into messages, and Append5424 and
// Append3164 write a Record out again. It is the only door to go-syslog, and
// hides which of its three readers understood a message.
//
// Nothing that arrives is dropped or altered here: what cannot be read is kept
// whole as the record's message and flagged. Nothing may panic on bytes from
// outside.
package syslog

import (
	"time"

	"github.com/runnel-log/runnel/record"
)

// Format says which grammars a Parser tries. The zero value means Auto.
type Format string

// The formats, as the configuration spells them.
const (
	Auto    Format = "auto"    // RFC 5424 where the message says so, RFC 3164 otherwise
	RFC5424 Format = "rfc5424" // never reads a message as RFC 3164
	RFC3164 Format = "rfc3164" // never reads a message as RFC 5424
)

// Attributes that hold header text for which a Record has no field.
const (
	// AttrTimestamp is a stated time that does not exist (30 February, hour 24, year 1).
	AttrTimestamp = "syslog.timestamp"
	// AttrPrefix is what Cisco IOS puts before the time: counters, a name, "*" for an unset clock.
	AttrPrefix = "syslog.prefix"
	// AttrZone is a zone's abbreviation that the location does not know; the time was read as local.
	AttrZone = "syslog.zone"
)

// Parser reads single messages. The zero value reads both formats in the
// machine's time zone. A Parser remembers the last second it read, so use one
// per connection or reader goroutine; it is not safe for concurrent use.
type Parser struct {
	// Format is what the messages may be; empty means Auto.
	Format Format
	// Location is the zone of times that state none; nil means time.Local.
	Location *time.Location
	// Now is asked once for every message that states a time, so hand in a
	// clock that is read once a batch; nil means time.Now.
	Now func() time.Time

	iso   isoSecond
	stamp stampSecond
}

const day = 24 * time.Hour

// Parse reads one message, without its delimiter, into r and never fails. It
// sets Time, Severity, Facility, Host, App, ProcID, MsgID, SD, Message and
// Flags, empties Attrs, and leaves the other fields alone. The slices in r are
// parts of msg: they live as long as msg does.
//
// A complete header gives no flag. A header with parts missing or unreadable
// gives BestEffort: the fields that could be read, the rest in Message. A
// message without even a priority or a time is Malformed, and Message is msg.
// An absent PRI leaves Severity and Facility Absent (RFC 3164 §4.3.3 lets a
// relay make up 13; that is done on sending, where it is needed). A nil value
// ("-") is an empty field; a missing host stays empty for the input to fill in.
// In RFC 3164 the one blank after the tag is not part of the message. A leading
// BOM (RFC 5424 §6.4) stays in it: a program in a container may have written it.
func (p *Parser) Parse(msg []byte, r *record.Record) {
	r.Flags, r.Time = 0, record.NoTime
	r.Host, r.App, r.ProcID, r.MsgID, r.SD = nil, nil, nil, nil, nil
	r.Attrs.Reset()
	if !p.fast(msg, r) {
		p.slow(msg, r)
	}
	if r.Time != record.NoTime {
		if off := r.Time - p.now().UnixNano(); off > int64(day) || off < -int64(day) {
			r.Flags |= record.TimeSkewed
		}
	}
}

// fast reads what the RFCs and Docker's driver write, without an allocation.
// When it returns false it may have set some fields.
func (p *Parser) fast(b []byte, r *record.Record) bool {
	pri, at := priority(b)
	if at == 0 || len(b) > record.MaxField {
		return false // only a short message is known to have short fields
	}
	r.Facility, r.Severity = pri>>3, pri&7
	if at+1 < len(b) && b[at] == '1' && b[at+1] == ' ' && p.Format != RFC3164 {
		return p.fast5424(b, at+2, r)
	}
	return p.Format != RFC5424 && p.fast3164(b, at, r)
}

// slow reads everything else: the grammar's library first, then as far as the
// header can be understood, then not at all.
func (p *Parser) slow(b []byte, r *record.Record) {
	blank(r)
	at := p.loosePriority(b, r)
	start := *r
	if p.Format != RFC3164 && (p.grammar5424(b, at, r) || p.loose5424(b, at, r)) && fits(r) {
		return
	}
	restart(r, &start)
	if p.Format != RFC5424 && p.loose3164(b, at, r) && fits(r) {
		return
	}
	restart(r, &start)
	r.Message, r.Flags = b[at:], r.Flags|record.BestEffort
	if at == 0 {
		r.Flags = record.Malformed
	}
}

// blank makes r a record of which nothing is known.
func blank(r *record.Record) {
	r.Severity, r.Facility, r.Time, r.Flags = record.Absent, record.Absent, record.NoTime, 0
	r.Host, r.App, r.ProcID, r.MsgID, r.SD, r.Message = nil, nil, nil, nil, nil, nil
}

// restart puts r back to start and keeps its attribute buffer.
func restart(r, start *record.Record) {
	severity, facility, flags := start.Severity, start.Facility, start.Flags
	blank(r)
	r.Severity, r.Facility, r.Flags = severity, facility, flags
	r.Attrs.Reset()
}

// fits reports whether every header field can be encoded; a sender may put a
// megabyte before the first blank.
func fits(r *record.Record) bool {
	return max(len(r.Host), len(r.App), len(r.ProcID), len(r.MsgID)) <= record.MaxField
}

func (p *Parser) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

func (p *Parser) location() *time.Location {
	if p.Location == nil {
		return time.Local
	}
	return p.Location
}

// priority reads "<0>" to "<191>" without leading zeros (RFC 5424 §6.2.1) and
// returns where it ends, or 0 if b does not begin with one.
func priority(b []byte) (pri uint8, end int) {
	if len(b) < 3 || b[0] != '<' {
		return 0, 0
	}
	n := int(b[1]) - '0'
	if n < 0 || n > 9 {
		return 0, 0
	}
	for i := 2; i < len(b) && i < 5; i++ {
		c := b[i]
		if c == '>' {
			return uint8(n), i + 1
		}
		if c < '0' || c > '9' || n == 0 {
			return 0, 0
		}
		if n = n*10 + int(c-'0'); n > 191 {
			return 0, 0
		}
	}
	return 0, 0
}

// loosePriority is priority that also takes up to three digits with leading
// zeros, as rsyslog does, and says so: a leading zero is not kept.
func (p *Parser) loosePriority(b []byte, r *record.Record) (end int) {
	pri, end := priority(b)
	if end == 0 && len(b) > 3 && b[0] == '<' && b[1] == '0' {
		n := 0
		for i := 1; i < len(b) && i < 5; i++ {
			if b[i] == '>' && n <= 191 {
				pri, end = uint8(n), i+1
				r.Flags |= record.BestEffort
				break
			}
			if b[i] < '0' || b[i] > '9' {
				break
			}
			n = n*10 + int(b[i]-'0')
		}
	}
	if end > 0 {
		r.Facility, r.Severity = pri>>3, pri&7
	}
	return end
}

// TrimDatagram takes off what senders put after the one message of a datagram:
// LF (Docker), NUL (Python's SysLogHandler) or LF NUL (Perl's Sys::Syslog).
// It never takes more than one of each, and leaves a CR, a blank and a NUL
// before the LF, which are the program's own.
func TrimDatagram(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == 0 {
		b = b[:n-1]
	}
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	return b
}
