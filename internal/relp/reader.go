package relp

import (
	"errors"
	"fmt"
	"io"
)

// Bounds of a frame.
const (
	maxDigits  = 9  // of TXNR and of DATALEN
	maxCommand = 32 // letters

	// MaxControl is how many bytes of data a frame may have that is no syslog.
	MaxControl = 64 << 10
)

// ErrFrame: what was read is no frame, or is beyond a bound. The stream cannot
// be understood from there on.
var ErrFrame = errors.New("not a RELP frame")

// Frame is one frame. Its slices are borrowed until the Reader is used again.
type Frame struct {
	Txnr    uint32
	Command []byte
	Data    []byte // empty if there is none
	Cut     int    // bytes of data beyond the bound, which were left out
}

// Buffer sizes of a Reader.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10 // what a busy stream's grows to; only a longer frame needs more
)

// Reader cuts a stream into frames. It begins with 4 KiB of buffer, and grows
// to 64 KiB while its stream is busy, and for a longer frame as its bytes come:
// never because a header says so.
type Reader struct {
	from    io.Reader
	keep    int // bytes of data that are kept of a syslog frame
	most    int // bytes of data that it may have
	buf     []byte
	at, to  int   // what lies in buf
	filled  bool  // the last read filled buf
	skipped int   // bytes of the frame at hand that were left out so far
	err     error // that came along with bytes
	room    func(more int) error
}

// NewReader returns a Reader that takes no syslog frames yet; see Allow.
func NewReader(from io.Reader) *Reader {
	return &Reader{from: from, buf: make([]byte, smallBuffer)}
}

// Allow sets the bounds of syslog frames: of their data keep bytes are kept, and
// more than most is ErrFrame.
func (r *Reader) Allow(keep, most int) { r.keep, r.most = keep, max(keep, most) }

// Budget has room asked before the buffer grows beyond 64 KiB, with how many
// bytes more it will have beyond that, and told with a negative number when it has
// fewer. room may wait; its error is Fill's.
func (r *Reader) Budget(room func(more int) error) { r.room = room }

// Release gives the buffer back. The Reader is of no use afterwards.
func (r *Reader) Release() {
	r.at, r.to = 0, 0
	_ = r.move(0) // less is never refused
}

// Next returns the next frame, reading as much as is needed; its errors are
// those of Take and Fill.
func (r *Reader) Next() (Frame, error) {
	for {
		f, ok, err := r.Take()
		if ok || err != nil {
			return f, err
		}
		if err := r.Fill(); err != nil {
			return Frame{}, err
		}
	}
}

// Take returns the next frame if the buffer holds all of it, or ErrFrame.
func (r *Reader) Take() (f Frame, ok bool, err error) {
	b := r.buf[r.at:r.to]
	h, err := parseHeader(b)
	if err != nil || h.data == 0 {
		return Frame{}, false, err
	}
	kept, err := r.admit(b, h)
	if err != nil {
		return Frame{}, false, err
	}
	end, over := h.data+kept, h.size-kept
	if n := min(over-r.skipped, len(b)-end); n > 0 {
		r.to = r.at + end + copy(b[end:], b[end+n:])
		r.skipped += n
		b = r.buf[r.at:r.to]
	}
	if len(b) <= end || r.skipped < over {
		return Frame{}, false, nil
	}
	if b[end] != '\n' {
		return Frame{}, false, fmt.Errorf("%w: %q where a frame ends", ErrFrame, b[end])
	}
	r.at += end + 1
	r.skipped = 0
	return Frame{Txnr: h.txnr, Command: b[h.command:h.commandEnd], Data: b[h.data:end:end], Cut: over}, true, nil
}

// admit returns how much of a frame's data is kept.
func (r *Reader) admit(b []byte, h header) (int, error) {
	switch {
	case string(b[h.command:h.commandEnd]) != Syslog:
		if h.size > MaxControl {
			return 0, fmt.Errorf("%w: %q with %d bytes of data, at most %d may be", ErrFrame, b[h.command:h.commandEnd], h.size, MaxControl)
		}
		return h.size, nil
	case h.size > r.most:
		return 0, fmt.Errorf("%w: a message of %d bytes, at most %d may be", ErrFrame, h.size, r.most)
	}
	return min(h.size, r.keep), nil
}

