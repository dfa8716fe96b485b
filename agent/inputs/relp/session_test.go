package relp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/relp"
	"github.com/runnel-log/runnel/record"
)

const plain = "listen: tcp://127.0.0.1:0"

// numbered returns messages from one number to another, exclusive.
func numbered(from, to int) (messages []string) {
	for i := from; i < to; i++ {
		messages = append(messages, fmt.Sprintf("<13>1 - vm app - - - %d", i))
	}
	return messages
}

func counted(t *testing.T, r *inputtest.Running, name string, want float64) {
	t.Helper()
	name = strings.Replace("runnel_input_"+name, "{", `{input="in",`, 1)
	if !strings.Contains(name, "{") {
		name += `{input="in"}`
	}
	if got := r.Count(name); got != want {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

// A whole window comes in before anything is answered, and is answered in order
// once it is on disk.
func TestAnsweredOnlyAfterTheCommit(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, 0)
	release := r.Sink.Hold()
	first := c.send(numbered(0, 64)...)
	c.send(numbered(64, 128)...)
	r.Sink.Wait(t, 128)
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if txnr, _, err := c.tryAnswer(); err == nil {
		t.Fatalf("transaction %d is answered before its commit", txnr)
	}
	_ = c.SetReadDeadline(time.Now().Add(inputtest.Patience))
	release()
	c.answers(first, 128)
	c.command(relp.Close)
	c.answers(first+128, 1)
	c.ends()
	counted(t, r, "records_total", 128)
	counted(t, r, "errors_total{reason=\"protocol\"}", 0)
}

// Batches are answered as they are committed, not when the last one is.
func TestLaterBatchesDoNotHoldUpAnswers(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, 0)
	one := r.Sink.Hold()
	first := c.send(numbered(0, 1)...)
	r.Sink.Wait(t, 1)
	two := r.Sink.Hold()
	c.send(numbered(1, 2)...)
	r.Sink.Wait(t, 2)
	one()
	c.answers(first, 1)
	two()
	c.answers(first+1, 1)
}

// A full window of ours stops reading, and no more.
func TestWindowBoundsWhatIsOpen(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain+"\nwindow: 10", inputtest.Setup{})
	c := dial(t, r, 0)
	release := r.Sink.Hold()
	first := c.send(numbered(0, 1000)...)
	r.Sink.Wait(t, 10)
	if got := r.Sink.Len(); got != 10 {
		t.Errorf("%d messages are open, want 10", got)
	}
	release()
	c.answers(first, 1000)
}

// What the pipeline does not take is never answered, and the connection ends; what
// came before is, and the client's next try succeeds once there is room.
func TestRefusedIsNotAnswered(t *testing.T) {
	kind := with(func(o *Options) { o.patience = usualPatience; o.patience.pause = time.Millisecond })
	r := inputtest.Start(t, kind, "", plain, inputtest.Setup{})
	c := dial(t, r, 0)
	release := r.Sink.Hold()
	first := c.send(numbered(0, 5)...)
	r.Sink.Wait(t, 5)
	r.Sink.Refuse(errors.New("store is full"))
	c.send(numbered(5, 9)...)
	release()
	c.answers(first, 5)
	c.ends()
	counted(t, r, "unanswered_total{reason=\"not_taken\"}", 4)
	if got := r.Input.Status()[0]; !strings.Contains(got.LastError, "store is full") || time.Since(got.LastErrorAt) > time.Minute {
		t.Errorf("status says %+v", got)
	}
	r.Sink.Refuse(nil)
	again := dial(t, r, 0)
	again.answers(again.send(numbered(5, 9)...), 4)
	if got := r.Sink.Len(); got != 9 {
		t.Errorf("%d records, want 9", got)
	}
}

// unknown is a receipt of which nobody knows what became.
type unknown struct{}

func (unknown) Wait(context.Context) error { return errors.New("outcome unknown") }

