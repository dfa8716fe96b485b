package syslog

import (
	"bytes"
	"math"
	"unicode/utf8"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
)

// The words of the config.
const (
	framingAuto  = "auto"
	framingLF    = "lf"
	framingOctet = "octet"
	framingNone  = "none" // a datagram
)

// maxDatagram is the most that one IPv4 datagram carries: 65535 less the IP
// and UDP headers.
const maxDatagram = math.MaxUint16 - 20 - 8

// encoder turns batches into bytes for the wire. It is for one goroutine.
type encoder struct {
	messages forwarders.Messages
	framing  string
	most     int // bytes of one message; 0: any

	cut  int    // messages shortened to most since the caller last looked
	text []byte // the message under way
}

var nul, escapedNUL = []byte{0}, []byte("#000") // as rsyslog writes it

// batch appends the messages of b to dst, and to ends where each of them ends in dst.
func (e *encoder) batch(dst []byte, ends []int, b *forwarders.Batch) ([]byte, []int) {
	meta := e.messages.Meta(b)
	for i := range b.Records.Len() {
		meta.Offset = b.Place(i)
		dst = e.frame(dst, b.Records.At(i), meta)
		ends = append(ends, len(dst))
	}
	return dst, ends
}

// frame appends one message in its framing.
func (e *encoder) frame(dst []byte, v record.View, m record.Meta) []byte {
	e.text = e.messages.Append(e.text[:0], v, m)
	switch e.framing {
	case framingOctet:
		return syslog.AppendOctet(dst, e.text)
	case framingLF:
		// A NUL ends a message too where receivers guess, as rsyslog and our own input do.
		if bytes.IndexByte(e.text, 0) >= 0 {
			e.text = bytes.ReplaceAll(e.text, nul, escapedNUL)
		}
		return syslog.AppendLF(dst, e.text)
	}
	if e.most > 0 && len(e.text) > e.most {
		e.cut++
		e.shorten(v, m)
	}
	return append(dst, e.text...)
}

// shorten cuts text to most bytes. JSON must stay JSON: there the record's own
// text is cut, and the record flagged truncated.
func (e *encoder) shorten(v record.View, m record.Meta) {
	if e.messages.Content == forwarders.MessageJSON {
		var r record.Record
		var one record.Batch
		v.Decode(&r)
		r.Flags |= record.Truncated
		for over := len(e.text) - e.most; over > 0 && len(r.Message) > 0; over = len(e.text) - e.most {
			// An escape makes up to six bytes of JSON out of one, so this may take several steps.
			r.Message = cutText(r.Message, max(0, len(r.Message)-(over+5)/6))
			one.Reset()
			if one.Append(&r) != nil {
				break // it could be encoded before, and has only become shorter
			}
			e.text = e.messages.Append(e.text[:0], one.At(0), m)
		}
	}
	e.text = cutText(e.text, e.most)
}

// cutText returns the first n bytes of p, or a little less where that would
// break a character in two.
func cutText(p []byte, n int) []byte {
	if len(p) <= n {
		return p
	}
	for i := n; i > 0 && i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			return p[:i]
		}
	}
	return p[:n]
}
