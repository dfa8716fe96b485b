package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/runnel-log/runnel/internal/testkit/oracle"
)

// loadFlags are those of whoever sends.
func loadFlags(f *flag.FlagSet, l *oracle.Load) (to *string) {
	to = f.String("to", "", "`URL` to send to: relp://HOST:PORT, http://HOST:PORT/PATH, tcp://HOST:PORT or unix:///PATH (syslog, which has no acknowledgement), relp+unix:///PATH, http+unix:///PATH")
	f.IntVar(&l.Senders, "senders", 4, "senders, each with a connection and numbers of its own")
	f.IntVar(&l.Rate, "rate", 0, "records a second of all senders together; 0: as fast as they are taken")
	f.Uint64Var(&l.Count, "count", 0, "records of each sender; 0: until the time is up")
	f.IntVar(&l.Size, "size", 200, "bytes a message")
	f.IntVar(&l.Window, "window", 128, "RELP: messages without an answer")
	f.IntVar(&l.Body, "body", 50, "HTTP: records a body")
	f.BoolVar(&l.Keys, "keys", false, "HTTP: give each body an Idempotency-Key")
	f.StringVar(&l.Media, "media", "ndjson", "HTTP: ndjson, json or text")
	f.StringVar(&l.Token, "token", "", "HTTP: `TOKEN` to show")
	f.BoolVar(&l.Octets, "octets", false, "syslog: octet counting in place of line feeds")
	f.DurationVar(&l.Drain, "drain", 30*time.Second, "for outstanding answers, when nothing new is sent any more")
	return to
}

func send(ctx context.Context, args []string, out io.Writer) error {
	var l oracle.Load
	f := flag.NewFlagSet("oracle send", flag.ContinueOnError)
	to := loadFlags(f, &l)
	lasting := f.Duration("for", 0, "how long to send; 0: until all of --count is sent, or an interrupt")
	acked := f.String("acked", "", "`FILE` for what was sent and acknowledged")
	if err := f.Parse(args); err != nil {
		return err
	}
	l.To = func() string { return *to }
	s, err := oracle.NewSent(*acked)
	if err != nil {
		return err
	}
	enough, cancel := context.WithCancel(ctx)
	defer cancel()
	if *lasting > 0 {
		defer time.AfterFunc(*lasting, cancel).Stop()
	}
	err = oracle.Send(context.WithoutCancel(ctx), l, s, enough.Done())
	n, _ := s.Acknowledged()
	fmt.Fprintf(out, "run %s: %d acknowledged\n", s.Run(), n)
	return errors.Join(err, s.Close())
}

func receive(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("oracle receive", flag.ContinueOnError)
	at := f.String("listen", "tcp://127.0.0.1:7001", "`URL` to receive at: tcp://HOST:PORT or unix:///PATH (syslog, both framings), relp://HOST:PORT, http://HOST:PORT")
	path := f.String("arrived", "", "`FILE` for what arrived")
	if err := f.Parse(args); err != nil {
		return err
	}
	a, err := oracle.NewArrived(*path)
	if err != nil {
		return err
	}
	r, err := oracle.Listen(*at, a)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	fmt.Fprintf(out, "listening at %s\n", r.URL())
	<-ctx.Done()
	err = r.Close()
	fmt.Fprintf(out, "%d records arrived\n", a.Records())
	return errors.Join(err, a.Close())
}

func read(_ context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("oracle read", flag.ContinueOnError)
	path := f.String("arrived", "", "`FILE` for what arrived")
	if err := f.Parse(args); err != nil {
		return err
	}
	a, err := oracle.NewArrived(*path)
	if err != nil {
		return err
	}
	err = a.TakeLines(os.Stdin)
	fmt.Fprintf(out, "%d records arrived\n", a.Records())
	return errors.Join(err, a.Close())
}

func judge(_ context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("oracle judge", flag.ContinueOnError)
	acked := f.String("acked", "", "`FILE` that send wrote")
	arrived := f.String("arrived", "", "`FILE` that receive or read wrote")
	asJSON := f.Bool("json", false, "print the verdict as JSON")
	if err := f.Parse(args); err != nil {
		return err
	}
	s, err := oracle.ReadSent(*acked)
	if err != nil {
		return err
	}
	a, err := oracle.ReadArrived(*arrived)
	if err != nil {
		return err
	}
	v := oracle.Judge(s, a)
	return say(out, *asJSON, v.Lost, &v)
}

func kill(ctx context.Context, args []string, out io.Writer) error {
	t := oracle.Trial{Said: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }}
	f := flag.NewFlagSet("oracle kill", flag.ContinueOnError)
	to := loadFlags(f, &t.Load)
	f.StringVar(&t.Receive, "listen", "", "`URL` that COMMAND delivers to, as of oracle receive")
	collect := f.String("collect", "", "shell `COMMAND` that prints what COMMAND has stored, once that has ended; in place of --listen")
	f.IntVar(&t.Kills, "kills", 20, "how often")
	f.Uint64Var(&t.Seed, "seed", rand.Uint64()>>32, "of the moments")
	f.DurationVar(&t.From, "from", 50*time.Millisecond, "the least between readiness and a kill")
	f.DurationVar(&t.To, "until", 2*time.Second, "the most")
	f.DurationVar(&t.Settle, "settle", 10*time.Second, "how long nothing more must arrive before it is judged")
	f.DurationVar(&t.Within, "within", 3*time.Minute, "when it is judged at the latest, even while records still arrive")
	f.StringVar(&t.Acked, "acked", "", "`FILE` for what was sent and acknowledged")
	f.StringVar(&t.Arrived, "arrived", "", "`FILE` for what arrived")
	log := f.String("log", "", "`FILE` for what COMMAND prints")
	asJSON := f.Bool("json", false, "print the outcome as JSON")
	f.Func("behind", "`\"URL COMMAND\"` of a relay that the one before delivers to: where it takes connections, and what runs it; it is killed like the others. Once for each, the nearest first", func(s string) error {
		url, command, ok := strings.Cut(strings.TrimSpace(s), " ")
		if !ok || !strings.Contains(url, "://") {
			return errors.New("want a URL, a space and a command")
		}
		t.Behind = append(t.Behind, oracle.Relay{Input: url, Command: []string{"/bin/sh", "-c", "exec " + command}})
		return nil
	})
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() == 0 || (t.Receive == "") == (*collect == "") {
		return errors.New("want one of --listen and --collect, and after -- the command that runs the relay")
	}
	t.Command, t.Load.To = f.Args(), func() string { return *to }
	if *collect != "" {
		t.Collect = []string{"/bin/sh", "-c", *collect}
	}
	if *log != "" {
		file, err := os.Create(*log)
		if err != nil {
			return err
		}
		defer file.Close()
		t.Output = file
	}
	fmt.Fprintf(os.Stderr, "seed %d\n", t.Seed)
	o, err := t.Run(ctx)
	if err != nil {
		return err
	}
	return say(out, *asJSON, o.Lost, &o)
}

// say prints a verdict; errLost if something is.
func say(out io.Writer, asJSON bool, lost uint64, v interface{ Write(io.Writer) }) error {
	if asJSON {
		if err := json.NewEncoder(out).Encode(v); err != nil {
			return err
		}
	} else {
		v.Write(out)
	}
	if lost > 0 {
		return fmt.Errorf("%w: %d", errLost, lost)
	}
	return nil
}
