// Command oracle judges relays of logs, any of them: it numbers what it sends, keeps
// what was acknowledged, takes what arrives, and says what was lost, came twice,
// out of order or altered. Its verb kill does all of that while it kills the
// relay again and again. It exits with 1 if an acknowledged record is lost, and
// with 2 if it could not find out. It talks to the addresses it is given, and ends
// only what it started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// verbs are what the oracle can be asked.
var verbs = map[string]func(ctx context.Context, args []string, out io.Writer) error{
	"send": send, "receive": receive, "read": read, "judge": judge, "kill": kill,
}

const usage = `oracle judges relays of logs.

  oracle send --to URL [--acked FILE]        send numbered messages, keep what was acknowledged
  oracle receive --listen URL [--arrived F]  take what a relay delivers, until it is interrupted
  oracle read [--arrived FILE] < TEXT        take what a store exports, a record a line
  oracle judge --acked FILE --arrived FILE   compare; exit 1 if acknowledged records are lost
  oracle kill --to URL … -- COMMAND ARGS     all of it, with COMMAND killed at random moments

oracle VERB -h lists the flags.
`

// errLost: an acknowledged record is lost.
var errLost = errors.New("acknowledged records are lost")

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main without the process: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || verbs[args[0]] == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	switch err := verbs[args[0]](ctx, args[1:], stdout); {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errLost):
		fmt.Fprintf(stderr, "oracle: %v\n", err)
		return 1
	default:
		fmt.Fprintf(stderr, "oracle %s: %s\n", args[0], strings.TrimSpace(err.Error()))
		return 2
	}
}
