package testkit

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs"
	input "github.com/runnel-log/runnel/agent/inputs/relp"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/relp"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// go test ./internal/testkit -run - -bench RELP -benchtime 500000x
//
// Messages of 300 bytes over RELP into the store, each answered after its fsync, from
// one client and from eight, whose window is librelp's and larger. cpu-s/M has the
// client in it. It has no pipeline's steps, and says nothing of another disk.
func BenchmarkRELPStored(b *testing.B) {
	for _, clients := range []int{1, 8} {
		for _, window := range []int{128, 1024} {
			b.Run(fmt.Sprintf("clients=%d/window=%d", clients, window), func(b *testing.B) { benchRELP(b, clients, window) })
		}
	}
}

func benchRELP(b *testing.B, clients, window int) {
	store, err := storage.Open(storage.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	sockets := listen.NewSockets()
	defer sockets.Close()
	o := input.Kind.Options().(*input.Options)
	o.Listen = []string{"tcp://127.0.0.1:0"}
	in, err := input.New(o, inputs.Setup{Name: "in", Agent: "bench", Sockets: sockets, Log: zerolog.Nop(), Metrics: metrics.NewSet(), Memory: new(inputs.Memory),
		Emit: func(ctx context.Context, batch *record.Batch, _ ...inputs.Mark) (inputs.Receipt, error) {
			return store.Append(ctx, storage.Unit{Batches: []storage.StreamBatch{{Stream: "app", Records: batch}}, Hurry: true})
		}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	defer func() {
		stop()
		<-done
	}()
	each := b.N/clients + 1
	address := strings.TrimPrefix(in.Status()[0].URL, "tcp://")
	b.ResetTimer()
	began, used := time.Now(), cpu(b)
	results := make(chan error, clients)
	for range clients {
		go func() { results <- send(address, each, window) }()
	}
	for range clients {
		if err := <-results; err != nil {
			b.Fatal(err)
		}
	}
	n := float64(each * clients)
	b.ReportMetric(n/time.Since(began).Seconds(), "msg/s")
	b.ReportMetric((cpu(b)-used).Seconds()/n*1e6, "cpu-s/M")
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// send sends n messages and waits for every answer, with at most window open.
func send(address string, n, window int) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	r := relp.NewReader(c)
	offers := relp.Offers{Version: 1, Commands: []string{relp.Syslog}}
	if _, err := c.Write(relp.AppendOpen(nil, 1, &offers)); err != nil {
		return err
	}
	if _, err := r.Next(); err != nil {
		return err
	}
	const head = "<165>1 2026-11-22T10:15:07.255024Z host-17 checkout 2833 ID47 - "
	message := []byte(head + strings.Repeat("a line of a program's log, ", 12)[:300-len(head)])
	var wire []byte
	sent, answered := 0, 0
	for answered < n {
		for wire = wire[:0]; sent < n && sent-answered < window; sent++ {
			wire = relp.AppendFrame(wire, uint32(sent)+2, relp.Syslog, message)
		}
		if _, err := c.Write(wire); err != nil {
			return err
		}
		for one := true; one; {
			f, err := r.Next()
			if err != nil {
				return err
			}
			if f.Txnr != uint32(answered)+2 {
				return io.ErrUnexpectedEOF
			}
			answered++
			one = answered < n && sent-answered > window/2
		}
	}
	return nil
}
