package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/runnel-log/runnel/internal/tlsconf"
)

// destination is where messages go.
type destination struct {
	scheme  string
	address string // HOST:PORT or a path
}

// parseDestination takes a URL apart. A port that is left out is the protocol's own.
func parseDestination(url string) (destination, error) {
	scheme, rest, found := strings.Cut(url, "://")
	if !found {
		return destination{}, fmt.Errorf("--to %q has no scheme; write %q", url, "udp://"+url)
	}
	port := map[string]string{"udp": "514", "tcp": "514", "tls": "6514"}[scheme]
	switch scheme {
	case "unix", "unixgram":
		if rest == "" {
			return destination{}, fmt.Errorf("--to %q has no path; write %q", url, scheme+":///dev/log")
		}
		return destination{scheme, rest}, nil
	case "udp", "tcp", "tls":
		if _, _, err := net.SplitHostPort(rest); err != nil {
			rest = net.JoinHostPort(strings.Trim(rest, "[]"), port)
		}
		return destination{scheme, rest}, nil
	}
	return destination{}, fmt.Errorf("--to %q has the unknown scheme %q; use udp, tcp, tls, unix or unixgram", url, scheme)
}

// datagrams reports whether each message travels alone, without framing.
func (d destination) datagrams() bool { return d.scheme == "udp" || d.scheme == "unixgram" }

func (d destination) dial(ctx context.Context, c *sendCmd) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if d.scheme != "tls" {
		return new(net.Dialer).DialContext(ctx, d.scheme, d.address)
	}
	client := tlsconf.Client{CA: c.CA, Cert: c.Cert, Key: c.Key, SkipVerify: c.Insecure}
	config, err := client.Config()
	if err != nil {
		return nil, err
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(d.address)
	}
	dialer := tls.Dialer{Config: config}
	return dialer.DialContext(ctx, "tcp", d.address)
}

const (
	streamBatch   = 256 << 10 // bytes to a write
	datagramBatch = 128       // messages to a sendmmsg
	pause         = time.Millisecond
)

// sender sends the messages of one connection.
type sender struct {
	conn      net.Conn
	source    source
	datagrams bool
	left      int
	rate      float64   // messages a second; 0 is as many as possible
	arriving  *arriving // what is sent in place of source, in w; nil: that is
	w         *writer

	buf      []byte
	ends     []int // of each message in buf
	messages int64
	bytes    int64

	packets *ipv4.PacketConn // UDP only
	batch   []ipv4.Message
}

func newSender(conn net.Conn, s source, datagrams bool, count int, rate float64) *sender {
	n := &sender{conn: conn, source: s, datagrams: datagrams, left: count, rate: rate}
	if udp, ok := conn.(*net.UDPConn); ok {
		n.packets = ipv4.NewPacketConn(udp) // the batch calls do not care which IP it is
		n.batch = make([]ipv4.Message, 0, datagramBatch)
	}
	return n
}

// run sends until nothing is left or ctx ends, which is no error.
func (s *sender) run(ctx context.Context) error {
	if s.arriving != nil {
		return s.runArriving(ctx, s.arriving, s.w)
	}
	stop := context.AfterFunc(ctx, func() { s.conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	begun := time.Now()
	total := s.left
	for s.left > 0 && ctx.Err() == nil {
		most := s.left
		if s.rate > 0 {
			due := int(time.Since(begun).Seconds()*s.rate) + 1
			if most = min(most, due-(total-s.left)); most <= 0 {
				wait(ctx, begun, float64(total-s.left)/s.rate)
				continue
			}
		}
		s.fill(most)
		if err := s.flush(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	return nil
}

// wait sleeps until a message is due, but for a millisecond at least, which
// is smooth enough and leaves the processor to others.
func wait(ctx context.Context, begun time.Time, seconds float64) {
	left := time.Until(begun.Add(time.Duration(seconds * float64(time.Second))))
	select {
	case <-ctx.Done():
	case <-time.After(max(left, pause)):
	}
}

// fill makes at most most messages, and no more than one write takes.
func (s *sender) fill(most int) {
	s.buf, s.ends = s.buf[:0], s.ends[:0]
	s.source.refresh()
	for range most {
		s.buf = s.source.next(s.buf)
		s.ends = append(s.ends, len(s.buf))
		if s.filled() {
			break
		}
	}
}

// filled reports whether no more goes into one write.
func (s *sender) filled() bool {
	return len(s.buf) >= streamBatch || s.datagrams && len(s.ends) == datagramBatch
}

// flush writes what fill made and counts what went out.
func (s *sender) flush() error {
	if s.packets != nil {
		return s.flushPackets()
	}
	if !s.datagrams {
		n, err := s.conn.Write(s.buf)
		s.bytes += int64(n)
		for _, end := range s.ends {
			if end > n {
				break
			}
			s.messages++
			s.left--
		}
		return err
	}
	from := 0
	for _, end := range s.ends {
		if _, err := s.conn.Write(s.buf[from:end]); err != nil {
			return err
		}
		s.count(end - from)
		from = end
	}
	return nil
}

func (s *sender) flushPackets() error {
	s.batch = s.batch[:0]
	from := 0
	for _, end := range s.ends {
		s.batch = append(s.batch, ipv4.Message{Buffers: [][]byte{s.buf[from:end]}})
		from = end
	}
	for rest := s.batch; len(rest) > 0; {
		n, err := s.packets.WriteBatch(rest, 0)
		if err != nil {
			return err
		}
		for _, m := range rest[:n] {
			s.count(len(m.Buffers[0]))
		}
		rest = rest[n:]
	}
	return nil
}

func (s *sender) count(bytes int) {
	s.messages++
	s.left--
	s.bytes += int64(bytes)
}
