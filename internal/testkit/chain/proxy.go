package chain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Proxy stands between two tiers and does harm. Each connection suffers one fault,
// drawn from the seed and its number.
type Proxy struct {
	l       net.Listener
	to      string
	seed    uint64
	frames  bool
	draw    func(seed, n uint64) fault
	said    func(format string, args ...any)
	ctx     context.Context // ends with it
	end     context.CancelFunc
	serving sync.WaitGroup

	mu sync.Mutex
	// guarded by mu:
	calm   bool
	shut   bool
	conns  uint64
	open   map[*link]bool
	done   [kinds]int // faults that came to pass
	broken []error    // what no agent may say
}

// errNoFrame: an agent has said something that is no frame.
var errNoFrame = errors.New("not a frame of the relay")

// NewProxy listens on loopback for what is to go to an address. With frames it knows
// where each of the relay's begins; without, as under TLS, it takes what comes.
func NewProxy(to string, seed uint64, frames bool, said func(format string, args ...any)) (*Proxy, error) {
	return newProxy(to, seed, frames, said, draw)
}

func newProxy(to string, seed uint64, frames bool, said func(string, ...any), draw func(seed, n uint64) fault) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{l: l, to: to, seed: seed, frames: frames, draw: draw, said: said, open: map[*link]bool{}}
	p.ctx, p.end = context.WithCancel(context.Background())
	p.serving.Go(p.runAccept)
	return p, nil
}

// Address is where it listens.
func (p *Proxy) Address() string { return p.l.Addr().String() }

// Calm ends the harm: what is held is let go, what is half dead is closed, and
// everything from now on is passed on as it is.
func (p *Proxy) Calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calm = true
	for l := range p.open {
		if l.harmed {
			l.close()
		}
	}
}

// Harm begins again with it.
func (p *Proxy) Harm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calm = false
}

// Shut ends all connections and takes no more until Open: whoever is below has nobody
// above.
func (p *Proxy) Shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = true
	for l := range p.open {
		l.close()
	}
}

// Open ends what Shut began.
func (p *Proxy) Open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = false
}

// Done says which faults came to pass how often, and what was said that is no
// frame.
func (p *Proxy) Done() (text string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, n := range p.done {
		if n > 0 {
			text += fmt.Sprintf("%s %d, ", kind(k), n)
		}
	}
	return text + fmt.Sprintf("%d connections", p.conns), errors.Join(p.broken...)
}

// Close ends all connections.
func (p *Proxy) Close() error {
	p.end()
	err := p.l.Close()
	p.mu.Lock()
	for l := range p.open {
		l.close()
	}
	p.mu.Unlock()
	p.serving.Wait()
	return err
}

func (p *Proxy) runAccept() {
	for {
		c, err := p.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			pause(p.ctx, 10*time.Millisecond)
			continue
		}
		p.serving.Go(func() { p.serve(c) })
	}
}

// link is one connection through the proxy.
type link struct {
	*Proxy
	fault
	number       uint64
	lower, upper net.Conn
	ended        context.Context
	over         context.CancelFunc
	harmed       bool // guarded by Proxy.mu: the fault has begun
}

func (p *Proxy) serve(c net.Conn) {
	defer c.Close()
	up, err := (&net.Dialer{Timeout: maxPause}).DialContext(p.ctx, "tcp", p.to)
	if err != nil {
		return // the tier above is dead: so is this connection
	}
	defer up.Close()
	l := &link{Proxy: p, lower: c, upper: up}
	l.ended, l.over = context.WithCancel(p.ctx)
	defer l.over()
	p.mu.Lock()
	if p.ctx.Err() != nil || p.shut {
		p.mu.Unlock()
		return
	}
	p.conns++
	l.number = p.conns
	if !p.calm {
		l.fault = p.draw(p.seed, p.conns)
	}
	p.open[l] = true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.pass(c, up, true) })
	both.Go(func() { l.pass(up, c, false) })
	both.Wait()
	p.mu.Lock()
	delete(p.open, l)
	p.mu.Unlock()
}

