package main

import (
	"context"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/runnel-log/runnel/internal/client"
)

// client returns a client of the agent that the flags mean.
func (g *globals) client() (*client.Client, error) {
	at, err := client.Locate(client.Flags{Config: g.Config, API: g.API, TokenFile: g.TokenFile})
	if err != nil {
		return nil, usageError{err}
	}
	c, err := client.New(at)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// interruptible returns a context that the user's Ctrl-C ends.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
}

// value is a flag's value that may begin with a dash, such as -15m.
type value string

// Decode takes whatever stands after the flag.
func (v *value) Decode(c *kong.DecodeContext) error {
	t := c.Scan.Pop()
	if t.IsEOL() {
		return usageError{errNoValue}
	}
	*v = value(t.String())
	return nil
}

const errNoValue = missing("it needs a value")

type missing string

func (m missing) Error() string { return string(m) }

// asFilter puts the words of a command line together: a filter may be typed
// without quotes around the whole of it.
func asFilter(words []string) string { return strings.Join(words, " ") }
