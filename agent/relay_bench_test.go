package agent

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// BenchmarkMiddleTier is an agent in a process of its own with a relay input and a relay forwarder, between a
// sender and a receiver that are scripted and cost little. Records are of 300 bytes; a third of each is
// random (mixed), or all of it repeats (even). cpu-s/M is the agent's alone, of user and system; msg/s is also bound
// by the disk and by what the other processes leave.
//
//	go test ./agent -run - -bench MiddleTier -benchtime 4000x
func BenchmarkMiddleTier(b *testing.B) {
	b.Run("mixed", func(b *testing.B) { benchmarkMiddle(b, 90) })
	b.Run("even", func(b *testing.B) { benchmarkMiddle(b, 0) })
}

func benchmarkMiddle(b *testing.B, random int) {
	dir, err := os.MkdirTemp("", "runnel-bench")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	above, err := net.Listen("unix", filepath.Join(dir, "above"))
	if err != nil {
		b.Fatal(err)
	}
	defer above.Close()
	up := &taken{moved: make(chan struct{}, 1)}
	go up.runTake(above)
	config := fmt.Sprintf("inputs: {in: {type: relay, listen: 'unix://%[1]s/below'}}\nforwarders: {up: {type: relay, from: ['*'], to: 'unix://%[1]s/above'}}\n", dir)
	if err := os.WriteFile(filepath.Join(dir, childConfig), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	ctx, kill := context.WithCancel(b.Context())
	defer kill()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), childDir+"="+dir), os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "listening ") {
		b.Fatalf("the child said %q", lines.Text())
	}
	go func() {
		for lines.Scan() { //nolint:revive // or it would block on its output
		}
	}()
	s := newFeeder(b, filepath.Join(dir, "below"), random)
	cpu, began := cpuOf(cmd.Process.Pid), time.Now()
	b.ReportAllocs() // the scripts', of which there are none to speak of
	for b.Loop() {
		s.frame()
	}
	deadline := time.After(time.Minute)
	for up.records.Load() < int64(s.sent) {
		select {
		case <-up.moved:
		case <-deadline:
			b.Fatalf("%d of %d records have arrived", up.records.Load(), s.sent)
		}
	}
	b.ReportMetric(float64(s.sent)/time.Since(began).Seconds(), "msg/s")
	b.ReportMetric((cpuOf(cmd.Process.Pid)-cpu).Seconds()/float64(s.sent)*1e6, "cpu-s/M")
	kill()
	cmd.Wait() //nolint:errcheck // it was killed
}

// feeder is a sender whose frames are all the same but for their numbers.
type feeder struct {
	b      *testing.B
	c      net.Conn
	data   relaywire.Data
	last   record.View
	buf    []byte
	sent   uint64
	credit chan struct{} // as many frames may be on their way
}

func newFeeder(b *testing.B, path string, random int) *feeder {
	b.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	s := &feeder{b: b, c: c, credit: make(chan struct{}, 64)}
	s.data.Line = relaywire.Line{Writer: relaywire.Writer{Agent: relaywire.Agent{7}, Epoch: 7}, Stream: "app"}
	records := new(record.Batch)
	words := strings.Repeat("GET /api/v2/items served from cache after ", 10)
	for i := range record.BatchRecords {
		var r record.Record
		r.Reset()
		r.Received = time.Now().UnixNano()
		for n := range random / 16 {
			r.Message = fmt.Appendf(r.Message, "%016x", (uint64(i)<<8+uint64(n)+1)*0x9E3779B97F4A7C15)
		}
		r.Message = append(r.Message, words[:240-len(r.Message)]...) // and 60 bytes of header
		if err := records.Append(&r); err != nil {
			b.Fatal(err)
		}
	}
	s.data.Payload, s.data.Raw = s2.Encode(nil, records.Bytes()), uint32(records.Size())
	s.last = records.At(records.Len() - 1)
	s.data.To = 1
	s.say(&relaywire.Hello{Writer: s.data.Writer, Versions: [2]uint16{relaywire.Version, relaywire.Version}, Name: "below"})
	s.say(&relaywire.Ask{Stream: "app", Epoch: 7, Parts: relaywire.Ranges{{From: 1, To: 1<<64 - 1}}})
	go s.hear()
	return s
}

func (s *feeder) say(m relaywire.Message) {
	s.buf = relaywire.Append(s.buf[:0], m)
	if _, err := s.c.Write(s.buf); err != nil {
		s.b.Fatal(err)
	}
}

// hear gives back what is acknowledged.
func (s *feeder) hear() {
	r := relaywire.NewReader(s.c)
	for acked := uint64(0); ; {
		m, err := r.Next()
		if err != nil {
			return
		}
		if a, ok := m.(*relaywire.Ack); ok {
			for ; acked < a.Number; acked++ {
				<-s.credit
			}
		}
	}
}

// frame sends the next.
func (s *feeder) frame() {
	s.credit <- struct{}{}
	d := &s.data
	d.Number++
	d.From, d.To = d.To, d.To+record.BatchRecords
	d.Offsets = append(d.Offsets[:0], d.Range)
	d.Sum = relaywire.Sum(d.To-1, s.last)
	s.say(d)
	s.sent += record.BatchRecords
}

// taken is what a receiver has taken that had nothing and takes everything.
type taken struct {
	records atomic.Int64
	moved   chan struct{} // capacity 1: one word of it stands for any number
}

func (t *taken) runTake(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		r := relaywire.NewReader(c)
		for m, err := r.Next(); err == nil; m, err = r.Next() {
			var answer relaywire.Message
			switch m := m.(type) {
			case *relaywire.Hello:
				answer = &relaywire.Welcome{Version: relaywire.Version, Agent: relaywire.Agent{9}, Session: 1, Credit: 32 << 20}
			case *relaywire.Ask:
				answer = &relaywire.Tell{Stream: m.Stream, Epoch: m.Epoch, Missing: m.Parts}
			case *relaywire.Data:
				answer = &relaywire.Ack{Number: m.Number}
				t.records.Add(int64(relaywire.Range{From: m.Offsets[0].From, To: m.Offsets.End()}.Len()))
				select {
				case t.moved <- struct{}{}:
				default:
				}
			case *relaywire.Report:
				answer = new(relaywire.Path)
			default:
				continue
			}
			if _, err := c.Write(relaywire.Append(nil, answer)); err != nil {
				break
			}
		}
		c.Close()
	}
}
