// Package webhook sends batches of records to a URL and takes the HTTP status
// as the receiver's word. Every request carries the name of its records as
// Idempotency-Key, the same at every retry. It follows no redirect, uses no
// proxy that the config does not name, and bounds what it reads of an answer. No
// part of a record may reach the URL, a header, or a log line.
package webhook

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
)

//go:embed sample.yaml
var sample string

// Kind is the webhook forwarder.
var Kind = forwarders.Kind{
	Name:    "webhook",
	Sample:  sample,
	Options: func() config.Options { return defaults() },
	New: func(o config.Options, s forwarders.Setup) (forwarders.Forwarder, error) {
		return newForwarder(o.(*Options), s)
	},
}

// maxAnswer is how much of an answer's body is read.
const maxAnswer = 64 << 10

// Forwarder sends to one URL.
type Forwarder struct {
	options *Options
	agent   string
	header  http.Header
	client  *http.Client
	encoder encoder
	rewind  forwarders.Rewind
	dialed  *connections
	closed  context.Context // ends with Close
	close   context.CancelFunc
}

func newForwarder(o *Options, s forwarders.Setup) (*Forwarder, error) {
	header, err := o.header(s.Version)
	if err != nil {
		return nil, err
	}
	dialed := &connections{guard: guard{allowPrivate: o.AllowPrivate}, resolver: s.Resolver, open: make(map[net.Conn]bool)}
	client, err := newClient(o, dialed)
	if err != nil {
		return nil, err
	}
	f := &Forwarder{options: o, agent: s.Agent, header: header, client: client, dialed: dialed,
		encoder: encoder{body: o.Body, gzip: o.Gzip}}
	f.closed, f.close = context.WithCancel(context.Background())
	return f, nil
}

// Batching returns what the config says about batches.
func (f *Forwarder) Batching() forwarders.Batching {
	b := f.options.Batch
	return forwarders.Batching{Records: b.Records, Bytes: int64(b.Bytes), Wait: b.Wait}
}

// Deliver sends b and returns when the answer is there.
func (f *Forwarder) Deliver(ctx context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	if f.options.Body != bodySingle {
		return nil, f.send(ctx, f.encoder.batch(b, f.agent), b.Key)
	}
	if err := f.rewind.Overtakes(b); err != nil {
		return nil, err
	}
	meta := b.Meta(f.agent)
	for i := range b.Records.Len() {
		meta.Offset = b.Place(i)
		if err := f.send(ctx, f.encoder.record(b.Records.At(i), meta), b.RecordKey(i)); err != nil {
			return f.rewind.Partly(b, i, at(err, i))
		}
	}
	return nil, nil
}

// at turns a refusal of a whole request into one of the only record in it.
func at(err error, i int) error {
	var refused *forwarders.Refused
	if errors.As(err, &refused) {
		return &forwarders.Refused{Index: i, Answer: refused.Answer}
	}
	return err
}

// send makes one request and reads its answer.
func (f *Forwarder) send(ctx context.Context, body []byte, key string) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(f.closed, func() { stop(errClosed) })()
	ctx, cancel := context.WithTimeoutCause(ctx, f.options.Timeout, errTimeout)
	defer cancel()
	lent := &lease{p: body}
	defer lent.end()
	request, err := http.NewRequestWithContext(ctx, f.options.Method, string(f.options.URL), lent.body())
	if err != nil {
		return plain(err)
	}
	request.ContentLength = int64(len(body))
	request.GetBody = func() (io.ReadCloser, error) { return lent.body(), nil }
	request.Header = f.header.Clone()
	request.Header.Set("Idempotency-Key", key)
	answer, err := f.client.Do(request)
	if err != nil {
		return because(ctx, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if answer.StatusCode/100 == 2 {
		return nil // what is wrong with the answer's body cannot undo it
	}
	if err != nil {
		return fmt.Errorf("read answer %q: %w", answer.Status, because(ctx, err))
	}
	return verdict(answer, text, time.Now())
}

var (
	errTimeout = errors.New("no answer within the timeout")
	errClosed  = errors.New("forwarder was closed")
)

// because returns why a request failed: the reason that ctx ended, if that is it.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errTimeout) || errors.Is(cause, errClosed) {
		return cause
	}
	return plain(err)
}

// plain takes the URL out of the HTTP client's errors: its path or query may
// be the receiver's secret.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Close gives up the request under way and ends the connections.
func (f *Forwarder) Close() error {
	f.close()
	f.dialed.close()
	return nil
}
