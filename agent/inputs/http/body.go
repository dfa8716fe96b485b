package http

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxMemory is how many bytes of bodies, and of records that the store has not
	// taken over, one input holds. Beyond it clients are told to come again.
	maxMemory = 64 << 20
	// maxRatio is how many times a body may grow when it is decompressed, from
	// freeGrowth on.
	maxRatio   = 200
	freeGrowth = 256 << 10
	// maxWindow is how far back a zstd frame may refer (RFC 8878 §3.1.1.1.2 asks
	// for 8 MiB at least).
	maxWindow = 8 << 20
	// firstRead is what a body gets before a byte of it has come.
	firstRead = 16 << 10
)

// Bounds of time.
const (
	bodyRate = 1 << 10          // bytes a second
	bodyTime = 10 * time.Minute // for a whole body
)

// Errors of a body; errSlow and errGone end the connection.
var (
	errTooLarge = errors.New("the body is larger than max_body")
	errRatio    = errors.New("the body grows more than 200 times when it is decompressed")
	errBusy     = errors.New("too many bodies are being read")
	errSlow     = errors.New("the body came too slowly")
	errGone     = errors.New("the body did not come whole")
)

// decoders is how many bodies are unpacked and read at once.
func decoders() int { return max(2, runtime.GOMAXPROCS(0)) }

// budget counts bytes in memory. The zero value allows none.
type budget struct {
	most int64
	used atomic.Int64
}

// take reports whether n more bytes are to be had; they are given back with give.
func (b *budget) take(n int) bool {
	if b.used.Add(int64(n)) > b.most {
		b.used.Add(-int64(n))
		return false
	}
	return true
}

func (b *budget) give(n int) { b.used.Add(-int64(n)) }

// held is a body in memory.
type held struct {
	budget *budget
	buf    []byte
	taken  int
}

// buffers are those of bodies that were not large.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// release gives the memory back.
func (h *held) release() {
	h.budget.give(h.taken)
	h.taken = 0
	if h.buf != nil && cap(h.buf) <= 1<<20 {
		p := h.buf[:0]
		buffers.Put(&p)
	}
	h.buf = nil
}

// grow makes room for more, up to one byte beyond limit.
func (h *held) grow(limit int) error {
	size := min(max(2*len(h.buf), firstRead), limit+1)
	if h.buf == nil {
		h.buf = (*buffers.Get().(*[]byte))[:0]
		size = max(size, min(cap(h.buf), limit+1))
	}
	if size > h.taken {
		if !h.budget.take(size - h.taken) {
			return errBusy
		}
		h.taken = size
	}
	if cap(h.buf) < size {
		larger := make([]byte, len(h.buf), size)
		copy(larger, h.buf)
		h.buf = larger
	}
	return nil
}

// fill reads r to its end. more is nil, or asked after each read whether to go on.
func (h *held) fill(r io.Reader, limit int, tooLarge error, more func(n int) error) error {
	for {
		if len(h.buf) == cap(h.buf) || h.buf == nil || len(h.buf) >= h.taken {
			if len(h.buf) > limit {
				return tooLarge
			}
			if err := h.grow(limit); err != nil {
				return err
			}
		}
		n, err := r.Read(h.buf[len(h.buf):min(cap(h.buf), limit+1)])
		h.buf = h.buf[:len(h.buf)+n]
		switch {
		case len(h.buf) > limit:
			return tooLarge
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if more != nil {
			if err := more(len(h.buf)); err != nil {
				return err
			}
		}
	}
}

// readBody reads what the client sends, as it comes. It bounds how long that may take.
func (in *Input) readBody(r *http.Request, deadline func(time.Time) error) (*held, error) {
	h := &held{budget: &in.memory}
	began := time.Now()
	allow := func(n int) error {
		return deadline(began.Add(min(in.options.times.grace+time.Duration(n/bodyRate)*time.Second, bodyTime)))
	}
	err := allow(0)
	if err == nil {
		err = h.fill(r.Body, int(in.options.MaxBody), errTooLarge, allow)
	}
	if err == nil || errors.Is(err, errTooLarge) || errors.Is(err, errBusy) {
		return h, err
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return h, errSlow
	}
	return h, errGone
}

// packing is a Content-Encoding.
type packing uint8

const (
	packNone packing = iota
	packGzip
	packZstd
)

// unpack returns what p holds; p itself if it is not packed. It reads all
// members or frames that follow each other.
func (in *Input) unpack(how packing, p *held) (*held, error) {
	limit := int(in.options.MaxBody)
	tooLarge := errTooLarge
	if most := freeGrowth + maxRatio*len(p.buf); most < limit {
		limit, tooLarge = most, errRatio
	}
	out := &held{budget: &in.memory}
	var err error
	switch how {
	case packGzip:
		z := in.gzips.Get().(*gzip.Reader)
		defer in.gzips.Put(z)
		if err = z.Reset(bytes.NewReader(p.buf)); err == nil {
			err = out.fill(z, limit, tooLarge, nil)
		}
	case packZstd:
		z := in.zstds.Get().(*zstd.Decoder)
		defer in.zstds.Put(z)
		if err = z.Reset(bytes.NewReader(p.buf)); err == nil {
			err = out.fill(z, limit, tooLarge, nil)
		}
		_ = z.Reset(nil) // lets go of p
	}
	if err != nil && !errors.Is(err, tooLarge) && !errors.Is(err, errBusy) {
		err = fmt.Errorf("decompress: %w", err)
	}
	return out, err
}

func newGzip() any { return new(gzip.Reader) }

func newZstd() any {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		panic("bug: zstd options: " + err.Error())
	}
	return z
}