// close closes both ends.
func (l *link) close() {
	l.over()
	l.lower.Close()
	l.upper.Close()
}

// begins notes that the fault is coming to pass; false if there is to be no harm
// any more.
func (l *link) begins(unit []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calm {
		return false
	}
	if !l.harmed {
		l.harmed = true
		l.done[l.kind]++
		l.said("connection %d to %s: %s: %s", l.number, l.to, l.fault, nameOf(unit))
	}
	return true
}

// pass passes one direction on, until it ends. An end that closed is closed at the
// other, unless that is the fault.
func (l *link) pass(from, to net.Conn, up bool) {
	defer l.close()
	defer l.linger(up)
	next := units(from, l.frames)
	w := way{link: l, to: to}
	for n := 0; ; n++ {
		unit, err := next()
		if errors.Is(err, errNoFrame) {
			l.mu.Lock()
			l.broken = append(l.broken, fmt.Errorf("connection %d to %s, from below %v, unit %d: %w", l.number, l.to, up, n, err))
			l.mu.Unlock()
		}
		if err != nil {
			return
		}
		if up == l.up && l.kind != none {
			err = w.suffer(unit, n-l.after)
		} else {
			err = w.write(unit)
		}
		if err != nil {
			return
		}
	}
}

// linger keeps an end open whose other end was closed on purpose.
func (l *link) linger(up bool) {
	l.mu.Lock()
	wait := l.harmed && l.kind == halfOpen && up != l.up
	l.mu.Unlock()
	if wait {
		<-l.ended.Done()
	}
}

// way is one direction that suffers.
type way struct {
	*link
	to   net.Conn
	kept []byte // a unit that is to be said later
}

// errOver: the connection has suffered to its end.
var errOver = errors.New("it is over")

func (w *way) write(unit []byte) error {
	_, err := w.to.Write(unit)
	return err
}

// suffer passes a unit on, or what the fault makes of it. n counts from the unit on
// that is the first to suffer.
func (w *way) suffer(unit []byte, n int) error {
	if n < 0 || !w.concerned(n) {
		return w.write(unit)
	}
	if !w.begins(unit) {
		return w.rest(unit)
	}
	switch w.kind {
	case cut, reset:
		_ = w.write(unit[:int(w.part*float64(len(unit)))]) // it is cut either way
		if w.kind == reset {
			_ = w.lower.(*net.TCPConn).SetLinger(0) // fails on a closed one only
			_ = w.upper.(*net.TCPConn).SetLinger(0)
		}
		return errOver
	case delay, hold:
		pause(w.ended, w.pause)
		return w.write(unit)
	case drop:
		return nil
	case again:
		return errors.Join(w.write(unit), w.write(unit))
	case later, exchange:
		return w.keep(unit, n)
	case flip:
		at := int(w.part * float64(len(unit)*8))
		unit[at/8] ^= 1 << (at % 8)
		return w.write(unit)
	case silence:
		pause(w.ended, w.pause)
		return errOver
	case halfOpen:
		_ = w.to.Close() // it has heard the last of this one
		pause(w.ended, w.pause)
		return errOver
	}
	return w.write(unit)
}

// concerned reports whether the nth unit suffers.
func (w *way) concerned(n int) bool {
	switch w.kind {
	case delay, drop:
		return n < w.units
	case later:
		return n == 0 || n == w.units
	case exchange:
		return n <= 1
	}
	return n == 0
}

// keep is a unit that comes again behind others, or is overtaken by the next.
func (w *way) keep(unit []byte, n int) error {
	if n == 0 {
		w.kept = slices.Clone(unit)
		if w.kind == later {
			return w.write(unit)
		}
		return nil
	}
	return w.rest(unit)
}

// rest passes a unit on, and behind it what is kept.
func (w *way) rest(unit []byte) error {
	kept := w.kept
	w.kept = nil
	return errors.Join(w.write(unit), w.write(kept))
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
