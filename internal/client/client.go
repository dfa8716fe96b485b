// Package client asks a running agent over its HTTP API, for the verbs that
// do: query, tail, status, cursor. It hides how the agent and its token are found
// (locate.go), the unix socket behind unix:// and the shape of errors. The token goes to
// nobody but the address it was meant for, and never in the clear beyond this machine.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Client talks to one agent. It is safe for concurrent use.
type Client struct {
	at    Location
	base  string // scheme and host of the requests
	agent *http.Client
}

// Refusal is an answer that is an error.
type Refusal struct {
	Code int
	Text string
}

func (r *Refusal) Error() string { return r.Text }

// ErrAbsent: nobody answers at the API's address.
var ErrAbsent = errors.New("no agent answers")

// New returns a client of the agent at that place. It does not connect yet. An
// error says what is wrong with the address.
func New(at Location) (*Client, error) {
	transport := &http.Transport{ResponseHeaderTimeout: 30 * time.Second, DisableCompression: true}
	c := &Client{at: at, agent: &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if path, unix := strings.CutPrefix(at.API, "unix://"); unix {
		if path == "" {
			return nil, errors.New("unix:// has no path; write unix:///run/runnel/api.sock")
		}
		c.base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return c, nil
	}
	u, err := url.Parse(at.API)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || (u.Path != "" && u.Path != "/") {
		return nil, fmt.Errorf("%q is not the address of an API; write http://127.0.0.1:4780, https://host:4780 or unix:///path", at.API)
	}
	if u.Scheme == "http" && at.Token != "" && !isLocal(u.Hostname()) {
		return nil, fmt.Errorf("%s would carry the token in the clear; use https://", at.API)
	}
	c.base = u.Scheme + "://" + u.Host
	transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	return c, nil
}

// isLocal reports whether a host is this machine.
func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// Get asks and returns the answer, whose body the caller closes. An answer that
// is an error comes back as a *Refusal; nobody there as ErrAbsent.
func (c *Client) Get(ctx context.Context, path string, params url.Values) (*http.Response, error) {
	if len(params) > 0 {
		path += "?" + params.Encode()
	}
	return c.do(ctx, http.MethodGet, path, nil)
}

// GetJSON asks and decodes the answer into v.
func (c *Client) GetJSON(ctx context.Context, path string, params url.Values, v any) error {
	answer, err := c.Get(ctx, path, params)
	if err != nil {
		return err
	}
	return decode(answer, v)
}

// Post sends body as JSON and decodes the answer into v.
func (c *Client) Post(ctx context.Context, path string, body, v any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	answer, err := c.do(ctx, http.MethodPost, path, b)
	if err != nil {
		return err
	}
	return decode(answer, v)
}

func decode(answer *http.Response, v any) error {
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(v); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.at.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.at.Token)
	}
	answer, err := c.agent.Do(request)
	if err != nil {
		return nil, c.unanswered(ctx, err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, c.refused(answer)
	}
	return answer, nil
}

// unanswered says that nobody is there and what to type.
func (c *Client) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the URL holds the whole question
	}
	return fmt.Errorf("%w at %s (%v); start it with `runnel run`, or say where it is with --api", ErrAbsent, c.at.API, err)
}

// refused reads an error out of its answer.
func (c *Client) refused(answer *http.Response) error {
	var said struct {
		Error string `json:"error"`
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil || json.Unmarshal(b, &said) != nil || said.Error == "" {
		return &Refusal{answer.StatusCode, fmt.Sprintf("%s answered %s, which is not how runnel says no; is something else listening there?", c.at.API, answer.Status)}
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		said.Error = c.at.unlettered()
	case http.StatusBadRequest, http.StatusNotFound:
	default:
		said.Error = fmt.Sprintf("the agent refused: %s", said.Error)
	}
	return &Refusal{answer.StatusCode, said.Error}
}