// After a commit of which nothing is known nothing is answered, also what a later one stored.
func TestUnknownOutcomeIsNotAnswered(t *testing.T) {
	var fail atomic.Bool
	k := Kind
	k.New = func(o config.Options, s inputs.Setup) (inputs.Input, error) {
		emit := s.Emit
		s.Emit = func(ctx context.Context, b *record.Batch, marks ...inputs.Mark) (inputs.Receipt, error) {
			receipt, err := emit(ctx, b, marks...)
			if fail.Swap(false) {
				return unknown{}, err
			}
			return receipt, err
		}
		return Kind.New(o, s)
	}
	r := inputtest.Start(t, k, "", plain, inputtest.Setup{})
	c := dial(t, r, 0)
	c.answers(c.send(numbered(0, 3)...), 3)
	fail.Store(true)
	c.send(numbered(3, 6)...)
	c.ends()
	counted(t, r, "unanswered_total{reason=\"outcome_unknown\"}", 3)
}

// A stop answers what is committed, says so, and leaves the rest to the client;
// over many of them nothing is lost, and nothing that was answered is repeated.
func TestStopsLoseNothing(t *testing.T) {
	const messages, stops, window = 20_000, 6, 128
	for _, url := range []string{"tcp://127.0.0.1:0", "unix://$DIR/s"} {
		sockets := listen.NewSockets()
		sink := inputtest.NewSink()
		dir, conf := inputtest.Dir(t, "listen: "+url)
		memory := new(inputs.Memory)
		start := func() *inputtest.Running {
			return inputtest.Start(t, Kind, dir, conf, inputtest.Setup{Sockets: sockets, Sink: sink, Memory: memory})
		}
		r := start()
		at := r.URL(0)
		acked, open := 0, 0 // messages; without an answer at a break
		done := make(chan struct{})
		go func() {
			defer close(done)
			for acked < messages {
				c, err := inputtest.TryDial(at, dir, nil)
				if err != nil {
					continue // the socket is kept, but its queue may be full
				}
				s := newClient(t, c)
				next := acked
				for err = s.tryOpen(); err == nil && acked < messages; {
					if next < messages && next-acked < window {
						to := min(messages, acked+window)
						s.send(numbered(next, to)...)
						next = to
					}
					if _, _, err = s.tryAnswer(); err == nil {
						acked++
					}
				}
				open += next - acked
				c.Close()
			}
		}()
		for i := 1; i <= stops; i++ {
			sink.Wait(t, i*messages/(stops+1))
			r.Stop(t)
			r = start()
		}
		<-done
		r.Stop(t)
		next, again := 0, 0
		for _, v := range sink.Records() {
			n, err := strconv.Atoi(string(v.Message()))
			switch {
			case err != nil || n > next:
				t.Fatalf("%s: %q came where %d was due", url, v.Message(), next)
			case n < next:
				again++
			default:
				next++
			}
		}
		if next != messages || again > 0 {
			t.Errorf("%s: %d messages of %d, %d came twice, %d had no answer at %d stops", url, next, messages, again, open, stops)
		}
		sockets.Close()
	}
}

// A stop does not wait for a commit that never comes, nor answers it.
func TestStopIsBounded(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, 0)
	r.Sink.Hold()
	c.send(numbered(0, 3)...)
	r.Sink.Wait(t, 3)
	began := time.Now()
	r.Stop(t)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("stopping took %s", took)
	}
	c.ends()
	counted(t, r, "unanswered_total{reason=\"outcome_unknown\"}", 3)
}

