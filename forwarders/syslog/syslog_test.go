package syslog

import (
	"bufio"
	"crypto/tls"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
	"github.com/runnel-log/runnel/record"
)

func options(to string, change func(o *Options)) *Options {
	o := defaults()
	o.To = to
	if change != nil {
		change(o)
	}
	return o
}

// receiver wraps a server for the suite.
func receiver(t *testing.T, s *forwardertest.SyslogServer, o *Options) *forwardertest.Receiver {
	return &forwardertest.Receiver{Options: o, Texts: s.Texts, Freeze: s.Freeze, Reached: s.Reached, Break: func() { s.Break(t) }}
}

func serverTLS(t *testing.T, ca *tlstest.Authority) *tls.Config {
	t.Helper()
	cert, key := ca.Issue(t, "server", time.Now().Add(time.Hour))
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

func TestKeepsTheContract(t *testing.T) {
	f := func(name string, start func(t *testing.T) *forwardertest.Receiver) {
		t.Run(name, func(t *testing.T) { forwardertest.Run(t, Kind, start) })
	}
	tcp := func(octets bool, change func(o *Options)) func(t *testing.T) *forwardertest.Receiver {
		return func(t *testing.T) *forwardertest.Receiver {
			s := forwardertest.ListenSyslog(t, "tcp", "127.0.0.1:0", octets, nil)
			r := receiver(t, s, options("tcp://"+s.Address, change))
			r.Named = func(host string) config.Options {
				_, port, _ := strings.Cut(s.Address, ":")
				return options("tcp://"+host+":"+port, change)
			}
			return r
		}
	}
	f("tcp lf", tcp(false, nil))
	f("tcp octet", tcp(true, func(o *Options) { o.Framing = framingOctet }))
	f("tcp rfc3164", tcp(false, func(o *Options) { o.Format = forwarders.RFC3164 }))
	f("tcp json", tcp(false, func(o *Options) { o.Message = forwarders.MessageJSON }))
	f("unix", func(t *testing.T) *forwardertest.Receiver {
		s := forwardertest.ListenSyslog(t, "unix", filepath.Join(t.TempDir(), "log.sock"), false, nil)
		return receiver(t, s, options("unix://"+s.Address, nil))
	})
	f("tls", func(t *testing.T) *forwardertest.Receiver {
		shown := forwardertest.NewShown(t)
		s := forwardertest.ListenSyslog(t, "tcp", "127.0.0.1:0", true, shown.Config())
		r := receiver(t, s, options("tls://"+s.Address, func(o *Options) { o.TLS.CA = shown.CA.File }))
		r.Shown = shown
		return r
	})
}

var _ forwarders.Lossy = (*Options)(nil)

// A receiver that hangs up while nothing is on its way costs nothing: neither a
// record nor a failed try.
func TestHangingUpIsNoticed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := forwardertest.New(t, Kind, options("tcp://"+l.Addr().String(), nil)).(*stream)
	for first := uint64(1); first <= 5; first++ {
		ack, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", first, first+1, nil))
		if err != nil {
			t.Fatalf("Deliver %d: %v", first, err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.Contains(line, "record=0000000"+strconv.FormatUint(first, 10)) {
			t.Errorf("received %q, %v, want record %d", line, err, first)
		}
		if n, err := ack.Wait(t.Context()); n != 1 || err != nil {
			t.Errorf("Wait = %d, %v", n, err)
		}
		broken := f.conn.broken
		c.Close()
		<-broken
	}
}

// Nothing that a record holds can end its message early, or begin another.
func FuzzOneRecordIsOneFrame(f *testing.F) {
	for _, seed := range []string{"", "a\nb", "\n", "\x00<13>", "12 <13>1 x", "\r\n", "\xff", "#012"} {
		f.Add([]byte(seed), []byte("app"), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, message, app, sd []byte) {
		r := forwardertest.Record(1, string(message))
		r.App, r.SD, r.Host = app, sd, app
		b := &forwarders.Batch{Records: new(record.Batch), Offsets: []uint64{1, 2, 3}}
		for range b.Offsets {
			if b.Records.Append(r) != nil {
				return // larger than a record may be
			}
		}
		for _, format := range []string{forwarders.RFC5424, forwarders.RFC3164} {
			for _, framing := range []string{framingLF, framingOctet} {
				e := encoder{messages: forwarders.Messages{Format: format, Zone: time.UTC}, framing: framing}
				wire, _ := e.batch(nil, nil, b)
				frames := 0
				for in := syslog.NewFramer(strings.NewReader(string(wire)), 1<<20); ; frames++ {
					if _, _, err := in.Next(); err != nil {
						break
					}
				}
				if frames != 3 {
					t.Errorf("%s %s: 3 records became %d frames: %q", format, framing, frames, wire)
				}
			}
		}
	})
}
