package query

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/runnel-log/runnel/record"
)

const (
	maxLast   = 10_000           // stored records that a tail may begin with
	tailPiece = 64 << 10         // bytes gathered before they are sent
	tailKeep  = 512 << 10        // bytes of matches kept while they are sent
	sseBeat   = 15 * time.Second // between two signs of life of a server-sent stream
)

// tail is one client that is sent records as they are stored. It reads the
// store by itself, at its own pace: a slow one falls behind alone, and is cut off when it
// will not take what it asked for.
type tail struct {
	s       *Server
	conn    net.Conn
	want    wanted
	streams []string // all when empty
	sse     bool
	next    map[string]uint64 // where each stream goes on
	out     []byte            // chunks not sent yet
	line    []byte
	wide    bool // it is one of the few that may hold a long record
}

// errSlow: the client did not take what it was sent, and is dropped.
var errSlow = errors.New("the client is too slow")

// follow answers GET /api/v1/tail. The connection is taken from fasthttp, which
// has neither a deadline for one piece of an answer nor a way to see a client go.
func (s *Server) follow(ctx context.Context, c *fasthttp.RequestCtx) {
	p, err := readParams(c.QueryArgs(), tailParams)
	if err != nil {
		fail(c, fasthttp.StatusBadRequest, err.Error())
		return
	}
	last, err1 := p.number("n", 0, maxLast, 0)
	want, err2 := p.wanted(s.o.Now())
	if err := errors.Join(err1, err2); err != nil {
		fail(c, fasthttp.StatusBadRequest, err.Error())
		return
	}
	t := &tail{s: s, conn: c.Conn(), want: want, streams: p.streams, next: make(map[string]uint64),
		sse: strings.Contains(string(c.Request.Header.Peek(fasthttp.HeaderAccept)), "text/event-stream")}
	if !c.Request.Header.IsHTTP11() {
		fail(c, fasthttp.StatusBadRequest, "a tail has no length, so it needs HTTP/1.1")
		return
	}
	c.HijackSetNoResponse(true)
	c.Hijack(func(conn net.Conn) {
		defer s.track(t.conn, fasthttp.StateClosed)
		if !s.begin() {
			return
		}
		defer s.wg.Done()
		select {
		case s.tails <- struct{}{}:
			defer func() { <-s.tails }()
		default:
			s.counts.dropped["full"].Inc()
			t.refuse()
			return
		}
		t.run(ctx, conn, last)
	})
}

