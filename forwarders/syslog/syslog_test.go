package syslog

import (
	"crypto/tls"
	"path/filepath"
	"testing"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
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
			return receiver(t, s, options("tcp://"+s.Address, change))
		}
	}
	f("tcp lf", tcp(false, nil))
	f("tcp octet", tcp(true, func(o *Options) { o.Framing = framingOctet }))
	f("tcp rfc3164", tcp(false, func(o *Options) { o.Format = format3164 }))
	f("tcp json", tcp(false, func(o *Options) { o.Message = messageJSON }))
	f("unix", func(t *testing.T) *forwardertest.Receiver {
		s := forwardertest.ListenSyslog(t, "unix", filepath.Join(t.TempDir(), "log.sock"), false, nil)
		return receiver(t, s, options("unix://"+s.Address, nil))
	})
	ca := tlstest.NewAuthority(t, "test")
	f("tls", func(t *testing.T) *forwardertest.Receiver {
		s := forwardertest.ListenSyslog(t, "tcp", "127.0.0.1:0", true, serverTLS(t, ca))
		return receiver(t, s, options("tls://"+s.Address, func(o *Options) { o.TLS.CA = ca.File }))
	})
}

var _ forwarders.Lossy = (*Options)(nil)
