package chain

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A frame of the relay begins with the length of what follows its first eight bytes
// (docs/format/relay.md "Frame").
const (
	frameHead = 8
	frameMost = 4<<20 + 64
)

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
		if n == 0 || n > frameMost {
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
