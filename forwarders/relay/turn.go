package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/runnel-log/runnel/forwarders"
)

const (
	keepFirst = 2 * time.Second // between tries to connect, whatever waits, doubled each time; of thousands of agents not all come at once
	keepMost  = time.Minute
	sayAgain  = 10 * time.Minute // that nobody can be reached, while nothing waits
)

// connect returns the session under way, or makes one: with the receiver whose turn it is, or else with
// the next that can be reached.
func (f *Forwarder) connect(ctx context.Context) (*conn, error) {
	f.connecting.Lock()
	defer f.connecting.Unlock()
	f.mu.Lock()
	c := f.alive()
	f.mu.Unlock()
	if c != nil {
		return c, nil
	}
	if f.memory == nil {
		f.memory = newMemory(f.source, f.options)
		f.remembered.Store(f.memory)
	}
	var errs []error
	for range f.to {
		f.mu.Lock()
		u := f.to[f.at]
		f.mu.Unlock()
		c, err := f.reach(ctx, u)
		if err == nil {
			return c, nil
		}
		if errors.Is(err, errCopied) || ctx.Err() != nil || f.closing.Err() != nil {
			return nil, fmt.Errorf("%s: %w", u.url, err)
		}
		errs = append(errs, fmt.Errorf("%s: %w", u.url, err))
		f.mu.Lock()
		f.note(u.url, err)
		f.at = (f.at + 1) % len(f.to)
		f.mu.Unlock()
	}
	return nil, &forwarders.Unreached{Err: together(errs)}
}

// together makes one error of those of all receivers. Where one of them can be tried at any time, it does not
// matter how long the others ask to wait.
func together(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	var text []string
	var soonest *forwarders.Retry
	all := true
	for _, err := range errs {
		var retry *forwarders.Retry
		if text = append(text, err.Error()); !errors.As(err, &retry) {
			all = false
		} else if soonest == nil || retry.After < soonest.After {
			soonest = retry
		}
	}
	err := errors.New(strings.Join(text, "; "))
	if all {
		return &forwarders.Retry{After: soonest.After, Err: err}
	}
	return err
}

// reach makes a session with one receiver.
func (f *Forwarder) reach(ctx context.Context, u upstream) (*conn, error) {
	c, err := f.dial(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := f.take(ctx, c); err != nil {
		return nil, err
	}
	f.events.connected(u.url, c.welcome)
	f.mu.Lock()
	from, cause := f.used, f.failures[f.used].err
	f.used = u.url
	delete(f.failures, u.url)
	f.mu.Unlock()
	if from != u.url {
		f.events.turned(from, u.url, cause)
	}
	return c, nil
}

// failure is how a receiver failed last.
type failure struct {
	err error
	at  time.Time
}

// note notes a failure of a receiver; f.mu is held.
func (f *Forwarder) note(url string, err error) { f.failures[url] = failure{err, time.Now()} }

// Destinations returns the receivers, each with why it failed last.
func (f *Forwarder) Destinations() []forwarders.Destination {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]forwarders.Destination, len(f.to))
	for i := range f.to {
		all[i].URL = f.to[i].url
		if last, ok := f.failures[f.to[i].url]; ok {
			all[i].LastError, all[i].LastErrorAt = last.err.Error(), last.at
		}
	}
	return all
}

// failed is the error of a batch whose session has. The next try comes soon where this session took something, and
// where another receiver is next that has not failed since one did.
func (f *Forwarder) failed(c *conn, err error) error {
	if err = c.explain(err); c.broken() == nil || c.faultless() {
		return err
	}
	var retry *forwarders.Retry
	if len(f.to) == 1 && errors.As(err, &retry) {
		return err
	}
	acked, _ := c.wait(context.Background(), 0) // for nothing: how far it came
	f.mu.Lock()
	defer f.mu.Unlock()
	if acked > 0 || f.turns < len(f.to)-1 {
		return &forwarders.Soon{Err: err}
	}
	return err
}

// Keep keeps a session up while there is nothing to deliver, so that the receiver knows of
// this agent, and this one learns what the receiver has lost.
func (f *Forwarder) Keep(ctx context.Context, goBack func(*forwarders.Behind), up func(), down func(error, time.Duration)) {
	wait := pause(0, nil)
	var said time.Time // that nobody can be reached
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		c, err := f.connect(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			failed++
			wait = pause(failed, err)
			records, _, _, _ := f.source.Lag()
			if records == 0 && time.Since(said) >= sayAgain { // or else the agent says so of what waits
				said = time.Now()
				f.events.idleWithout(err, wait)
			}
			down(err, wait)
			continue
		}
		failed, wait, said = 0, pause(0, nil), time.Time{}
		for _, behind := range c.behindFirst {
			goBack(behind)
		}
		up()
		select {
		case <-ctx.Done():
			return
		case <-c.ended:
		}
	}
}

// pause returns how long Keep waits after a number of failures in a row, the last of them err.
func pause(failed int, err error) time.Duration {
	wait := rand.N(min(keepMost, keepFirst<<min(failed, 10))) + time.Millisecond
	var retry *forwarders.Retry
	if errors.As(err, &retry) {
		wait = max(wait, min(retry.After, keepMost))
	}
	return wait
}
