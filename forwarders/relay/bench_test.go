package relay

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// BenchmarkDeliver is what the forwarder does to a record of 300 bytes: in a batch that is compressed
// for the way, and in one that lies compressed in the store. The receiver runs in the same process and
// acknowledges at once, without looking. Reading from the store is not in it.
//
//	go test ./forwarders/relay -run - -bench Deliver -benchtime 2s
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
			go acknowledgeAll(c)
		}
	}()
	words := strings.Repeat("some words of a log ", 15)
	text := func(offset uint64) string { return fmt.Sprintf("%x %s", offset*0x9E3779B97F4A7C15, words)[:220] }
	batch := forwardertest.Batch(b, "app", 1, record.BatchRecords+1, text)
	run := func(name string, batch *forwarders.Batch) {
		b.Run(name, func(b *testing.B) {
			f := newSender(b, options("tcp://"+l.Addr().String(), nil), nil)
			b.SetBytes(record.BatchRecords * 300)
			b.ReportAllocs()
			next := *batch
			next.Offsets = append([]uint64(nil), batch.Offsets...)
			var open []forwarders.Ack
			for b.Loop() {
				ack, err := f.Deliver(b.Context(), &next)
				if err != nil {
					b.Fatal(err)
				}
				if open = append(open, ack); len(open) == 32 {
					if _, err := open[0].Wait(b.Context()); err != nil {
						b.Fatal(err)
					}
					open = append(open[:0], open[1:]...)
				}
				next.First, next.Next = next.Next, next.Next+record.BatchRecords
				for i := range next.Offsets {
					next.Offsets[i] = next.First + uint64(i)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/record.BatchRecords, "ns/record")
		})
	}
	run("compressed here", batch)
	run("as it lies in the store", forwardertest.Block(batch, record.Origin{}))
}

// acknowledgeAll is a receiver that has nothing and takes everything.
func acknowledgeAll(c net.Conn) {
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
			answer = &relaywire.Tell{Stream: m.Stream, Epoch: m.Epoch, Missing: m.Parts}
		case *relaywire.Data:
			answer = &relaywire.Ack{Number: m.Number}
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