// Fill reads once. It returns the stream's error, or io.ErrUnexpectedEOF if the
// stream ends within a frame. After an error of time it may be called again.
func (r *Reader) Fill() error {
	if err := r.err; err != nil {
		r.err = nil
		return r.explain(err)
	}
	if err := r.prepare(); err != nil {
		return err
	}
	n, err := r.from.Read(r.buf[r.to:])
	r.filled = r.to+n == len(r.buf)
	r.to += n
	if n > 0 {
		r.err = err
		return nil
	}
	return r.explain(err)
}

func (r *Reader) explain(err error) error {
	if err == io.EOF && r.Begun() {
		return io.ErrUnexpectedEOF
	}
	return err
}

// prepare makes room in the buffer.
func (r *Reader) prepare() error {
	held := r.to - r.at
	switch {
	case held == 0 && len(r.buf) > largeBuffer: // a long frame needed it
		return r.move(largeBuffer)
	case r.filled && held == len(r.buf), r.filled && len(r.buf) < largeBuffer:
		return r.move(2 * len(r.buf))
	case held == 0:
		r.at, r.to = 0, 0
	case r.to == len(r.buf):
		r.at, r.to = 0, copy(r.buf, r.buf[r.at:r.to])
	}
	return nil
}

// move goes on in a buffer of another size.
func (r *Reader) move(size int) error {
	if more := max(size, largeBuffer) - max(len(r.buf), largeBuffer); more != 0 && r.room != nil {
		if err := r.room(more); err != nil {
			return err
		}
	}
	buf := make([]byte, size)
	r.at, r.to, r.buf = 0, copy(buf, r.buf[r.at:r.to]), buf
	r.filled = false
	return nil
}

// Begun reports whether a part of a frame has been read.
func (r *Reader) Begun() bool { return r.at < r.to }

// Came returns how many bytes of the frame under way have been read.
func (r *Reader) Came() int { return r.to - r.at + r.skipped }

// Size returns how many bytes of buffer the Reader holds.
func (r *Reader) Size() int { return len(r.buf) }

// Shrink gives a grown buffer back, unless a part of a frame lies in it.
func (r *Reader) Shrink() {
	if !r.Begun() && len(r.buf) > smallBuffer {
		_ = r.move(smallBuffer) // less is never refused
	}
}

// header is what stands before a frame's data.
type header struct {
	txnr                uint32
	size                int
	command, commandEnd int
	data                int // where the data begins, or the LF where there is none; 0: not all here yet
}

// parseHeader reads TXNR SP COMMAND SP DATALEN and the blank before the data,
// which is there only where there is data.
func parseHeader(b []byte) (h header, err error) {
	txnr, at, err := parseNumber(b, 0, "transaction number")
	if err != nil || at == 0 {
		return header{}, err
	}
	if b[at] != ' ' {
		return header{}, fmt.Errorf("%w: %q in a transaction number", ErrFrame, b[at])
	}
	h.txnr, h.command = uint32(txnr), at+1
	for at = h.command; ; at++ {
		if at == len(b) {
			return header{}, nil
		}
		if c := b[at] | 0x20; c < 'a' || c > 'z' {
			break
		}
		if at-h.command == maxCommand {
			return header{}, fmt.Errorf("%w: a command of more than %d letters", ErrFrame, maxCommand)
		}
	}
	if b[at] != ' ' || at == h.command {
		return header{}, fmt.Errorf("%w: %q in a command", ErrFrame, b[at])
	}
	h.commandEnd = at
	if h.size, at, err = parseNumber(b, at+1, "length"); err != nil || at == 0 {
		return header{}, err
	}
	switch {
	case h.size == 0:
		h.data = at
	case b[at] == ' ':
		h.data = at + 1
	default:
		return header{}, fmt.Errorf("%w: %q in a length", ErrFrame, b[at])
	}
	return h, nil
}

// parseNumber reads one to nine digits at at, and returns where they end; 0 while
// that is not known.
func parseNumber(b []byte, at int, what string) (n, end int, err error) {
	for i := at; i < len(b); i++ {
		c := b[i]
		switch {
		case c < '0' || c > '9':
			if i == at {
				return 0, 0, fmt.Errorf("%w: %q where a %s begins", ErrFrame, c, what)
			}
			return n, i, nil
		case i-at == maxDigits:
			return 0, 0, fmt.Errorf("%w: a %s of more than %d digits", ErrFrame, what, maxDigits)
		}
		n = n*10 + int(c-'0')
	}
	return 0, 0, nil
}
