package webhook

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/tlsconf"
	"github.com/runnel-log/runnel/record"
)

// Options is the forwarder's part of the config.
type Options struct {
	URL          address                  `yaml:"url" required:"true"`
	Method       string                   `yaml:"method" oneof:"POST PUT PATCH"`
	Headers      map[string]config.Secret `yaml:"headers" literal:"true"`
	Body         string                   `yaml:"body" oneof:"ndjson json single"`
	Gzip         bool                     `yaml:"gzip"`
	Batch        Batch                    `yaml:"batch"`
	Timeout      config.Duration          `yaml:"timeout"`
	AllowPrivate bool                     `yaml:"allow_private"`
	TLS          tlsconf.Client           `yaml:"tls"`
}

// address is the URL. It prints without what may be secret of it: receivers are
// told apart, and let in, by what stands in its query.
type address string

// MarshalText returns the URL as the effective configuration shows it.
func (a address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// String returns the URL with *** for its query and for a name and password.
func (a address) String() string {
	shown, _, query := strings.Cut(string(a), "?")
	scheme, rest, found := strings.Cut(shown, "://")
	host, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(host, '@'); found && at >= 0 {
		shown = scheme + "://***" + host[at:]
		if path != "" {
			shown += "/" + path
		}
	}
	if query {
		shown += "?***"
	}
	return shown
}

// Batch is how records are grouped into requests.
type Batch struct {
	Records int             `yaml:"records"`
	Bytes   config.Bytes    `yaml:"bytes"`
	Wait    config.Duration `yaml:"wait"`
}

func defaults() *Options {
	return &Options{Method: http.MethodPost, Body: bodyNDJSON, Timeout: 30 * time.Second, AllowPrivate: true,
		Batch: Batch{Records: 500, Bytes: 1 << 20, Wait: time.Second}}
}

// ownHeaders are set by the forwarder or by HTTP itself.
var ownHeaders = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Te", "Upgrade",
	"Expect", "Content-Encoding", "Idempotency-Key"}

// Check reports a URL, header or size that cannot work.
func (o *Options) Check(at *config.At) {
	if o.URL != "" {
		if err := o.checkURL(); err != nil {
			at.Key("url").Problemf("%v", err)
		}
	}
	for name, value := range o.Headers {
		text, _ := value.Read() // that it cannot be read, decoding has said
		if err := checkHeader(name, text); err != nil {
			at.Key("headers").Key(name).Problemf("%v", err)
		}
	}
	batch := at.Key("batch")
	if n := o.Batch.Records; n < 1 || n > 100_000 {
		batch.Key("records").Problemf("a batch of %d records cannot be; write 1 to 100000", n)
	}
	if n := o.Batch.Bytes; n < 1 || n > record.MaxSize {
		batch.Key("bytes").Problemf("a batch of %d bytes cannot be; write at most 64MiB", n)
	}
	if d := o.Batch.Wait; d < 0 || d > time.Hour {
		batch.Key("wait").Problemf("%s is no time to wait for a batch; write 0s to 1h", d)
	}
	if d := o.Timeout; d < time.Millisecond || d > time.Hour {
		at.Key("timeout").Problemf("%s is no timeout for a request; write 1s to 1h", d)
	}
	o.TLS.Check(at.Key("tls"))
	if strings.HasPrefix(strings.ToLower(string(o.URL)), "http://") && o.TLS != (tlsconf.Client{MinVersion: o.TLS.MinVersion}) {
		at.Key("tls").Problemf("http:// is not encrypted; write url: https://…, or leave tls out")
	}
}

// checkURL says what is wrong with the URL, without repeating its path or
// query, which may be secret.
func (o *Options) checkURL() error {
	u, err := url.Parse(string(o.URL))
	if err != nil {
		return fmt.Errorf("is no URL: %w", plain(err))
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("has the scheme %q; write http:// or https://", u.Scheme)
	}
	if u.Hostname() == "" {
		return fmt.Errorf("names no host; write https://HOST/PATH")
	}
	if u.User != nil {
		return fmt.Errorf(`holds a name or password; write headers: {Authorization: {env: NAME}}`)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		return guard{allowPrivate: o.AllowPrivate}.check(ip)
	}
	return nil
}

// checkHeader says what is wrong with a header, without repeating its value.
func checkHeader(name, value string) error {
	if !isToken(name) {
		return fmt.Errorf("%q is no name for a header; write letters, digits and -", name)
	}
	if slices.Contains(ownHeaders, http.CanonicalHeaderKey(name)) {
		return fmt.Errorf("%s is set by runnel itself; leave it out", name)
	}
	if strings.ContainsFunc(value, isControl) {
		return fmt.Errorf("the value holds a line end or another control character; write it in one line")
	}
	return nil
}

// isToken reports whether s can name a header (RFC 9110 §5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// isControl reports whether r cannot stand in a header's value (RFC 9110 §5.5).
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// header builds what every request carries.
func (o *Options) header(version string) (http.Header, error) {
	h := http.Header{"User-Agent": {"runnel/" + version}, "Content-Type": {"application/json"}}
	if o.Body == bodyNDJSON {
		h.Set("Content-Type", "application/x-ndjson")
	}
	if o.Gzip {
		h.Set("Content-Encoding", "gzip")
	}
	for name, value := range o.Headers {
		text, err := value.Read()
		if err == nil {
			err = checkHeader(name, text)
		}
		if err != nil {
			return nil, fmt.Errorf("header %q: %w", name, err)
		}
		h.Set(name, text)
	}
	return h, nil
}