// refuse answers the client that is one too many.
func (t *tail) refuse() {
	body := fmt.Sprintf(`{"error":"%d tails are open already"}`, maxTails) + "\n"
	t.send([]byte("HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 10\r\nConnection: close\r\n" +
		"Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)) //nolint:errcheck // it goes anyway
}

// run serves the client until it goes, is dropped, or ctx ends. in is what it
// still sends, which is nothing from an honest one.
func (t *tail) run(ctx context.Context, in io.Reader, last int) {
	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan struct{}) // closed when reading has ended
	go func() {
		defer close(gone)
		defer cancel()
		// A client that sends anything more breaks off its own tail.
		bufio.NewReaderSize(in, 16).ReadByte() //nolint:errcheck // any outcome means the same
	}()
	err := t.serve(ctx, last)
	if errors.Is(err, errSlow) {
		t.s.counts.dropped["slow"].Inc()
		t.s.events.tailDropped(t.conn.RemoteAddr().String(), err.Error())
	}
	if err == nil {
		t.send([]byte("0\r\n\r\n")) //nolint:errcheck // it goes anyway
	}
	cancel()
	t.conn.Close() //nolint:errcheck // ends the reading
	<-gone
}

// serve sends the last records and then each new one. It returns nil when the
// server ends, and an error when the client is gone or too slow.
func (t *tail) serve(ctx context.Context, last int) error {
	kind := "application/x-ndjson"
	if t.sse {
		kind = "text/event-stream"
	}
	changed := t.s.o.Source.Changed()
	t.begin()
	if err := t.send([]byte("HTTP/1.1 200 OK\r\nContent-Type: " + kind + "\r\nCache-Control: no-store\r\n" +
		"X-Content-Type-Options: nosniff\r\nX-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")); err != nil {
		return err
	}
	if last > 0 {
		if err := t.sendLastInTurn(ctx, last); err != nil {
			return err
		}
	}
	beat := time.NewTicker(sseBeat)
	defer beat.Stop()
	for {
		if err := t.sendNew(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			changed = t.s.o.Source.Changed()
		case <-beat.C:
			if err := t.alive(); err != nil {
				return err
			}
		}
	}
}

// begin puts the tail at the end of every stream there is. One that comes to
// be later is read from its first record.
func (t *tail) begin() {
	for _, st := range t.s.o.Source.Streams() {
		t.next[st.Name] = st.Next
	}
}

// sendLastInTurn is sendLast once fewer than maxLasts tails are at it: each
// holds up to maxAnswer in memory until its client has taken it.
func (t *tail) sendLastInTurn(ctx context.Context, n int) error {
	select {
	case t.s.lasts <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-t.s.lasts }()
	return t.sendLast(ctx, n)
}

// sendLast sends the last n wanted records before the tail's beginning, oldest first.
func (t *tail) sendLast(ctx context.Context, n int) error {
	var lanes []lane
	for _, st := range t.s.o.Source.Streams() {
		if end := t.next[st.Name]; t.wants(st.Name) && st.First < end {
			lanes = append(lanes, lane{stream: st.Name, lo: st.First, hi: end})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, t.s.o.QueryTime)
	defer cancel()
	scan := newScanner(t.s.o.Source, t.want, true, lanes, n, t.s.o.ScanBytes)
	defer scan.close()
	var lines [][]byte
	for size := 0; len(lines) < n && size < maxAnswer; {
		v, at, err := scan.next(ctx)
		if err != nil {
			break // what could be found in the time stands
		}
		line := record.AppendJSON(nil, v, t.s.meta(at))
		lines = append(lines, line)
		size += len(line)
	}
	for _, line := range slices.Backward(lines) {
		if err := t.put(line); err != nil {
			return err
		}
	}
	return t.flush()
}

func (t *tail) wants(stream string) bool {
	return len(t.streams) == 0 || slices.Contains(t.streams, stream)
}

// sendNew sends what has been stored since the last time.
func (t *tail) sendNew(ctx context.Context) error {
	for ctx.Err() == nil {
		var lanes []lane
		for _, st := range t.s.o.Source.Streams() {
			at, known := t.next[st.Name]
			if !known {
				at = st.First
			}
			if t.wants(st.Name) && at < st.Next {
				lanes = append(lanes, lane{stream: st.Name, lo: at, hi: st.Next})
			}
		}
		if len(lanes) == 0 {
			return t.flush()
		}
		if err := t.sendLanes(ctx, lanes); err != nil {
			return err
		}
	}
	return nil
}

// sendLanes sends what the lanes hold, as far as one budget goes.
func (t *tail) sendLanes(ctx context.Context, lanes []lane) error {
	for _, l := range lanes {
		t.next[l.stream] = l.hi
	}
	scan := newScanner(t.s.o.Source, t.want, false, lanes, 1, t.s.o.ScanBytes)
	defer t.narrow() // once the scanner has given its memory back
	defer scan.close()
	scan.keep, scan.wide = tailKeep, t.widen
	for !t.wide {
		scan.room = maxLimit
		v, at, err := scan.next(ctx)
		for i := range scan.lanes {
			// What has not been damaged and is gone, retention took before this client took it.
			if scan.lanes[i].lost > 0 {
				return fmt.Errorf("%w: retention took records of %q before it did", errSlow, scan.lanes[i].stream)
			}
		}
		if err != nil {
			break
		}
		t.line = record.AppendJSON(t.line[:0], v, t.s.meta(at))
		if err := t.put(t.line); err != nil {
			return err
		}
	}
	for _, l := range scan.rest() {
		t.next[l.stream] = l.lo
	}
	return t.flush()
}

// widen waits until the tail may hold a record of more than wideBlock. As JSON
// such a one can take six times its size, and there are maxTails that may hold one.
func (t *tail) widen(ctx context.Context) error {
	if t.wide {
		return nil
	}
	select {
	case t.s.wides <- struct{}{}:
		t.wide = true
		return nil
	case <-ctx.Done():
		return errSpent
	}
}

// narrow lets another tail hold a long record.
func (t *tail) narrow() {
	if t.wide {
		t.wide, t.line = false, nil
		<-t.s.wides
	}
}

// put adds one record to what is to be sent, and sends it when it is much.
func (t *tail) put(line []byte) error {
	before, after := "", "\n"
	if t.sse {
		before, after = "data: ", "\n\n"
	}
	t.out = strconv.AppendInt(t.out, int64(len(before)+len(line)+len(after)), 16)
	t.out = append(t.out, "\r\n"...)
	t.out = append(t.out, before...)
	t.out = append(t.out, line...)
	t.out = append(t.out, after...)
	t.out = append(t.out, "\r\n"...)
	if len(t.out) >= tailPiece {
		return t.flush()
	}
	return nil
}

// alive sends a comment, which clients of server-sent streams skip, so that
// neither they nor what stands between take the quiet for an end.
func (t *tail) alive() error {
	if !t.sse {
		return nil
	}
	return t.send([]byte("3\r\n:\n\n\r\n"))
}

func (t *tail) flush() error {
	if len(t.out) == 0 {
		return nil
	}
	err := t.send(t.out)
	if t.out = t.out[:0]; cap(t.out) > 4*tailPiece {
		t.out = nil
	}
	return err
}

// send writes p, in the time a client is given to take it.
func (t *tail) send(p []byte) error {
	if err := t.conn.SetWriteDeadline(time.Now().Add(t.s.o.TailWait)); err != nil {
		return err
	}
	_, err := t.conn.Write(p)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%w: it took nothing for %s", errSlow, t.s.o.TailWait)
	}
	return err
}
