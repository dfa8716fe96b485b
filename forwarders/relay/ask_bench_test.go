package relay

import (
	"fmt"
	"net"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// BenchmarkAskAll is what a new session costs whose receiver has had something of many lines: of as many streams, and of one
// stream that many runs have written. The receiver runs in the same process, has all, and knows so at
// once. The time of one line must not grow with their number.
//
//	go test ./forwarders/relay -run - -bench AskAll -benchtime 3x
func BenchmarkAskAll(b *testing.B) {
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
			go hasAll(c)
		}
	}()
	to := "tcp://" + l.Addr().String()
	run := func(kind string, n int, name func(i int) line) {
		b.Run(fmt.Sprintf("%s=%d", kind, n), func(b *testing.B) {
			source := &forwardertest.Source{Of: make(map[string][]forwarders.Part), Kept: make(map[string][]byte)}
			had := relaywire.Ranges{{From: 1, To: hadTo}}
			for i := range n {
				l := name(i)
				source.Of[l.stream] = append(source.Of[l.stream], forwarders.Part{Epoch: l.epoch, First: 1, Next: hadTo})
				source.Kept[l.key(to)] = had.Append(nil)
			}
			f := newSender(b, options(to, nil), source)
			for b.Loop() {
				c, err := f.connect(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				if len(c.courses) != n {
					b.Fatalf("%d lines were asked for, want %d", len(c.courses), n)
				}
				c.end(errClosed, true)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/line")
		})
	}
	for _, n := range []int{1 << 10, 1 << 13, 1 << 16} {
		run("streams", n, func(i int) line { return line{fmt.Sprintf("stream-%d", i), forwardertest.Epoch} })
		run("epochs", n, func(i int) line { return line{"app", uint32(i + 1)} })
	}
}

// hadTo is where what the receiver of the benchmark has had of each line ends.
const hadTo = 101

// hasAll is a receiver that has what was there, and takes nothing.
func hasAll(c net.Conn) {
	defer c.Close()
	r := relaywire.NewReader(c)
	defer r.Close()
	for {
		m, err := r.Next()
		if err != nil {
			return
		}
		var answer relaywire.Message
		switch m := m.(type) {
		case *relaywire.Hello:
			answer = &relaywire.Welcome{Version: relaywire.Version, Agent: receiverID, Session: 1, Credit: 32 << 20}
		case *relaywire.Ask:
			answer = &relaywire.Tell{Stream: m.Stream, Epoch: m.Epoch, Missing: without(m.Parts, relaywire.Ranges{{From: 1, To: hadTo}}), Ends: relaywire.Range{From: 1, To: hadTo}}
		case *relaywire.Report:
			answer = new(relaywire.Path)
		default:
			return
		}
		if _, err := c.Write(relaywire.Append(nil, answer)); err != nil {
			return
		}
	}
}
