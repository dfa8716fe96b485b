package syslog

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
)

const (
	// readBatch is how many datagrams one recvmmsg(2) takes. Their buffers are
	// 4 MiB of address space, of which the kernel only fills what datagrams touch.
	readBatch    = 64
	udpBuffer    = 64 << 10 // no UDP datagram is longer
	controlBytes = 32       // one control message with the drop count
	knownPeers   = 4096     // remembered senders, so that a datagram's costs no allocation
)

// packets is one address that takes datagrams.
type packets struct {
	url   string
	conn  net.PacketConn
	drops atomic.Uint64
}

// runUDP drains the socket into a ring, and does nothing else, so that the
// kernel's buffer stays empty; runParse turns the ring's datagrams into records.
func (in *Input) runUDP(s *packets, r *ring) {
	defer r.close()
	defer s.conn.Close()
	udp := s.conn.(*listen.UDPConn)
	from := ipv4.NewPacketConn(udp) // serves IPv6 sockets as well: the calls are the same
	messages := make([]ipv4.Message, readBatch)
	slab, control := make([]byte, readBatch*udpBuffer), make([]byte, readBatch*controlBytes)
	for i := range messages {
		messages[i].Buffers = [][]byte{slab[i*udpBuffer : (i+1)*udpBuffer]}
		messages[i].OOB = control[i*controlBytes : (i+1)*controlBytes]
	}
	known := map[netip.Addr]*peer{}
	for stop := (drainer{in: in, conn: udp}); ; {
		n, err := from.ReadBatch(messages, stop.flags)
		if err != nil {
			if stop.after(s, err) {
				return
			}
			continue
		}
		now := in.now()
		for i := range messages[:n] {
			m := &messages[i]
			addr := m.Addr.(*net.UDPAddr).AddrPort().Addr()
			who := known[addr]
			if who == nil {
				if len(known) >= knownPeers {
					clear(known)
				}
				who = in.peers.at(addr)
				known[addr] = who
			}
			in.datagram(s, r, slab[i*udpBuffer:i*udpBuffer+m.N], who, now)
		}
		r.pushed()
		if last := &messages[n-1]; last.NN > 0 {
			if total, ok := dropCount(last.OOB[:last.NN]); ok {
				in.countDrops(s, udp.Dropped(total))
			}
		}
	}
}

func (in *Input) countDrops(s *packets, n uint32) {
	if n > 0 {
		s.drops.Add(uint64(n))
		in.counters.kernelDrops.Add(int(n))
	}
}

// datagram puts one datagram into the ring, if it may come in and says something.
func (in *Input) datagram(s *packets, r *ring, b []byte, who *peer, now time.Time) {
	if !in.peers.allowed(who) {
		in.counters.deniedAllow.Inc()
		in.events.denied(s.url, string(who.text))
		return
	}
	b, flags := in.trim(b)
	if len(b) == 0 {
		in.counters.ignoredEmpty.Inc()
		return
	}
	if !r.push(b, flags, who, now) {
		in.counters.droppedRing.Inc()
	}
}

// trim takes the delimiter off a datagram and cuts it to max_message.
func (in *Input) trim(b []byte) ([]byte, record.Flags) {
	b = syslog.TrimDatagram(b)
	if limit := int(in.options.MaxMessage); len(b) > limit {
		return b[:limit], record.Truncated
	}
	return b, 0
}

// runParse empties the ring until it is closed. It emits when a batch is full
// and when the ring is empty.
func (in *Input) runParse(ctx context.Context, url string, r *ring) {
	col := in.newCollector(ctx, url)
	for {
		c := r.pop(col.flush)
		if c == nil {
			return
		}
		from := 0
		for i := range c.marks {
			m := &c.marks[i]
			col.now = m.received
			col.add(c.data[from:m.end], m.flags, m.from)
			from = m.end
		}
		r.release(c)
	}
}

// runUnixgram reads a unix datagram socket. It needs no ring: its sender waits
// where a UDP sender's datagram would be dropped.
func (in *Input) runUnixgram(ctx context.Context, s *packets) {
	defer s.conn.Close()
	c := s.conn.(*listen.UnixConn)
	raw, err := c.SyscallConn()
	if err != nil {
		in.counters.errRead.Inc()
		in.events.readFailed(s.url, err)
		return
	}
	who := in.peers.unix("unix")
	col := in.newCollector(ctx, s.url)
	defer col.flush()
	// One more than the longest message and its LF and NUL. Only what datagrams touch is real memory.
	buf := make([]byte, int(in.options.MaxMessage)+3)
	var n, flags int
	var readErr error
	wait := false // for a datagram, or else return EAGAIN
	read := func(fd uintptr) bool {
		n, _, flags, _, readErr = unix.Recvmsg(int(fd), buf, nil, 0)
		return readErr != unix.EAGAIN || !wait
	}
	for stop := (drainer{in: in, conn: c}); ; {
		wait = col.batch == nil && stop.flags == 0
		err := raw.Read(read)
		if err == nil {
			err = readErr
		}
		switch {
		case err == unix.EAGAIN && !wait && stop.flags == 0:
			col.flush()
			continue
		case err != nil:
			if stop.after(s, err) {
				return
			}
			continue
		}
		col.readNow()
		b, cut := in.trim(buf[:n])
		if flags&unix.MSG_TRUNC != 0 {
			cut |= record.Truncated
		}
		if len(b) == 0 {
			in.counters.ignoredEmpty.Inc()
			continue
		}
		col.add(b, cut, who)
	}
}

// drainer ends the reading of a datagram socket: at once when Retire has closed
// it, and once the kernel holds nothing more when the input is stopped.
type drainer struct {
	in    *Input
	conn  interface{ SetReadDeadline(time.Time) error }
	flags int // MSG_DONTWAIT while draining
	pause time.Duration
}

// after reports whether reading ends with err.
func (d *drainer) after(s *packets, err error) bool {
	in := d.in
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		if d.flags != 0 {
			return true
		}
		d.flags = syscall.MSG_DONTWAIT
		return d.conn.SetReadDeadline(time.Now().Add(drainTime)) != nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, net.ErrClosed):
		return true
	case errors.Is(err, syscall.EINTR):
		return false
	}
	in.counters.errRead.Inc()
	in.events.readFailed(s.url, err)
	d.pause = min(max(2*d.pause, minBackoff), maxBackoff)
	select {
	case <-time.After(d.pause):
		return false
	case <-in.ending:
		return true
	}
}
