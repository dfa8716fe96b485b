package syslog

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
)

// message is 300 bytes of RFC 5424 with structured data, as `runnel send` writes.
var message = func() string {
	m := `<165>1 2026-11-22T10:15:07.255024Z host-17 checkout 2833 ID47 [req@32473 id="7f3c2a" user="1042"] `
	return m + strings.Repeat("a line of a program's log, ", 10)[:300-len(m)]
}()

// cpu returns the process's CPU time so far, the sender's included.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTCP sends lines over loopback TCP into an input whose pipeline takes
// everything and does nothing:
//
//	go test ./agent/inputs/syslog -run '^$' -bench TCP -benchtime 2000000x
//
// cpu-ns/msg has the sender's system calls in it, which are some 60 ns. It must
// not be used to claim what an agent does: nothing is stored.
func BenchmarkTCP(b *testing.B) { benchmarkStream(b, "listen: tcp://127.0.0.1:0") }

// BenchmarkTLS is BenchmarkTCP over TLS 1.3; cpu-ns/msg has both sides' encryption in it.
func BenchmarkTLS(b *testing.B) {
	benchmarkStream(b, "listen: tls://127.0.0.1:0\ntls: {cert: server.pem, key: server.key}")
}

// BenchmarkUnix is BenchmarkTCP over a unix stream.
func BenchmarkUnix(b *testing.B) { benchmarkStream(b, "listen: unix://$DIR/s") }

func benchmarkStream(b *testing.B, conf string) {
	dir, conf := inputtest.Dir(b, conf)
	r := inputtest.Start(b, Kind, dir, conf, inputtest.Setup{Sink: inputtest.NewCounter()})
	c := inputtest.Dial(b, r.URL(0), dir)
	const many = 200
	lines := bytes.Repeat([]byte(message+"\n"), many)
	b.SetBytes(int64(len(message) + 1))
	b.ReportAllocs()
	b.ResetTimer()
	began := cpu(b)
	for left := b.N; left > 0; left -= many {
		if _, err := c.Write(lines[:min(left, many)*(len(message)+1)]); err != nil {
			b.Fatal(err)
		}
	}
	r.Sink.Wait(b, b.N)
	b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/msg")
	b.ReportMetric(float64(b.N)/float64(r.Sink.Batches()), "msg/batch")
}

// BenchmarkUDP sends 100 000 datagrams of 300 bytes a second, from one socket in
// bursts of 100 each millisecond, and reports how many did not arrive:
//
//	go test ./agent/inputs/syslog -run '^$' -bench UDP -benchtime 1000000x
//
// cpu-ns/msg has the sender in it. It must not be used to claim that nothing is
// lost behind a real pipeline.
func BenchmarkUDP(b *testing.B) {
	r := inputtest.Start(b, Kind, "", "listen: udp://127.0.0.1:0", inputtest.Setup{Sink: inputtest.NewCounter()})
	c := inputtest.Dial(b, r.URL(0), "")
	out := ipv4.NewPacketConn(c.(*net.UDPConn))
	burst := make([]ipv4.Message, 100)
	for i := range burst {
		burst[i].Buffers = [][]byte{[]byte(message)}
	}
	var sent atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	began, start := cpu(b), time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for sent.Load() < int64(b.N) {
		<-tick.C
		// As many as are due by now: ticks are skipped on a busy machine.
		due := min(int64(b.N), int64(time.Since(start)/time.Millisecond)*100)
		for sent.Load() < due {
			n, err := out.WriteBatch(burst[:min(100, due-sent.Load())], 0)
			if err != nil {
				b.Fatal(err)
			}
			sent.Add(int64(n))
		}
	}
	took := time.Since(start)
	r.Stop(b)
	lost := b.N - r.Sink.Len()
	b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/msg")
	b.ReportMetric(float64(b.N)/took.Seconds(), "msg/s")
	b.ReportMetric(float64(lost), "lost")
	if n := r.Count(`runnel_input_kernel_drops_total{input="in"}`) + r.Count(`runnel_input_dropped_total{input="in",reason="ring_full"}`); n != float64(lost) && lost > 0 {
		b.Logf("%v of %d lost are explained by the kernel's and the ring's counts", n, lost)
	}
}

// BenchmarkCollect is the work for one message without sockets.
func BenchmarkCollect(b *testing.B) {
	f := func(name, text string) {
		b.Run(name, func(b *testing.B) {
			in := &Input{options: newOptions(), counters: newCounters(newSet(), "in"), emit: inputtest.NewCounter().Emit,
				unsettled: newSettling(), name: []byte("in"), agent: []byte("agent-1"), zone: time.UTC}
			go in.runSettle(b.Context())
			c := in.newCollector(b.Context(), "")
			c.now = captured.UnixNano()
			who := (&peers{agent: in.agent}).unix("unix")
			msg := []byte(text)
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				c.add(msg, 0, who)
			}
			c.flush()
			in.unsettled.end()
		})
	}
	f("rfc5424", message)
	f("docker", fmt.Sprintf("<30>Nov 22 10:14:57 3b367bc4d768[2833]: %s", message[100:]))
}
