package syslog

import (
	"bytes"
	"errors"
	"io"
	"net"

	"github.com/runnel-log/runnel/record"
)

// ErrFrameCount: an octet count that no message can have (more than ten digits,
// or beyond record.MaxSize) stands before a '<'. Where the next message begins
// cannot be known; the caller counts it and closes the connection.
var ErrFrameCount = errors.New("octet count beyond any message")

const (
	smallBuffer  = 4 << 10  // of a connection that says little: there may be thousands
	largeBuffer  = 64 << 10 // of one that says much
	countDigits  = 10       // of an octet count, at most (RFC 6587 §3.4.1 sets no limit)
	zeroCounts   = 8        // counts of 0 in a row, at most: what follows them must be looked at first
	prioritySize = 5        // of the longest priority, "<191>"
)

// Framer cuts the bytes of one connection into messages. How a message is
// framed is decided for each by its first bytes, since senders mix them:
//
//   - octet counting, if it begins with a count of at most ten digits without
//     leading zero, a blank and '<' (RFC 6587 §3.4.1); text that merely begins
//     with a number is a line;
//   - NUL, if the connection has shown it: "<…NUL<PRI>" with no LF between, as
//     Python's SysLogHandler writes. Elsewhere a NUL is text, as in Docker's lines;
//   - LF otherwise (RFC 6587 §3.4.2).
//
// The delimiter is taken off, and one LF at the end of a counted message, which
// Docker counts in. A CR before the LF is kept: programs in containers with a
// terminal write it, and nobody else can tell. Empty frames are skipped.
//
// Memory is bounded by the longest message: more of it is cut off, flagged
// Truncated, and skipped without being held.
type Framer struct {
	r    io.Reader
	max  int
	buf  []byte
	from int // of the bytes not yet handed out
	to   int
	err  error // of the reader, once it gave one that stays

	skip     int64 // bytes of a counted message still to be thrown away
	skipLine bool  // throw away up to the delimiter
	searched int   // bytes from from on that hold no delimiter, so that a dripping sender costs no more
	judged   int   // bytes from from on whose NULs showsNUL has counted, for the same reason
	shown    int   // those of them right before a priority
	lines    bool  // the connection has shown LF framing
	nuls     bool  // the connection has shown NUL framing
	empty    uint64

	shared  func(more int) bool // asked for buffer beyond largeBuffer; nil: there is always more
	lent    int                 // bytes that shared has given
	crowded bool                // it gave no more: the message that fills the buffer ends there

	ready bool // frame and flags hold the next frame
	frame []byte
	flags record.Flags
}

// NewFramer returns a Framer over r. Messages longer than max bytes are cut to it.
func NewFramer(r io.Reader, max int) *Framer {
	return &Framer{r: r, max: max, buf: make([]byte, smallBuffer)}
}

// Next returns the next message, which is the caller's until the next call of
// Next. Its flags are Truncated (cut to the longest message) and Partial (the
// connection ended inside it). At the end it returns the reader's error, which
// is io.EOF after a last line with or without its LF. An error that is a
// timeout does not end anything: the next call goes on where this one stopped.
func (f *Framer) Next() (frame []byte, flags record.Flags, err error) {
	for !f.ready && !f.scan(false) {
		if f.err != nil {
			if f.err != ErrFrameCount && f.scan(true) {
				break
			}
			return nil, 0, f.err
		}
		if err := f.fill(); err != nil {
			return nil, 0, err
		}
	}
	f.ready = false
	return f.frame, f.flags, nil
}

// Buffered reports whether Next will return a message without reading. A
// caller that gathers a batch hands it on when this turns false. It never
// reads, and leaves the last message as it is.
func (f *Framer) Buffered() bool {
	if !f.ready {
		f.ready = f.scan(false)
	}
	return f.ready
}

// Tail returns the bytes that were read and belong to no message yet, borrowed
// until the next call: whoever takes the connection over puts them before what
// it reads. The rest of a message that is being skipped is not among them.
func (f *Framer) Tail() []byte { return f.buf[f.from:f.to] }

// Empty returns how many empty frames were skipped.
func (f *Framer) Empty() uint64 { return f.empty }

// Share makes the Framer one of many that hold long messages together: it asks
// room before it holds more than 64 KiB, and tells it, as fewer than none, what
// it gives back. Where room says no, the message under way is cut to what has come of
// it, as one that is too long is. Share(nil) gives everything back.
func (f *Framer) Share(room func(more int) bool) {
	if f.shared != nil && f.lent > 0 {
		f.shared(-f.lent)
	}
	f.shared, f.lent = room, 0
	f.sized(len(f.buf)) // of one that was resumed; it has what it has
}

