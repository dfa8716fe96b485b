package relaywire

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
)

// Reader reads messages. While it waits for one it holds no buffer, so that an idle
// connection costs little.
type Reader struct {
	// Budget, if not nil, is asked before more than 64 KiB are read for one message: again and again as it
	// comes, each time for as much as has come, or 1 MiB. It may wait. What it returned is
	// called at the next Next, or by Close.
	Budget func(n int) (release func(), err error)

	r        io.Reader
	buffer   *[]byte // of the message that was returned last
	asked    int     // of Budget, for that message
	releases []func()
	header   [frameHeader + 1]byte // and the kind
	total    [4]byte
}

// NewReader returns a reader of what r has. It does not read ahead.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// mostStep is how much more a message may have at once than has come of it.
const mostStep = 1 << 20

// kept is the largest buffer that is used again: what is larger is rare.
const kept = 1 << 20

// Close gives back what the last message holds. It does not close what is read.
func (r *Reader) Close() {
	if r.buffer != nil {
		if cap(*r.buffer) <= kept {
			buffers.Put(r.buffer)
		}
		r.buffer = nil
	}
	for _, release := range r.releases {
		release()
	}
	r.asked, r.releases = 0, nil
}

// Next returns the next message. Of a Data, Payload is borrowed until the next Next or
// Close. It returns io.EOF at the end, between two messages, and ErrMalformed where what
// arrived is no message.
func (r *Reader) Next() (Message, error) {
	r.Close()
	n, err := r.head()
	if err != nil {
		return nil, err
	}
	r.buffer = buffers.Get().(*[]byte)
	*r.buffer = (*r.buffer)[:0]
	before, err := r.pieces(&n)
	if err == nil {
		var m Message
		if m, err = r.last(n, before); err == nil {
			return m, nil
		}
	}
	r.Close()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}

// head reads a frame's header and its kind, and returns how much is left of it.
func (r *Reader) head() (int, error) {
	if _, err := io.ReadFull(r.r, r.header[:]); err != nil {
		return 0, err
	}
	n := le.Uint32(r.header[:])
	if n < 1 || n > MaxFrame {
		return 0, fmt.Errorf("%w: %d bytes long", ErrMalformed, n)
	}
	return int(n) - 1, nil
}

// body reads the n bytes that are left of a frame to the end of the buffer, in steps: who
// announces much has no memory for it before it comes. Before it, the bytes of extra have
// been read.
func (r *Reader) body(n int, extra []byte) error {
	sum := crc32.Update(crc32.Checksum(r.header[frameHeader:], castagnoli), castagnoli, extra)
	for n > 0 {
		b := *r.buffer
		at := len(b)
		step := min(n, max(cheap, min(at, mostStep)))
		if err := r.ask(at + step); err != nil {
			return err
		}
		b = slices.Grow(b, step)[:at+step]
		*r.buffer = b
		if _, err := io.ReadFull(r.r, b[at:]); err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, b[at:])
		n -= step
	}
	if sum != le.Uint32(r.header[4:]) {
		return fmt.Errorf("%w: its checksum is wrong", ErrMalformed)
	}
	return nil
}

// ask asks for what the message lacks of n bytes, if that is much.
func (r *Reader) ask(n int) error {
	if n <= max(cheap, r.asked) || r.Budget == nil {
		return nil
	}
	release, err := r.Budget(n - r.asked)
	if err != nil {
		return err
	}
	r.asked, r.releases = n, append(r.releases, release)
	return nil
}

// pieces reads what of a payload comes before its Data, and that frame's header. It
// returns how long the payload is going to be; 0 if there is but one frame.
func (r *Reader) pieces(n *int) (total int, err error) {
	for r.header[frameHeader] == kindPart {
		if *n != len(r.total)+piece {
			return 0, fmt.Errorf("%w: a part of %d bytes", ErrMalformed, *n)
		}
		if _, err := io.ReadFull(r.r, r.total[:]); err != nil {
			return 0, err
		}
		says := le.Uint32(r.total[:])
		if says > MaxPayload || int64(says) <= int64(len(*r.buffer))+piece || total > 0 && int(says) != total {
			return 0, fmt.Errorf("%w: %d bytes in parts", ErrMalformed, says)
		}
		if total == 0 {
			total = int(says)
		}
		if err := r.body(piece, r.total[:]); err != nil {
			return 0, err
		}
		if *n, err = r.head(); err != nil {
			return 0, err
		}
	}
	if total > 0 && r.header[frameHeader] != kindData {
		return 0, fmt.Errorf("%w: parts of nothing", ErrMalformed)
	}
	return total, nil
}

// last reads the frame that ends a message.
func (r *Reader) last(n, total int) (Message, error) {
	m := messageOf(r.header[frameHeader])
	if m == nil {
		return nil, fmt.Errorf("%w: of kind %d", ErrMalformed, r.header[frameHeader])
	}
	at := len(*r.buffer)
	if err := r.body(n, nil); err != nil {
		return nil, err
	}
	p := &parser{left: (*r.buffer)[at:]}
	m.parse(p)
	if p.err != nil {
		return nil, p.err
	}
	d, ok := m.(*Data)
	if !ok {
		if len(p.left) > 0 {
			return nil, fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(p.left))
		}
		return m, nil
	}
	size := at + len(p.left)
	if len(p.left) > piece || total > 0 && size != total || total == 0 && at > 0 || (size > 0) != (len(d.Offsets) > 0) {
		return nil, fmt.Errorf("%w: %d bytes of records", ErrMalformed, size)
	}
	d.Payload = p.left
	if at > 0 {
		d.Payload = append((*r.buffer)[:at], p.left...) // over what has been parsed
	}
	return d, nil
}

func messageOf(kind byte) Message {
	switch kind {
	case kindHello:
		return new(Hello)
	case kindWelcome:
		return new(Welcome)
	case kindAsk:
		return new(Ask)
	case kindTell:
		return new(Tell)
	case kindData:
		return new(Data)
	case kindAck:
		return new(Ack)
	case kindNack:
		return new(Nack)
	case kindReport:
		return new(Report)
	case kindPath:
		return new(Path)
	case kindBye:
		return new(Bye)
	case kindEnded:
		return new(Ended)
	}
	return nil
}
