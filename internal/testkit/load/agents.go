package main

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// crowd is agents that are connected to one relay input and have nothing to send. They come at once, without
// the back-off that real ones have.
type crowd struct {
	to    string
	conns []net.Conn

	mu      sync.Mutex
	longest time.Duration // until one was served; guarded by mu
	failed  error         // of the first that was not; guarded by mu
}

// come connects n agents at once, and returns when each has been welcomed, has asked for a line, and was
// answered.
func (c *crowd) come(n int) error {
	c.conns, c.longest, c.failed = make([]net.Conn, n), 0, nil
	began := time.Now()
	var wg sync.WaitGroup
	for i := range c.conns {
		wg.Go(func() {
			err := c.one(i)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.longest = max(c.longest, time.Since(began))
			if err != nil && c.failed == nil {
				c.failed = fmt.Errorf("agent %d: %w", i, err)
			}
		})
	}
	wg.Wait()
	return c.failed
}

func (c *crowd) one(i int) error {
	conn, err := net.DialTimeout("tcp", c.to, 30*time.Second)
	if err != nil {
		return err
	}
	c.conns[i] = conn
	r := relaywire.NewReader(conn)
	defer r.Close()
	w := relaywire.Writer{Agent: relaywire.Agent{1, byte(i), byte(i >> 8)}, Epoch: 1}
	for _, m := range []relaywire.Message{
		&relaywire.Hello{Writer: w, Versions: [2]uint16{relaywire.Version, relaywire.Version}, Name: fmt.Sprintf("host-%d", i)},
		&relaywire.Ask{Stream: "app", Epoch: 1, Parts: relaywire.Ranges{{From: 1, To: 1<<64 - 1}}},
		new(relaywire.Report),
	} {
		if _, err := conn.Write(relaywire.Append(nil, m)); err != nil {
			return err
		}
		answer, err := r.Next()
		if err != nil {
			return err
		}
		if refusal, ok := answer.(*relaywire.Nack); ok {
			return refusal
		}
	}
	return nil
}

func (c *crowd) leave() {
	for _, conn := range c.conns {
		if conn != nil {
			conn.Close() //nolint:errcheck // it is over
		}
	}
}

// idleAgents connects agents to central, has them all go and come again at once, and says what a
// connection costs in memory.
func (t *tiers) idleAgents(r *result, n int) error {
	if err := t.start(2); err != nil {
		return err
	}
	central := t.agents[2]
	settled := func() int64 { // what is there once nothing happens any more
		time.Sleep(5 * time.Second)
		now := result{}
		central.watch(&now)
		return now.PeakAnon
	}
	before, cpu := settled(), central.cpu()
	c := &crowd{to: t.o.inputs[2]}
	defer func() { c.leave() }()
	began := time.Now()
	if err := c.come(n); err != nil {
		return err
	}
	first := c.longest
	idle := settled()
	c.leave()
	if err := c.come(n); err != nil {
		return err
	}
	r.Sent, r.Arrived, r.CPU = 2*n, int64(2*n), central.cpu()-cpu
	central.watch(r)
	r.Seconds = time.Since(began).Seconds()
	r.Note = fmt.Sprintf("%d agents: %.1f KiB of RssAnon each; all served %v after they came at once, %v after they all came back", n,
		float64(idle-before)/1024/float64(n), first.Round(time.Millisecond), c.longest.Round(time.Millisecond))
	return nil
}