// sized settles with the others that the buffer is to have size bytes.
func (f *Framer) sized(size int) bool {
	want := max(0, size-largeBuffer)
	if f.shared == nil || want == f.lent {
		return true
	}
	if !f.shared(want-f.lent) && want > f.lent {
		return false
	}
	f.lent = want
	return true
}

// fill reads once, making room first. An error that stays is kept in f.err.
func (f *Framer) fill() error {
	if f.room(); f.crowded {
		return nil
	}
	n, err := f.r.Read(f.buf[f.to:])
	f.to += n
	if err == nil {
		return nil
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		if n > 0 {
			return nil // first what came; the reader will say so again
		}
		return err
	}
	f.err = err
	return nil
}

// room makes place to read into: it moves what is left to the front, and
// grows the buffer for a sender that fills it or a message that needs it. An
// emptied buffer shrinks again.
func (f *Framer) room() {
	full := f.to == len(f.buf)
	if f.from == f.to {
		f.from, f.to = 0, 0
		if size := len(f.buf); size > largeBuffer {
			f.sized(largeBuffer)
			f.buf = make([]byte, largeBuffer)
		} else if full && size < largeBuffer {
			f.buf = make([]byte, 2*size)
		}
		return
	}
	if !full {
		return
	}
	rest := f.buf[f.from:f.to]
	size := len(f.buf)
	if len(rest) > size/2 || size < largeBuffer {
		size = min(2*size, max(largeBuffer, f.max+countDigits+4))
	}
	switch {
	case size == len(f.buf):
	case f.sized(size):
		f.buf = make([]byte, size)
	default:
		f.crowded = f.from == 0
	}
	f.from, f.to = 0, copy(f.buf, rest)
}

// scan looks for the next message in what has been read. At the end (end) what
// is left is one.
func (f *Framer) scan(end bool) bool {
	for f.skipped() {
		b := f.buf[f.from:f.to]
		if len(b) == 0 {
			return false
		}
		if b[0] == '\n' {
			f.take(1, nil, 0)
			f.empty++
			continue
		}
		if b[0] == 0 && (f.nuls || len(b) == 1 || b[1] == '<') {
			if len(b) == 1 && !f.nuls && !end {
				return false
			}
			f.take(1, nil, 0) // the NUL of "LF NUL", or an empty frame between two
			f.empty++
			continue
		}
		found, more := false, false
		if b[0]-'0' < 10 {
			if found, more = f.octets(b, end); more {
				return false
			}
		}
		if !found && f.err == ErrFrameCount {
			return false
		}
		if !found && !f.line(b, end) {
			return false
		}
		if len(f.frame) > 0 && (len(f.frame) > 1 || f.frame[0] != '\r') {
			return true
		}
		f.empty++
	}
	return false
}

// skipped throws away the rest of a message that was too long, and reports
// whether that is done.
func (f *Framer) skipped() bool {
	if f.skip > 0 {
		n := min(f.skip, int64(f.to-f.from))
		f.from += int(n)
		f.skip -= n
	}
	if f.skipLine {
		delimiter := byte('\n')
		if f.nuls {
			delimiter = 0
		}
		i := bytes.IndexByte(f.buf[f.from:f.to], delimiter)
		if i < 0 {
			f.from = f.to
			return false
		}
		f.from += i + 1
		f.skipLine = false
	}
	return f.skip == 0
}

// take makes b's first used bytes handed out.
func (f *Framer) take(used int, frame []byte, flags record.Flags) {
	f.from += used
	f.searched, f.judged, f.shown, f.crowded = 0, 0, 0, false
	f.frame, f.flags = frame[:len(frame):len(frame)], flags
}

