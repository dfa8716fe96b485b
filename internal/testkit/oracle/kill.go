package oracle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Trial starts a relay, or a chain of them, kills one at random moments while senders
// send, starts it again each time, and judges what arrived in the end.
type Trial struct {
	Command []string // the relay that is sent to, in the foreground
	Behind  []Relay  // those that it delivers to, the nearest first
	Load    Load
	Receive string   // where the relay delivers to, as Listen has it; empty: Collect alone
	Collect []string // prints what has arrived, when the relay has ended; empty: Receive alone
	Kills   int
	Seed    uint64        // of the moments
	From    time.Duration // the least between readiness and a kill
	To      time.Duration // the most
	Settle  time.Duration // how long nothing more must arrive before it is judged
	Within  time.Duration // when it is judged at the latest after the last was sent
	Acked   string        // file that Sent is kept in; empty: none
	Arrived string        // the same of Arrived
	Output  io.Writer     // of the relay; nil: nowhere
	Said    func(format string, args ...any)
}

// Relay is one of a chain.
type Relay struct {
	Input   string // takes a connection when it is ready: a URL
	Command []string
}

// Outcome is what a trial has shown.
type Outcome struct {
	Verdict
	Kills   int             `json:"kills"`
	KillsOf []int           `json:"kills_of"` // of each relay of the chain
	Seed    uint64          `json:"seed"`
	Starts  []time.Duration `json:"-"`              // from exec until the input took a connection, shortest first
	Median  time.Duration   `json:"restart_median"` // of the starts after a kill, nanoseconds
	Longest time.Duration   `json:"restart_max"`    // likewise
	Drained bool            `json:"drained"`        // all that was sent was acknowledged in the end
	Settled bool            `json:"settled"`        // or records were still arriving when it was judged
}

// readyWithin is how long a relay may take to start.
const readyWithin = time.Minute

// Run runs the trial. It returns an error if that could not be done, not if records
// were lost; what it started has ended when it returns.
func (t *Trial) Run(ctx context.Context) (o Outcome, err error) {
	sent, err := NewSent(t.Acked)
	if err != nil {
		return o, err
	}
	arrived, err := NewArrived(t.Arrived)
	if err != nil {
		return o, errors.Join(err, sent.Close())
	}
	defer func() { err = errors.Join(err, sent.Close(), arrived.Close()) }()
	if t.Receive != "" {
		r, err := Listen(t.Receive, arrived)
		if err != nil {
			return o, err
		}
		defer r.Close()
	}
	o.Kills, o.Seed = t.Kills, t.Seed
	chain := append([]Relay{{t.Load.To(), t.Command}}, t.Behind...)
	running := make([]*process, len(chain))
	o.KillsOf = make([]int, len(chain))
	defer func() {
		for _, p := range running {
			if p != nil {
				p.kill()
			}
		}
	}()
	for i := len(chain) - 1; i >= 0; i-- { // what delivers comes last
		if running[i], err = t.start(ctx, chain[i], &o); err != nil {
			return o, err
		}
	}
	o.Starts = nil // those after a kill count
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	enough, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- Send(sending, t.Load, sent, enough) }()
	random := rand.New(rand.NewPCG(t.Seed, 0))
	for k := range t.Kills {
		select {
		case <-time.After(t.From + time.Duration(random.Int64N(int64(max(t.To-t.From, 1))))):
		case err := <-done:
			return o, fmt.Errorf("before kill %d: %w", k+1, err)
		}
		for _, p := range running {
			if p.hasEnded() {
				return o, fmt.Errorf("%s ended by itself: %w", p.cmd.Path, p.err)
			}
		}
		i := random.IntN(len(chain))
		o.KillsOf[i]++
		running[i].kill()
		if running[i], err = t.start(ctx, chain[i], &o); err != nil {
			return o, fmt.Errorf("after kill %d: %w", k+1, err)
		}
		n, _ := sent.Acknowledged()
		t.Said("kill %d of relay %d: %d acknowledged, %d arrived, up again after %v", k+1, i+1, n, arrived.Records(), o.Starts[len(o.Starts)-1].Round(time.Millisecond))
	}
	close(enough)
	err = <-done
	o.Drained = !errors.Is(err, ErrUndrained)
	if err != nil && o.Drained {
		return o, err
	}
	o.Settled = t.settle(ctx, arrived)
	for _, p := range running {
		p.stop()
	}
	if err := t.collect(ctx, arrived); err != nil {
		return o, err
	}
	o.Verdict = Judge(sent, arrived)
	o.measure()
	return o, nil
}

