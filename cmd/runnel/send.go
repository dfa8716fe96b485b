package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// sendCmd sends syslog messages. With words it is a logger; with --file it
// sends the file's lines; with --count alone it is a load generator whose
// messages are numbered ("seq=0000000001 …"), so that a receiver can tell
// whether each came once.
type sendCmd struct {
	To          string   `required:"" placeholder:"URL" help:"Where to: udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH or unixgram:///PATH."`
	Rate        int      `placeholder:"N" help:"Messages a second, over all connections; default as fast as possible."`
	Count       int      `placeholder:"N" help:"Messages to send; default each once."`
	Size        int      `default:"300" placeholder:"N" help:"Bytes of a numbered message, header included."`
	Format      string   `enum:"rfc5424,rfc3164" default:"rfc5424" help:"rfc5424 or rfc3164."`
	Framing     string   `enum:"lf,octet" default:"lf" help:"On a stream: lf or octet."`
	Connections int      `default:"1" placeholder:"N" help:"Connections to share the messages."`
	File        string   `placeholder:"FILE" help:"Send this file's lines; - for those of standard input, as they come and until it ends (with --count all are read first); a line that begins with a priority such as <13> goes out as it is."`
	CA          string   `name:"ca" placeholder:"FILE" help:"For tls: the authorities to trust instead of the system's."`
	Cert        string   `placeholder:"FILE" help:"For tls: the certificate to show."`
	Key         string   `placeholder:"FILE" help:"For tls: its key."`
	Insecure    bool     `help:"For tls: take any server for the right one."`
	Message     []string `arg:"" optional:"" help:"The words of one message."`
}

// sent is what send prints.
type sent struct {
	To       string  `json:"to"`
	Messages int64   `json:"messages"`
	Bytes    int64   `json:"bytes"` // framing included
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"messages_per_second"`
}

// Run sends, prints what was sent and how fast, and returns the first error.
func (c *sendCmd) Run(g *globals) error {
	address, err := parseDestination(c.To)
	if err != nil {
		return usageError{err}
	}
	if err := c.check(); err != nil {
		return usageError{err}
	}
	lines, err := c.lines(g.Stdin)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var stream *arriving
	if c.streams() {
		stream = readArriving(ctx, g.Stdin)
	}
	result, err := c.send(ctx, address, lines, stream)
	if result.Messages == 0 && err == nil && ctx.Err() == nil {
		err = c.noLines()
	}
	if result.Messages == 0 && err != nil {
		return fmt.Errorf("send to %s: %w", c.To, err)
	}
	if printed := result.print(g.Stdout, g.Output); err == nil {
		return printed
	}
	return fmt.Errorf("send to %s, after %d messages: %w", c.To, result.Messages, err)
}

// check reports what the flags contradict each other in.
func (c *sendCmd) check() error {
	switch {
	case len(c.Message) > 0 && c.File != "":
		return errors.New("a message and --file exclude each other")
	case len(c.Message) == 0 && c.File == "" && c.Count <= 0:
		return errors.New("nothing to send: write a message, --file FILE or --count N")
	case c.Count < 0 || c.Rate < 0 || c.Size < 0:
		return errors.New("--count, --rate and --size are not negative")
	case c.Connections < 1 || c.Connections > 10000:
		return fmt.Errorf("--connections is 1 to 10000, not %d", c.Connections)
	}
	return nil
}

// send opens the connections, sends over all of them at once, and waits.
func (c *sendCmd) send(ctx context.Context, to destination, lines [][]byte, stream *arriving) (sent, error) {
	total := c.Count
	if total == 0 {
		total = len(lines)
	}
	n := min(c.Connections, max(total, 1))
	if stream != nil {
		n = c.Connections // each takes what has come when it has sent what it had
	}
	senders := make([]*sender, n)
	for i := range senders {
		var source source
		if stream == nil {
			var err error
			if source, err = c.source(to, lines, i, n); err != nil {
				return sent{}, usageError{err}
			}
		}
		conn, err := to.dial(ctx, c)
		if err != nil {
			return sent{}, errors.Join(err, closeAll(senders))
		}
		// connection i of n sends messages i, i+n, i+2n, …
		senders[i] = newSender(conn, source, to.datagrams(), (total-i+n-1)/n, float64(c.Rate)/float64(n))
		senders[i].arriving, senders[i].w = stream, c.writer(to)
	}
	begun := time.Now()
	err := runAll(ctx, senders)
	result := sent{To: c.To, Seconds: time.Since(begun).Seconds()}
	for _, s := range senders {
		result.Messages += s.messages
		result.Bytes += s.bytes
	}
	if result.Seconds > 0 {
		result.Rate = float64(result.Messages) / result.Seconds
	}
	return result, err
}

// runAll runs every sender until it is done, or one has failed.
func runAll(ctx context.Context, senders []*sender) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var first atomic.Pointer[error]
	var wg sync.WaitGroup
	for _, s := range senders {
		wg.Go(func() {
			err := s.run(ctx)
			if closed := s.conn.Close(); err == nil {
				err = closed
			}
			if err != nil && first.CompareAndSwap(nil, &err) {
				cancel()
			}
		})
	}
	wg.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

func closeAll(senders []*sender) error {
	var errs []error
	for _, s := range senders {
		if s != nil {
			errs = append(errs, s.conn.Close())
		}
	}
	return errors.Join(errs...)
}

func (s sent) print(w io.Writer, format string) error {
	if format == "json" {
		return json.NewEncoder(w).Encode(s)
	}
	word := "messages"
	if s.Messages == 1 {
		word = "message"
	}
	_, err := fmt.Fprintf(w, "sent %d %s, %d bytes, to %s in %.3f s: %.0f messages/s, %.1f MB/s\n",
		s.Messages, word, s.Bytes, s.To, s.Seconds, s.Rate, float64(s.Bytes)/1e6/max(s.Seconds, 1e-9))
	return err
}