// What a client repeats after a break is stored again and flagged; what is new is not.
func TestRepetitionsAreFlagged(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, 0)
	c.answers(c.send(numbered(0, 300)...), 300)
	c.Close() // without a close command: the client may not have seen the answers
	r.Sink.Until(t, "the break", func() bool { return true })
	waitFor(t, "the connection's end", func() bool { return r.Input.Status()[0].Connections == 0 })
	other := dial(t, r, 0) // not one that repeats
	other.answers(other.send("<13>1 - vm app - - - another"), 1)
	again := dial(t, r, 0)
	again.answers(again.send(numbered(250, 310)...), 60)
	again.answers(again.send(numbered(250, 251)...), 1) // it is repeated once
	records := r.Sink.Wait(t, 362)
	for i, v := range records {
		want := i > 300 && i <= 350
		if got := v.Flags()&record.Duplicate != 0; got != want {
			t.Errorf("record %d, %q, is flagged: %v, want %v", i, v.Message(), got, want)
		}
	}
	counted(t, r, "duplicates_total", 50)

	clean := dial(t, r, 0)
	clean.answers(clean.send(numbered(900, 910)...), 10)
	clean.command(relp.Close)
	clean.answers(clean.next-1, 1)
	clean.ends()
	last := dial(t, r, 0)
	last.answers(last.send(numbered(900, 910)...), 10)
	counted(t, r, "duplicates_total", 50)
}

// waitFor waits for a condition that nobody announces.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	late := time.After(inputtest.Patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestTransactionNumbersWrap(t *testing.T) {
	r := inputtest.Start(t, with(func(o *Options) { o.first = relp.MaxTxnr - 5 }), "", plain, inputtest.Setup{})
	c := newClient(t, inputtest.Dial(t, r.URL(0), ""))
	c.next = relp.MaxTxnr - 5
	if err := c.tryOpen(); err != nil {
		t.Fatal(err)
	}
	c.answers(c.send(numbered(0, 20)...), 20)
	if c.next != 16 {
		t.Errorf("the next transaction is %d, want 16", c.next)
	}
}

// Whoever breaks the protocol or a bound loses its connection, and nobody else does.
func TestHostileClients(t *testing.T) {
	quick := patience{open: 100 * time.Millisecond, frame: 100 * time.Millisecond, quiet: time.Second, write: time.Second, emit: time.Second, pause: time.Millisecond}
	r := inputtest.Start(t, with(func(o *Options) { o.patience = quick }), "", plain+"\nmax_message: 480", inputtest.Setup{})
	good := dial(t, r, 0)
	const offers = "relp_version=0\ncommands=syslog"
	opened := "1 open 30 " + offers + "\n"
	f := func(bytes string, counter string) {
		t.Helper()
		before := r.Count(`runnel_input_errors_total{input="in",reason="` + counter + `"}`)
		c := newClient(t, inputtest.Dial(t, r.URL(0), ""))
		c.reader.Allow(0, 0)
		c.Write([]byte(bytes))
		if strings.HasPrefix(bytes, opened) {
			c.answers(1, 1)
		}
		c.ends()
		c.Close()
		waitFor(t, "its count", func() bool {
			return r.Count(`runnel_input_errors_total{input="in",reason="`+counter+`"}`) == before+1
		})
	}
	f("1 open 12 relp_version\n", "protocol") // librelp's invalid-open.py
	values := "commands=" + strings.Repeat("syslog,", 64) + "syslog"
	f(fmt.Sprintf("1 open %d relp_version=0\n%s\n", len(values)+15, values), "protocol")
	f("1 open 14 relp_version=0\n", "protocol")
	f("1 open 0\n", "protocol")
	f("1 open 70000 ", "protocol")
	f("1 syslog 2 hi\n", "protocol")
	f("1 close 0\n2 close 0\n", "protocol")
	f("2 open 30 "+offers+"\n", "protocol")
	f("<13>1 - - - - - - plain syslog\n", "protocol")
	f("GET / HTTP/1.1\r\n\r\n", "protocol")
	f("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "protocol")
	f(opened+"3 syslog 2 hi\n", "protocol")
	f(opened+"1 syslog 2 hi\n", "protocol")
	f(opened+"2 open 30 "+offers+"\n", "protocol")
	f(opened+"2 rsp 6 200 OK\n", "protocol")
	f(opened+"2 starttls 0\n", "protocol")
	f(opened+"2 eventlog 2 hi\n", "protocol")
	f(opened+"0 syslog 2 hi\n", "protocol")
	f(opened+"2 syslog 67108865 ", "protocol") // one more than 64 MiB
	f(opened+"2 syslog 999999999 ", "protocol")
	f(opened+"2 syslog 99999999999999999999 ", "protocol")
	f(opened+"2 syslog 3 hi\n", "slow") // waits for one byte more
	f(opened+"2 syslog 2 hi!\n", "protocol")
	f(opened+"2 "+strings.Repeat("x", 1<<20), "protocol")
	f("", "slow")
	f("1 ope", "slow")
	f(opened+"2 sys", "slow")
	good.answers(good.send("<13>1 - vm app - - - still here"), 1)
	if got := r.Sink.Len(); got != 1 {
		t.Errorf("%d records, want 1", got)
	}
}

// What came before an error is stored and answered.
func TestWhatPrecedesAnErrorIsAnswered(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, 0)
	wire := relp.AppendFrame(nil, 2, relp.Syslog, []byte("one"))
	wire = relp.AppendFrame(wire, 3, relp.Syslog, []byte("two"))
	c.Write(append(wire, "nonsense"...))
	c.answers(2, 2)
	c.ends()
	if got := r.Sink.Len(); got != 2 {
		t.Errorf("%d records, want 2", got)
	}
}

