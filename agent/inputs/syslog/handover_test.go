package syslog

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/systemd"
	"github.com/runnel-log/runnel/internal/systemd/systemdtest"
	"github.com/runnel-log/runnel/record"
)

// process is one process after another, each with the input and what the manager hands it.
type process struct {
	keeper    *systemdtest.Manager
	sink      *inputtest.Sink
	dir, conf string
	sockets   *listen.Sockets
	*inputtest.Running
}

func startProcess(t *testing.T, room int, conf string) *process {
	t.Helper()
	p := &process{keeper: systemdtest.Start(t, room), sink: inputtest.NewSink()}
	p.keeper.Setenv(t)
	p.dir, p.conf = inputtest.Dir(t, conf)
	p.start(t)
	return p
}

func (p *process) start(t *testing.T) {
	t.Helper()
	m := systemd.Find()
	t.Cleanup(m.Close)
	p.sockets = listen.Kept(m, p.keeper.Handed(t))
	p.Running = inputtest.Start(t, Kind, p.dir, p.conf, inputtest.Setup{Sockets: p.sockets, Sink: p.sink})
	if closed := p.sockets.Settle(); closed != nil {
		t.Errorf("nobody took %q", closed)
	}
}

// end ends the process, and with it every descriptor that it had.
func (p *process) end(t *testing.T) {
	t.Helper()
	p.sockets.Ending()
	p.Stop(t)
	if err := p.sockets.Close(); err != nil {
		t.Error(err)
	}
}

// numbers wants the messages 0 to n-1, each once and in order.
func (p *process) numbers(t *testing.T, n int) {
	t.Helper()
	for i, v := range p.sink.Records() {
		if got := string(v.Message()); got != strconv.Itoa(i) || v.Flags()&(record.Partial|record.Malformed|record.Truncated) != 0 {
			t.Fatalf("record %d is %q with %v", i, got, v.Flags().Names())
		}
	}
	if got := p.sink.Len(); got != n {
		t.Errorf("got %d records, want %d", got, n)
	}
}