// measure sums up the starts.
func (o *Outcome) measure() {
	if len(o.Starts) > 0 {
		slices.Sort(o.Starts)
		o.Median, o.Longest = o.Starts[len(o.Starts)/2], o.Starts[len(o.Starts)-1]
	}
}

// settle waits until nothing has arrived for a while, and reports whether it came to that.
// Of a chain whose end is only read when it has ended nobody knows: it has that while.
func (t *Trial) settle(ctx context.Context, a *Arrived) bool {
	if t.Receive == "" {
		if len(t.Behind) > 0 {
			wait(ctx, t.Settle)
		}
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, t.Within)
	defer cancel()
	for before := a.Records(); ; {
		wait(ctx, t.Settle)
		now := a.Records()
		if ctx.Err() != nil || now == before {
			return ctx.Err() == nil
		}
		before = now
	}
}

func (t *Trial) collect(ctx context.Context, a *Arrived) error {
	if len(t.Collect) == 0 {
		return nil
	}
	cmd := exec.CommandContext(ctx, t.Collect[0], t.Collect[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	err = a.TakeLines(out)
	return errors.Join(err, cmd.Wait())
}

// process is a relay that runs.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	err   error         // set before that
}

// hasEnded reports whether it has, for whatever reason.
func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// start starts a relay and waits until its input takes a connection.
func (t *Trial) start(ctx context.Context, r Relay, o *Outcome) (*process, error) {
	begun := time.Now()
	cmd := exec.Command(r.Command[0], r.Command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // whatever it starts dies with it
	cmd.Stdout, cmd.Stderr = t.Output, t.Output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.err = cmd.Wait()
	}()
	network, address := inputOf(r.Input)
	for time.Since(begun) < readyWithin { // each round is a try to connect
		c, err := net.Dial(network, address)
		if err == nil {
			_ = c.Close() // it has shown what it should
			o.Starts = append(o.Starts, time.Since(begun))
			return p, nil
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("the relay does not start: %w", p.err)
		case <-ctx.Done():
			p.kill()
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	p.kill()
	return nil, fmt.Errorf("the relay has taken no connection at %s for %v", address, readyWithin)
}

// inputOf is what to dial of an address to send to.
func inputOf(url string) (network, address string) {
	scheme, address, _ := strings.Cut(url, "://")
	if strings.HasSuffix(scheme, "unix") {
		return "unix", address
	}
	address, _, _ = strings.Cut(address, "/")
	return "tcp", address
}

// kill ends the relay, and all that it has started, without a word.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	<-p.ended
}

// stop asks it to end.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
	}
	p.kill()
}

// Write writes the outcome for people.
func (o *Outcome) Write(w io.Writer) {
	o.Verdict.Write(w)
	fmt.Fprintf(w, "kills         %9d, seed %d\n", o.Kills, o.Seed)
	if len(o.KillsOf) > 1 {
		fmt.Fprintf(w, "of each relay %9s, in the order of the chain\n", fmt.Sprint(o.KillsOf))
	}
	fmt.Fprintf(w, "restart       %9v median, %v at most\n", o.Median.Round(time.Millisecond), o.Longest.Round(time.Millisecond))
	if !o.Settled {
		fmt.Fprintln(w, "records were still arriving when it was judged: of those that are missing some may have been on their way")
	}
	if !o.Drained {
		fmt.Fprintln(w, "at the end not everything sent was acknowledged in time")
	}
}