// A client that trickles bytes is closed though each comes in time.
func TestTricklingIsTooSlow(t *testing.T) {
	quick := usualPatience
	quick.frame = 100 * time.Millisecond
	r := inputtest.Start(t, with(func(o *Options) { o.patience = quick }), "", plain, inputtest.Setup{})
	c := dial(t, r, 0)
	c.Write([]byte("2 syslog 100000 "))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		if _, err := c.Write([]byte("x")); err != nil {
			break
		}
		if time.Since(began) > inputtest.Patience {
			t.Fatal("the connection is still open")
		}
	}
	counted(t, r, "errors_total{reason=\"slow\"}", 1)
}

func TestConnectionsAreBounded(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain+"\nmax_connections: 2", inputtest.Setup{})
	one, two := dial(t, r, 0), dial(t, r, 0)
	third := newClient(t, inputtest.Dial(t, r.URL(0), ""))
	third.ends()
	counted(t, r, "denied_total{reason=\"max_connections\"}", 1)
	one.answers(one.send("<13>1 - vm app - - - one"), 1)
	two.answers(two.send("<13>1 - vm app - - - two"), 1)
	one.command(relp.Close)
	one.answers(one.next-1, 1)
	one.ends()
	waitFor(t, "room", func() bool { return r.Input.Status()[0].Connections == 1 })
	dial(t, r, 0)
}

// Many half messages use up the budget, not the memory; who waits for room goes on when there is some.
func TestHalfMessagesShareABudget(t *testing.T) {
	r := inputtest.Start(t, with(func(o *Options) { o.patience = usualPatience }), "", plain+"\nmax_message: 1MiB", inputtest.Setup{})
	in := r.Input.(*Input)
	in.budget.take(totalBuffers-1<<20, t) // as if others had it
	message := "<13>1 - vm app - - - " + strings.Repeat("x", 900_000)
	var wg sync.WaitGroup
	for range 4 {
		c := dial(t, r, 0)
		wg.Go(func() { c.answers(c.send(message), 1) })
	}
	wg.Wait()
	in.budget.mu.Lock()
	left := in.budget.left
	in.budget.mu.Unlock()
	if left > 1<<20 {
		t.Errorf("%d bytes are left of the budget, want no more than there were", left)
	}
	if got := r.Sink.Len(); got != 4 {
		t.Errorf("%d records, want 4", got)
	}
}

// A peer that closes its half still gets its answers.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, 0)
	first := c.send(numbered(0, 10)...)
	c.Conn.(*net.TCPConn).CloseWrite()
	c.answers(first, 10)
}

func TestTailKeepsTheLast(t *testing.T) {
	var x tail
	for i := range uint64(2500) {
		x.add([]uint64{i})
	}
	got := x.list()
	if len(got) != remembered || got[0] != 2500-remembered || got[remembered-1] != 2499 || !slices.IsSorted(got) {
		t.Errorf("the tail has %d from %d to %d", len(got), got[0], got[len(got)-1])
	}
}
