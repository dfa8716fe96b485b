package webhook

import (
	"errors"
	"io"
	"sync"
)

// lease lends a body to the HTTP client and takes it back. The client may go on
// sending after it has returned an answer, an early 413 for one, while the next
// batch is already being encoded into the same memory.
type lease struct {
	mu sync.Mutex
	p  []byte // guarded by mu; nil once taken back
}

var errTakenBack = errors.New("request is over")

// body returns a reader from the first byte.
func (l *lease) body() io.ReadCloser { return &leased{lease: l} }

// end takes the body back: what still reads it gets an error.
func (l *lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.p = nil
}

type leased struct {
	*lease
	at int
}

func (r *leased) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.p == nil {
		return 0, errTakenBack
	}
	if r.at == len(r.p) {
		return 0, io.EOF
	}
	n := copy(p, r.p[r.at:])
	r.at += n
	return n, nil
}

func (r *leased) Close() error { return nil }
