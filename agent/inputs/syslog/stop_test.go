package syslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/record"
)

// soon is what the agent gives its inputs to stop; they take a fraction of it
// where the machine is not busy otherwise.
const soon = 4 * time.Second

// writer writes numbered lines to a unix stream as fast as it can and connects
// again when a write fails, as Docker's driver does: the line that failed is
// written again.
func writer(t *testing.T, path string, n int) error {
	var c net.Conn
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for i := 0; i < n; i++ {
		line := fmt.Appendf(nil, "<30>1 - vm app - - - %d\n", i)
		for try := 0; ; try++ {
			if c == nil {
				var err error
				if c, err = net.Dial("unix", path); err != nil {
					return err
				}
			}
			if _, err := c.Write(line); err == nil {
				break
			} else if try > 100 {
				return err
			}
			c.Close()
			c = nil
		}
	}
	return nil
}

// TestUnixStreamIsHandedOverWithoutLoss stops and replaces the input eight
// times while a program writes: Docker's lines survive a reload and a restart
// whose socket is kept.
func TestUnixStreamIsHandedOverWithoutLoss(t *testing.T) {
	const lines, stops = 30_000, 8
	sockets := listen.NewSockets()
	defer sockets.Close()
	sink := inputtest.NewSink()
	dir, conf := inputtest.Dir(t, "listen: unix://$DIR/log.sock")
	start := func() *inputtest.Running {
		return inputtest.Start(t, Kind, dir, conf, inputtest.Setup{Sockets: sockets, Sink: sink})
	}
	r := start()
	done := make(chan error, 1)
	go func() { done <- writer(t, dir+"/log.sock", lines) }()
	for i := 1; i <= stops; i++ {
		sink.Wait(t, i*lines/(stops+1)) // mid-run
		r.Stop(t)
		r = start()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	sink.Wait(t, lines)
	r.Stop(t)
	seen := make([]int, lines)
	for _, v := range sink.Records() {
		n, err := strconv.Atoi(string(v.Message()))
		if err != nil || n >= lines {
			t.Fatalf("got message %q", v.Message())
		}
		seen[n]++
	}
	lost, twice := 0, 0
	for _, n := range seen {
		if n == 0 {
			lost++
		} else if n > 1 {
			twice++
		}
	}
	if lost > 0 || twice > stops { // the line whose write was cut is written again
		t.Errorf("%d of %d lines lost, %d came twice", lost, lines, twice)
	}
}

// TestStopReadsWhatTheKernelHolds has senders write before the input reads:
// everything written before the stop is emitted.
func TestStopReadsWhatTheKernelHolds(t *testing.T) {
	f := func(url string) {
		t.Helper()
		dir, conf := inputtest.Dir(t, "listen: "+url)
		r := inputtest.Start(t, Kind, dir, conf, inputtest.Setup{})
		c := inputtest.Dial(t, r.URL(0), dir)
		line := []byte("<13>1 - vm app - - - line\n")
		n := 1
		c.Write(line)
		r.Sink.Wait(t, 1) // the connection is being served
		for range 200 {   // 200 datagrams fit the queue of no unix socket, so that some must be read
			if _, err := c.Write(line); err != nil {
				t.Fatal(err)
			}
			n++
		}
		// One more connection that nobody may have accepted yet.
		if !strings.HasSuffix(strings.Split(url, ":")[0], "p") || strings.HasPrefix(url, "tcp") {
			d := inputtest.Dial(t, r.URL(0), dir)
			d.Write(line)
			n++
		}
		began := time.Now()
		r.Stop(t)
		if took := time.Since(began); took > soon {
			t.Errorf("%s: stopping took %s, want at most %s", url, took, soon)
		}
		if got := r.Sink.Len(); got != n {
			t.Errorf("%s: got %d records, want %d", url, got, n)
		}
	}
	f("tcp://127.0.0.1:0")
	f("udp://127.0.0.1:0")
	f("unix://$DIR/s")
	f("unixgram://$DIR/g")
}

// TestStopKeepsAPartOfALine: what a sender had written of a line is a record, flagged.
func TestStopKeepsAPartOfALine(t *testing.T) {
	f := func(url string, want record.Flags) {
		t.Helper()
		dir, conf := inputtest.Dir(t, "listen: "+url+"\n#server.pem")
		if strings.HasPrefix(url, "tls") {
			conf += "\ntls: {cert: server.pem, key: server.key}"
		}
		r := inputtest.Start(t, Kind, dir, conf, inputtest.Setup{})
		c := inputtest.Dial(t, r.URL(0), dir)
		io.WriteString(c, "<13>1 - vm app - - - whole\n<13>1 - vm app - - - ha")
		r.Sink.Wait(t, 1)
		r.Stop(t)
		got := r.Sink.Records()
		if len(got) != 2 || string(got[1].Message()) != "ha" || got[1].Flags() != want {
			t.Errorf("%s: got %d records, want the half line with %v", url, len(got), want.Names())
		}
	}
	f("tcp://127.0.0.1:0", record.Partial)
	f("tls://127.0.0.1:0", record.Partial)
	f("unix://$DIR/s", 0) // shut for the writer, which looks like its close
}

// TestStopIsBoundedWithATalkativePeer: a sender that never pauses does not keep us.
func TestStopIsBoundedWithATalkativePeer(t *testing.T) {
	r := inputtest.Start(t, Kind, t.TempDir(), "listen: tcp://127.0.0.1:0", inputtest.Setup{Sink: inputtest.NewCounter()})
	c := inputtest.Dial(t, r.URL(0), "")
	var wg sync.WaitGroup
	wg.Go(func() {
		lines := bytes.Repeat([]byte("<13>1 - vm app - - - line\n"), 1000)
		for {
			if _, err := c.Write(lines); err != nil {
				return
			}
		}
	})
	r.Sink.Until(t, "a busy sender", func() bool { return true })
	r.Sink.Wait(t, 10_000)
	began := time.Now()
	r.Stop(t)
	if took := time.Since(began); took > soon {
		t.Errorf("stopping took %s, want at most %s", took, soon)
	}
	wg.Wait()
}

// TestUnsettledBatchesDoNotStopReading: with nothing settled a connection goes
// on to maxInFlight, then waits, and goes on when the store answers.
func TestUnsettledBatchesDoNotStopReading(t *testing.T) {
	r := inputtest.Start(t, Kind, t.TempDir(), "listen: tcp://127.0.0.1:0", inputtest.Setup{})
	release := r.Sink.Hold()
	c := inputtest.Dial(t, r.URL(0), "")
	const n, size = 12, 1 << 20
	sent := make(chan error, 1)
	go func() {
		for range n {
			if _, err := fmt.Fprintf(c, "<13>1 - vm app - - - %s\n", strings.Repeat("x", size-100)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	r.Sink.Wait(t, maxInFlight/size+1)
	if got := r.Sink.Len(); got > maxInFlight/size+1 {
		t.Errorf("got %d records of 1 MiB unsettled, want %d", got, maxInFlight/size+1)
	}
	release()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	r.Sink.Wait(t, n)
}

// held is a receipt that is fulfilled when its channel is closed.
type held chan struct{}

func (h held) Wait(ctx context.Context) error {
	select {
	case <-h:
		return nil
	default:
	}
	select {
	case <-h:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestABatchThatIsStuckHoldsUpNobody: on a disk that takes nothing a batch may wait for
// hours, while what comes next is dropped; reading goes on past any number of those.
func TestABatchThatIsStuckHoldsUpNobody(t *testing.T) {
	dropped := make(held)
	f := func(name string, after held) {
		t.Run(name, func(t *testing.T) {
			stuck, batches := make(held), 0
			in := &Input{options: newOptions(), counters: newCounters(newSet(), "in"), unsettled: newSettling(), zone: time.UTC,
				emit: func(_ context.Context, b *record.Batch, _ ...inputs.Mark) (inputs.Receipt, error) {
					b.Release()
					if batches++; batches == 1 {
						return stuck, nil
					}
					return after, nil
				}}
			settled := make(chan struct{})
			go func() { in.runSettle(t.Context()); close(settled) }()
			read := make(chan struct{})
			c := in.newCollector(t.Context(), "")
			go func() {
				defer close(read)
				who := (&peers{}).unix("unix")
				for range 5000 {
					c.add([]byte("<13>1 - vm app - - - one"), 0, who)
					c.flush()
				}
			}()
			select {
			case <-read:
			case <-time.After(time.Minute):
				t.Fatalf("reading stands still behind %d batches", len(in.unsettled.batches))
			}
			close(stuck)
			if after != dropped {
				close(after)
			}
			in.unsettled.end()
			<-settled
			if batches != 5000 || c.inFlight.Load() != 0 {
				t.Errorf("got %d batches and %d bytes in flight, want 5000 and none", batches, c.inFlight.Load())
			}
		})
	}
	close(dropped)
	f("what comes next is dropped", dropped)
	f("what comes next is stuck too", make(held))
}

// TestLostRecordsAreCounted: what the pipeline does not take has a counter.
func TestLostRecordsAreCounted(t *testing.T) {
	r := inputtest.Start(t, Kind, t.TempDir(), "listen: tcp://127.0.0.1:0", inputtest.Setup{})
	r.Sink.Refuse(errors.New("the store has failed"))
	c := inputtest.Dial(t, r.URL(0), "")
	io.WriteString(c, "<13>1 - vm app - - - one\n<13>1 - vm app - - - two\n")
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c)
	if at := r.Input.Status()[0]; at.LastError != "records are lost: the store has failed" {
		t.Errorf("status says %q", at.LastError)
	}
	r.Stop(t)
	counted(t, r, `runnel_input_dropped_total{input="in",reason="not_taken"}`, 2)
}

// TestReceiptThatNeverComes does not keep Run from returning.
func TestReceiptThatNeverComes(t *testing.T) {
	r := inputtest.Start(t, Kind, t.TempDir(), "listen: tcp://127.0.0.1:0", inputtest.Setup{})
	r.Sink.Hold()
	c := inputtest.Dial(t, r.URL(0), "")
	io.WriteString(c, "<13>1 - vm app - - - one\n")
	r.Sink.Wait(t, 1)
	began := time.Now()
	r.Stop(t)
	if took := time.Since(began); took > soon {
		t.Errorf("stopping took %s, want at most %s", took, soon)
	}
	counted(t, r, `runnel_input_errors_total{input="in",reason="outcome_unknown"}`, 1)
}

// TestNewGivesBackWhatItTook: if the second address is taken, the first is free again.
func TestNewGivesBackWhatItTook(t *testing.T) {
	sockets := listen.NewSockets()
	defer sockets.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conf := "listen: [udp://127.0.0.1:0, tcp://" + l.Addr().String() + "]"
	_, err = Kind.New(inputtest.Options(t, Kind, "", conf), inputs.Setup{Name: "in", Emit: nil, Sockets: sockets, Metrics: metrics.NewSet(), Log: zerolog.Nop()})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("got %v, want the address in use", err)
	}
	c, err := sockets.Packet("udp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := c.LocalAddr().String()
	c.Close()
	sockets.Sweep()
	again, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatalf("the UDP socket is still held: %v", err)
	}
	again.Close()
}
