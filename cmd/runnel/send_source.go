package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
)

// source makes the messages of one connection, framed as they go out.
type source interface {
	// next appends one message.
	next(dst []byte) []byte
	// refresh puts the present time into the messages to come.
	refresh()
}

// lines returns the texts to send; nil means numbered messages.
func (c *sendCmd) lines(stdin io.Reader) ([][]byte, error) {
	if len(c.Message) > 0 {
		return [][]byte{[]byte(strings.Join(c.Message, " "))}, nil
	}
	if c.File == "" || c.streams() {
		return nil, nil
	}
	var text []byte
	var err error
	if c.File == "-" {
		text, err = io.ReadAll(stdin)
	} else {
		text, err = os.ReadFile(c.File)
	}
	if err != nil {
		return nil, err
	}
	lines := linesOf(text)
	if len(lines) == 0 {
		return nil, c.noLines()
	}
	return lines, nil
}

func (c *sendCmd) noLines() error {
	if c.File == "-" {
		return errors.New("standard input holds no lines")
	}
	return fmt.Errorf("%s holds no lines", c.File)
}

// streams reports whether lines are sent as they come: where each goes once, nothing has
// to be kept.
func (c *sendCmd) streams() bool { return c.File == "-" && c.Count == 0 }

// source returns the messages of connection i of n.
func (c *sendCmd) source(to destination, lines [][]byte, i, n int) (source, error) {
	w := c.writer(to)
	if lines != nil {
		return &texts{w: w, lines: lines, i: i % len(lines), step: n}, nil
	}
	s := &numbered{w: w, size: c.Size, step: n}
	for at, number := numberDigits-1, i+1; at >= 0; at-- {
		s.number[at], number = byte('0'+number%10), number/10
	}
	s.refresh()
	if least := len(w.message(s.text(0))); c.Size < least {
		return nil, fmt.Errorf("--size %d is less than the header and the number take: %d", c.Size, least)
	}
	return s, nil
}

func (c *sendCmd) writer(to destination) *writer {
	w := &writer{format: c.Format, header: ownHeader()}
	if !to.datagrams() {
		w.framing = c.Framing
	}
	return w
}

// ownHeader is what this process says of itself.
func ownHeader() record.Record {
	var r record.Record
	r.Reset()
	r.Facility, r.Severity = 1, 5 // user.notice, as logger
	if host, err := os.Hostname(); err == nil {
		r.Host = []byte(host)
	}
	r.App = []byte("runnel")
	if u, err := user.Current(); err == nil && u.Username != "" {
		r.App = []byte(u.Username)
	}
	r.ProcID = strconv.AppendInt(nil, int64(os.Getpid()), 10)
	return r
}

// writer turns a text into a framed message.
type writer struct {
	format, framing string // framing is empty for datagrams
	header          record.Record
	batch           record.Batch
	buf             []byte
}

// message returns the message of a text, without framing, valid until the next call.
func (w *writer) message(text []byte) []byte {
	w.header.Time, w.header.Message = time.Now().UnixNano(), text
	w.batch.Reset()
	if w.batch.Append(&w.header) != nil {
		return text // beyond any limit; it goes out without a header
	}
	if w.format == "rfc3164" {
		w.buf = syslog.Append3164(w.buf[:0], w.batch.At(0), time.Local)
	} else {
		w.buf = syslog.Append5424(w.buf[:0], w.batch.At(0))
	}
	return w.buf
}

// line appends a line as a message; one that is a message already as it is.
func (w *writer) line(dst, line []byte) []byte {
	if hasPriority(line) {
		return w.frame(dst, line)
	}
	return w.frame(dst, w.message(line))
}

func (w *writer) frame(dst, message []byte) []byte {
	switch w.framing {
	case "octet":
		return syslog.AppendOctet(dst, message)
	case "lf":
		return syslog.AppendLF(dst, message)
	}
	return append(dst, message...)
}

// texts sends given lines, over and over.
type texts struct {
	w       *writer
	lines   [][]byte
	i, step int
}

func (t *texts) refresh() {}

func (t *texts) next(dst []byte) []byte {
	line := t.lines[t.i]
	t.i = (t.i + t.step) % len(t.lines)
	return t.w.line(dst, line)
}

// hasPriority reports whether a line is a message already.
func hasPriority(line []byte) bool {
	end := bytes.IndexByte(line[:min(len(line), 5)], '>')
	if end < 2 || line[0] != '<' {
		return false
	}
	_, err := strconv.ParseUint(string(line[1:end]), 10, 8)
	return err == nil
}

const numberDigits = 10

// numbered sends messages of one size whose number counts up. The whole frame
// is made once a batch; between, only its digits change.
type numbered struct {
	w      *writer
	size   int
	step   int
	number [numberDigits]byte // of the message to come
	made   []byte
	at     int // of the digits in made
}

func (s *numbered) text(padding int) []byte {
	text := append([]byte("seq="), s.number[:]...)
	if padding > 0 {
		text = append(text, ' ')
		text = append(text, bytes.Repeat([]byte("x"), padding-1)...)
	}
	return text
}

func (s *numbered) refresh() {
	// The header's length changes with the digits of the time's fraction, so
	// make it, and make it again if it did.
	for range 10 {
		bare := len(s.w.message(s.text(0)))
		message := s.w.message(s.text(s.size - bare))
		s.made = s.w.frame(s.made[:0], message)
		if len(message) == max(s.size, bare) {
			break
		}
	}
	s.at = bytes.Index(s.made, []byte("seq=")) + len("seq=")
}

func (s *numbered) next(dst []byte) []byte {
	copy(s.made[s.at:], s.number[:])
	dst = append(dst, s.made...)
	carry := s.step
	for i := numberDigits - 1; i >= 0 && carry > 0; i-- {
		sum := int(s.number[i]-'0') + carry
		s.number[i], carry = byte('0'+sum%10), sum/10
	}
	return dst
}
