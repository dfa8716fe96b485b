package relp

import (
	"net"
	"testing"

	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/relp"
)

// go test ./forwarders/relp -run - -bench . -benchtime 2s
//
// The receiver runs in the same process and answers at once, without looking: these
// numbers are the sender's, and say nothing of a receiver that stores.
func BenchmarkDeliver(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerAll(c)
		}
	}()
	for name, window := range map[string]int{"window=128": 128, "window=1024": 1024} {
		b.Run(name, func(b *testing.B) {
			forwardertest.Bench(b, forwardertest.New(b, Kind, options("tcp://"+l.Addr().String(), func(o *Options) { o.Window = window })))
		})
	}
}

// answerAll answers everything with 200, all that has come with one write.
func answerAll(c net.Conn) {
	defer c.Close()
	r := relp.NewReader(c)
	r.Allow(1<<20, 1<<20)
	o := relp.Offers{Commands: []string{relp.Syslog}}
	var wire []byte
	for {
		f, ok, err := r.Take()
		switch {
		case err != nil:
			return
		case ok && string(f.Command) == relp.Open:
			wire = relp.AppendOpened(wire, f.Txnr, &o)
		case ok:
			wire = relp.AppendOK(wire, f.Txnr)
		default:
			if _, err := c.Write(wire); err != nil {
				return
			}
			if wire = wire[:0]; r.Fill() != nil {
				return
			}
		}
	}
}