// octets takes a counted message. more means that it is not yet all there.
func (f *Framer) octets(b []byte, end bool) (found, more bool) {
	count, at, verdict := octetCount(b, zeroCounts)
	switch {
	case verdict == undecided && !end:
		return false, true
	case verdict == absurd:
		f.err = ErrFrameCount
		return false, false
	case verdict != counted:
		return false, false
	}
	if count == 0 {
		f.take(at, nil, 0) // "0 ": an empty frame
		return true, false
	}
	room := int64(f.max) + 1 // one more for an LF that is counted in
	have, want := int64(len(b)-at), min(count, room)
	if have < want && !end && !f.crowded {
		return false, true
	}
	flags := record.Flags(0)
	switch {
	case have < want && f.crowded:
		want, flags = have, record.Truncated
	case have < want:
		want, count, flags = have, have, record.Partial
	}
	frame := b[at : at+int(want)]
	if count == want {
		frame = withoutLF(frame)
	}
	if len(frame) > f.max {
		frame, flags = frame[:f.max], flags|record.Truncated
	}
	f.take(at+int(want), frame, flags)
	f.skip = count - want
	return true, false
}

func withoutLF(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}

type verdict uint8

const (
	text      verdict = iota // no count
	counted                  // a count
	undecided                // more bytes would tell
	absurd                   // a count beyond any message
)

// octetCount reads "123 " before a '<' and returns the count and where the
// message begins. "0 " is a count only before a whole further header, or the
// line "0 errors" would lose its number; and one after zeros others is text, or
// "0 0 0 …" could never be told.
func octetCount(b []byte, zeros int) (count int64, at int, v verdict) {
	for at < len(b) && b[at]-'0' < 10 {
		if at < countDigits {
			count = count*10 + int64(b[at]-'0')
		}
		if at++; at > 2*countDigits {
			return 0, 0, text // digits for ever: a line, cut like any other
		}
	}
	if at+1 >= len(b) {
		if at < len(b) && b[at] != ' ' || at > 1 && b[0] == '0' {
			return 0, 0, text
		}
		return 0, 0, undecided
	}
	if b[at] != ' ' {
		return 0, 0, text
	}
	if b[0] == '0' {
		if at > 1 {
			return 0, 0, text
		}
		if b[2] == '<' {
			return 0, 2, counted
		}
		if b[2]-'0' < 10 && zeros > 0 {
			if _, _, v = octetCount(b[2:], zeros-1); v != text {
				return 0, 2, v
			}
		}
		return 0, 0, text
	}
	if b[at+1] != '<' {
		return 0, 0, text
	}
	if at > countDigits || count > record.MaxSize {
		return 0, 0, absurd
	}
	return count, at + 1, counted
}

// line takes a message that ends in LF, or in NUL where that is shown.
func (f *Framer) line(b []byte, end bool) bool {
	if f.nuls {
		return f.upTo(b, f.find(b, 0), end)
	}
	i := f.find(b, '\n')
	before := b
	if i >= 0 {
		before = b[:i]
	}
	if before[0] == '<' && f.showsNUL(before) {
		f.nuls, f.searched = true, 0
		return f.upTo(b, f.find(b, 0), end)
	}
	if i >= 0 {
		f.lines = true
	}
	return f.upTo(b, i, end)
}

// find returns where the delimiter stands in b, or -1; what it has looked at
// once it does not look at again.
func (f *Framer) find(b []byte, delimiter byte) int {
	i := bytes.IndexByte(b[f.searched:], delimiter)
	if i < 0 {
		f.searched = len(b)
		return -1
	}
	return f.searched + i
}

// upTo takes the message that ends before b[i]; i is -1 if its end is not there.
func (f *Framer) upTo(b []byte, i int, end bool) bool {
	switch {
	case i > f.max:
		f.take(i+1, b[:f.max], record.Truncated)
	case i >= 0:
		f.take(i+1, b[:i], 0)
	case len(b) > f.max || f.crowded:
		n := min(len(b), f.max)
		f.take(n, b[:n], record.Truncated)
		f.skipLine = true
	case end:
		flags := record.Flags(0)
		if f.err != nil && f.err != io.EOF {
			flags = record.Partial // broken, not closed
		}
		f.take(len(b), b, flags)
	default:
		return false
	}
	return true
}

// showsNUL reports whether b, which holds no LF, shows NUL framing: a NUL
// right before a priority, or two on a connection that has sent lines.
func (f *Framer) showsNUL(b []byte) bool {
	need := 1
	if f.lines {
		need = 2
	}
	for f.shown < need {
		i := bytes.IndexByte(b[f.judged:], 0)
		if i < 0 {
			f.judged = len(b)
			return false
		}
		after := b[f.judged+i+1:]
		if _, width := priority(after); width > 0 {
			f.shown++
		} else if len(after) == 0 || after[0] == '<' && len(after) < prioritySize {
			f.judged += i // it may yet become one
			return false
		}
		f.judged += i + 1
	}
	return true
}
