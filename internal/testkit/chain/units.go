package chain

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// A frame of the relay begins with the length of what follows its first eight bytes
// (docs/format/relay.md "Frame").
const frameHead = 8

// units returns what reads the next unit of one direction. It is good until the next
// call.
func units(r io.Reader, frames bool) func() ([]byte, error) {
	if !frames {
		buf := make([]byte, 16<<10)
		return func() ([]byte, error) {
			n, err := r.Read(buf)
			if n > 0 {
				err = nil // it comes again
			}
			return buf[:n], err
		}
	}
	buf := make([]byte, frameHead, 64<<10)
	return func() ([]byte, error) {
		if _, err := io.ReadFull(r, buf[:frameHead]); err != nil {
			return nil, err
		}
		n := int(binary.LittleEndian.Uint32(buf[:frameHead]))
		if n == 0 || n > relaywire.MaxFrame {
			return nil, fmt.Errorf("%w: %d bytes", errNoFrame, n)
		}
		if cap(buf) < frameHead+n {
			buf = append(make([]byte, 0, frameHead+n), buf[:frameHead]...)
		}
		buf = buf[:frameHead+n]
		if _, err := io.ReadFull(r, buf[frameHead:]); err != nil {
			return nil, err
		}
		return buf, nil
	}
}

// nameOf says what a frame is.
func nameOf(frame []byte) string {
	m, err := relaywire.NewReader(bytes.NewReader(frame)).Next()
	if err != nil {
		return fmt.Sprintf("%d bytes", len(frame)) // a piece of one, as it may be
	}
	if d, ok := m.(*relaywire.Data); ok {
		return fmt.Sprintf("Data %d, %s %d to %d", d.Number, d.Stream, d.From, d.To)
	}
	if a, ok := m.(*relaywire.Ack); ok {
		return fmt.Sprintf("Ack %d", a.Number)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", m), "*relaywire.")
}