// TestTCPConnectionsOutliveTheProcess replaces the process eight times under a
// sender that writes on one connection, in pieces that end inside messages, and
// would notice if it were closed. Each line arrives once, in order, and whole.
func TestTCPConnectionsOutliveTheProcess(t *testing.T) {
	const lines, stops = 20_000, 8
	p := startProcess(t, 10, "listen: tcp://127.0.0.1:0")
	c := inputtest.Dial(t, p.URL(0), "")
	sent := make(chan error, 1) // its one value
	go func() {
		var piece []byte
		for i := range lines {
			line := fmt.Sprintf("<30>1 - vm app - - - %d", i)
			if i%3 == 0 {
				piece = fmt.Appendf(piece, "%d %s", len(line), line) // octet counting and line feeds mixed
			} else {
				piece = append(append(piece, line...), '\n')
			}
			if n := 7 + i%61; len(piece) > n {
				if _, err := c.Write(piece[:n]); err != nil {
					sent <- fmt.Errorf("line %d: %w", i, err)
					return
				}
				piece = piece[n:]
			}
		}
		_, err := c.Write(piece)
		sent <- err
	}()
	for i := range stops {
		p.sink.Wait(t, (i+1)*lines/(stops+1)) // mid-run
		p.end(t)
		p.start(t)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	p.sink.Wait(t, lines)
	p.end(t)
	p.numbers(t, lines)
}

// TestHalfAMessageIsPassedOn: also where its sender says nothing for a while, and
// in the middle of what is too long and being skipped.
func TestHalfAMessageIsPassedOn(t *testing.T) {
	p := startProcess(t, 10, "listen: tcp://127.0.0.1:0\nmax_message: 480")
	half, long := inputtest.Dial(t, p.URL(0), ""), inputtest.Dial(t, p.URL(0), "")
	io.WriteString(half, "<30>1 - vm app - - - first\n<30>1 - vm app - - - ha")
	p.sink.Wait(t, 1)
	io.WriteString(long, "<30>1 - vm app - - - "+strings.Repeat("x", 2000))
	p.sink.Wait(t, 2) // cut; the rest of it is being skipped
	for range 3 {
		p.end(t)
		p.start(t)
	}
	io.WriteString(half, "lf\n")
	p.sink.Wait(t, 3)
	io.WriteString(long, "yyy\n<30>1 - vm app - - - next\n")
	p.sink.Wait(t, 4)
	p.end(t)
	got := p.sink.Records()
	for i, want := range []string{"half", "next"} {
		if v := got[i+2]; string(v.Message()) != want || v.Flags() != 0 {
			t.Errorf("got %q with %v, want %q", v.Message(), v.Flags().Names(), want)
		}
	}
}

// TestWaitingConnectionsAreLeftToTheNextProcess: what the kernel has accepted and
// we have not is served, not closed.
func TestWaitingConnectionsAreLeftToTheNextProcess(t *testing.T) {
	p := startProcess(t, 10, "listen: tcp://127.0.0.1:0")
	url := p.URL(0)
	p.end(t)
	for i := range 5 {
		c := inputtest.Dial(t, url, "")
		fmt.Fprintf(c, "<30>1 - vm app - - - %d\n", i)
	}
	p.start(t)
	p.sink.Wait(t, 5)
	p.end(t)
	if got := p.sink.Len(); got != 5 {
		t.Errorf("got %d records, want 5", got)
	}
}

// TestConnectionsBeyondTheRoomAreDrained: what was written before the stop is
// there, and the sender sees the end.
func TestConnectionsBeyondTheRoomAreDrained(t *testing.T) {
	p := startProcess(t, 3, "listen: tcp://127.0.0.1:0") // the socket's, and one connection's two
	conns := []net.Conn{inputtest.Dial(t, p.URL(0), ""), inputtest.Dial(t, p.URL(0), ""), inputtest.Dial(t, p.URL(0), "")}
	for i, c := range conns {
		io.WriteString(c, "<30>1 - vm app - - - one\n<30>1 - vm app - - - ha")
		p.sink.Wait(t, i+1)
	}
	p.end(t)
	partial := 0
	for _, v := range p.sink.Records() {
		if v.Flags()&record.Partial != 0 && string(v.Message()) == "ha" {
			partial++
		}
	}
	if partial != 2 {
		t.Errorf("%d half lines were stored, want those of the two connections that ended", partial)
	}
	p.start(t)
	open := 0
	for _, c := range conns {
		if _, err := io.WriteString(c, "lf\n"); err != nil {
			continue
		}
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err != nil && strings.Contains(err.Error(), "timeout") {
			open++
		}
	}
	p.sink.Wait(t, 6)
	if last := p.sink.Records()[5]; open != 1 || string(last.Message()) != "half" {
		t.Errorf("%d connections are open, and the last record is %q; want 1 and half", open, last.Message())
	}
	p.end(t)
}

// TestDatagramsWaitForTheNextProcess: at a rate that the kernel's buffer holds
// none is lost, and none comes twice.
func TestDatagramsWaitForTheNextProcess(t *testing.T) {
	f := func(url string) {
		t.Run(strings.Split(url, ":")[0], func(t *testing.T) {
			const lines, stops = 2_000, 8
			p := startProcess(t, 10, "listen: "+url)
			c := inputtest.Dial(t, p.URL(0), p.dir)
			sent := make(chan error, 1) // its one value
			go func() {
				pace := time.NewTicker(time.Millisecond)
				defer pace.Stop()
				for i := range lines {
					if _, err := fmt.Fprintf(c, "<30>1 - vm app - - - %d", i); err != nil {
						sent <- err
						return
					}
					if i%10 == 9 {
						<-pace.C
					}
				}
				sent <- nil
			}()
			for i := range stops {
				p.sink.Wait(t, (i+1)*lines/(stops+2))
				p.end(t)
				p.start(t)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			p.sink.Wait(t, lines)
			p.end(t)
			p.numbers(t, lines)
		})
	}
	f("udp://127.0.0.1:0")
	f("unixgram://$DIR/g")
}

// TestDropsBeforeAreCounted: what the kernel drops while no process reads is seen
// by the next one.
func TestDropsBeforeAreCounted(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // nobody else counts
	}
	p := startProcess(t, 10, "listen: udp://127.0.0.1:0\nmax_message: 480")
	url := p.URL(0)
	p.end(t)
	c := inputtest.Dial(t, url, "")
	const sent = 800
	message := "<30>1 - vm app - - - " + strings.Repeat("x", 50_000) // 40 MB: no buffer that we ask for holds that
	for range sent {
		if _, err := io.WriteString(c, message); err != nil {
			t.Fatal(err)
		}
	}
	p.start(t)
	p.sink.Wait(t, 1)
	drops := int(p.Count(`runnel_input_kernel_drops_total{input="in"}`))
	if drops == 0 || drops >= sent {
		t.Errorf("%d of %d datagrams are counted as dropped at the start", drops, sent)
	}
	p.sink.Wait(t, sent-drops)
	p.end(t)
	if got := p.sink.Len(); got+drops != sent {
		t.Errorf("%d arrived and %d were dropped, of %d", got, drops, sent)
	}
}
