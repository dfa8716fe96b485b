package oracle

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// http sends bodies, one after the other, each again until it is acknowledged.
func (x *sender) http(ctx context.Context, scheme, to string) error {
	client := &http.Client{Transport: &http.Transport{}, Timeout: silence}
	if scheme == "http+unix" {
		path := strings.TrimPrefix(to, "http+unix://")
		client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}}
		to = "http://localhost/"
	}
	defer client.CloseIdleConnections()
	for !x.finished() {
		if x.acked == x.next { // or else the last body has no answer yet
			n := x.due(ctx, x.Body)
			if n == 0 {
				return nil
			}
			x.next += uint64(n)
		}
		if err := x.post(ctx, client, to); err != nil {
			return err
		}
	}
	return nil
}

// post sends the records that have no answer as one body.
func (x *sender) post(ctx context.Context, client *http.Client, to string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(x.body()))
	if err != nil {
		return fmt.Errorf("%w: %w", errFatal, err)
	}
	r.Header.Set("Content-Type", map[string]string{"json": "application/json", "ndjson": "application/x-ndjson", "text": "text/plain"}[x.Media])
	if x.Keys {
		r.Header.Set("Idempotency-Key", fmt.Sprintf("%s/%d/%d", x.sent.run, x.id, x.acked))
	}
	if x.Token != "" {
		r.Header.Set("Authorization", "Bearer "+x.Token)
	}
	x.sent.Offer(x.id, x.acked, x.next-1)
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return err
	}
	switch code := answer.StatusCode; {
	case code >= 200 && code < 300:
		x.sent.Acknowledge(x.id, x.acked, x.next-1)
		x.acked = x.next
		return nil
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		return fmt.Errorf("answered with %d %.80q", code, text)
	default:
		return fmt.Errorf("%w: answered with %d %.80q", errFatal, code, text)
	}
}

// body is the same whenever it is sent again.
func (x *sender) body() []byte {
	var b []byte
	for n := x.acked; n < x.next; n++ {
		switch {
		case x.Media == "text":
			b = append(x.message(b, n), '\n')
			continue
		case x.Media == "json" && n == x.acked:
			b = append(b, '[')
		case x.Media == "json":
			b = append(b, ',')
		}
		b = append(x.message(append(b, `{"message":"`...), n), "\"}\n"...)
	}
	if x.Media == "json" {
		b = append(b, ']')
	}
	return b
}
