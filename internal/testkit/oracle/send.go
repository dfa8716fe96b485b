package oracle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Load is what is sent, and where.
type Load struct {
	// To returns where to send, asked before each connection:
	//
	//	relp://HOST:PORT         RELP; acknowledged is what was answered with 200
	//	http://HOST:PORT/PATH    bodies; acknowledged is what was answered with 2xx
	//	tcp://HOST:PORT          syslog, which has no acknowledgement; what the other
	//	                         kernel has taken counts as one, on Linux
	//	unix:///PATH             the same; what was written counts
	//
	// and relp+unix and http+unix for sockets in the file system.
	To      func() string
	Senders int           // 0: 1
	First   int           // number of the first sender
	Rate    int           // records a second of all of them; 0: as fast as they are taken
	Count   uint64        // records of each sender; 0: until the time is up
	Size    int           // bytes a message; 0: 200
	Window  int           // relp: messages without an answer; 0: 128, as librelp
	Body    int           // http: records a body; 0: 50
	Keys    bool          // http: each body has an Idempotency-Key
	Media   string        // http: json, ndjson or text; empty: ndjson
	Token   string        // http: for Authorization; empty: none
	Octets  bool          // syslog: octet counting in place of LF
	Drain   time.Duration // for answers when nothing new is sent any more; 0: 30 s
}

// errFatal: the receiver has said something after which it makes no sense to go on.
var errFatal = errors.New("sending makes no sense")

// ErrUndrained: some records had no answer when the time for that was up.
var ErrUndrained = errors.New("not everything sent was acknowledged")

// Send sends from several senders until enough is closed, or each has sent its
// count; then it waits until all is acknowledged. What breaks is done again from the first
// record without an answer, for ever. It ends early when ctx does.
func Send(ctx context.Context, l Load, s *Sent, enough <-chan struct{}) error {
	l.defaults()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	finished := make(chan struct{})
	defer close(finished)
	go func() {
		select {
		case <-finished:
			return
		case <-enough:
		}
		select {
		case <-finished:
		case <-time.After(l.Drain):
			cancel(ErrUndrained)
		}
	}()
	var wg sync.WaitGroup
	errs := make([]error, l.Senders)
	for i := range errs {
		wg.Go(func() {
			x := &sender{Load: &l, sent: s, id: l.First + i, enough: enough, pace: pace{rate: float64(l.Rate) / float64(l.Senders)}}
			if errs[i] = x.run(ctx); errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (l *Load) defaults() {
	set := func(p *int, value int) {
		if *p == 0 {
			*p = value
		}
	}
	set(&l.Senders, 1)
	set(&l.Size, 200)
	set(&l.Window, 128)
	set(&l.Body, 50)
	if l.Drain == 0 {
		l.Drain = 30 * time.Second
	}
	if l.Media == "" {
		l.Media = "ndjson"
	}
}

// sender is one that numbers what it sends.
type sender struct {
	*Load
	pace
	sent   *Sent
	id     int
	next   uint64 // number of the first record that was never sent
	acked  uint64 // all before it are acknowledged
	enough <-chan struct{}
}

// again is how long a sender waits after its connection broke.
const again = 10 * time.Millisecond

func (x *sender) run(ctx context.Context) error {
	for ctx.Err() == nil && !x.finished() {
		err := x.session(ctx)
		if errors.Is(err, errFatal) {
			return fmt.Errorf("sender %d: %w", x.id, err)
		}
		if err != nil {
			wait(ctx, again)
		}
	}
	return nil
}

// session sends over one connection, or one body.
func (x *sender) session(ctx context.Context) error {
	to := x.To()
	scheme, address, _ := strings.Cut(to, "://")
	switch scheme {
	case "relp":
		return x.relp(ctx, "tcp", address)
	case "relp+unix":
		return x.relp(ctx, "unix", address)
	case "http", "https", "http+unix":
		return x.http(ctx, scheme, to)
	case "tcp", "unix":
		return x.stream(ctx, scheme, address)
	}
	return fmt.Errorf("%w: %q is no address to send to", errFatal, to)
}

// enoughSent reports whether nothing new is to be sent.
func (x *sender) enoughSent() bool {
	select {
	case <-x.enough:
		return true
	default:
		return x.Count > 0 && x.next >= x.Count
	}
}

// finished reports whether all that was sent is acknowledged, and there is no more.
func (x *sender) finished() bool { return x.enoughSent() && x.acked == x.next }

// due returns how many of at most n records may be sent now, waiting for the
// first; 0 if no more is to be sent.
func (x *sender) due(ctx context.Context, n int) int {
	if x.Count > 0 {
		n = int(min(uint64(n), x.Count-min(x.next, x.Count)))
	}
	for ctx.Err() == nil && !x.enoughSent() {
		if k := x.allowed(n, time.Now()); k > 0 {
			return k
		}
		wait(ctx, time.Millisecond)
	}
	return 0
}

func (x *sender) message(dst []byte, number uint64) []byte {
	return AppendMessage(dst, x.sent.run, x.id, number, x.Size)
}

// line is a message as syslog has it (RFC 5424).
func (x *sender) line(dst []byte, number uint64) []byte {
	return x.message(append(dst, "<14>1 2026-01-01T00:00:00Z oracle o - - - "...), number)
}

// pace is a rate of records.
type pace struct {
	rate  float64 // a second; 0: no bound
	since time.Time
	used  float64 // of what was allowed since then
}

// most of a second that a sender may catch up with after it was held up.
const catchUp = 0.1

func (p *pace) allowed(n int, now time.Time) int {
	if p.rate == 0 {
		return n
	}
	if p.since.IsZero() {
		p.since = now
	}
	room := now.Sub(p.since).Seconds()*p.rate - p.used
	if over := room - catchUp*p.rate - 1; over > 0 {
		p.used += over
		room -= over
	}
	n = min(n, int(room))
	p.used += float64(n)
	return n
}

// wait waits for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// dial connects, and has the connection end with ctx.
func dial(ctx context.Context, network, address string) (c net.Conn, end func(), err error) {
	c, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // it is given up
	return c, func() { stop(); _ = c.Close() }, nil
}
