package syslog

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
	"github.com/runnel-log/runnel/record"
)

// sink reads and forgets everything that one listener's connections bring.
func sink(b *testing.B, secure *tls.Config) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if secure != nil {
				c = tls.Server(c, secure)
			}
			go io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
		}
	}()
	return l.Addr().String()
}

func udpSink(b *testing.B) string {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 1<<16)
		for {
			if _, _, err := c.ReadFromUDPAddrPort(buf); err != nil {
				return
			}
		}
	}()
	return c.LocalAddr().String()
}

// go test ./forwarders/syslog -run - -bench . -benchtime 2s
//
// The receiver runs in the same process and reads without looking: these
// numbers are the sender's, and say nothing of what a real receiver makes of it.
func BenchmarkDeliver(b *testing.B) {
	ca := tlstest.NewAuthority(b, "bench")
	cert, key := ca.Issue(b, "server", time.Now().Add(time.Hour))
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, o *Options) {
		b.Run(name, func(b *testing.B) { forwardertest.Bench(b, forwardertest.New(b, Kind, o)) })
	}
	tcp := "tcp://" + sink(b, nil)
	run("tcp-lf", options(tcp, nil))
	run("tcp-octet", options(tcp, func(o *Options) { o.Framing = framingOctet }))
	run("tcp-rfc3164", options(tcp, func(o *Options) { o.Format = forwarders.RFC3164 }))
	run("tcp-json", options(tcp, func(o *Options) { o.Message = forwarders.MessageJSON }))
	run("tls-octet", options("tls://"+sink(b, &tls.Config{Certificates: []tls.Certificate{pair}}), func(o *Options) { o.TLS.CA = ca.File }))
	run("udp", options("udp://"+udpSink(b), nil))
}

// go test ./forwarders/syslog -run - -bench Encode
//
// Encoding alone, to know what of BenchmarkDeliver is the kernel's.
func BenchmarkEncode(b *testing.B) {
	batch := forwardertest.Batch(b, "app", 1, record.BatchRecords+1, nil)
	for _, framing := range []string{framingLF, framingOctet} {
		b.Run(framing, func(b *testing.B) {
			e := encoder{messages: forwarders.Messages{Format: forwarders.RFC5424}, framing: framing}
			var dst []byte
			var ends []int
			b.ReportAllocs()
			for b.Loop() {
				dst, ends = e.batch(dst[:0], ends[:0], batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/record.BatchRecords, "ns/record")
		})
	}
}
