package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// TestHalfSecureConfigsAreRefused: what guards something is configured whole or
// the agent does not start; none of these may be taken for less than it says.
func TestHalfSecureConfigsAreRefused(t *testing.T) {
	dir := t.TempDir()
	ca := tlstest.NewAuthority(t, "ca")
	later := time.Now().Add(time.Hour)
	ca.IssueTo(t, filepath.Join(dir, "a.pem"), filepath.Join(dir, "a.key"), "a", later)
	ca.IssueTo(t, filepath.Join(dir, "b.pem"), filepath.Join(dir, "b.key"), "b", later)
	ca.IssueTo(t, filepath.Join(dir, "old.pem"), filepath.Join(dir, "old.key"), "old", time.Now().Add(-time.Hour))
	for name, mode := range map[string]os.FileMode{"token": 0o600, "loose": 0o666, "read": 0o644, "empty": 0o600} {
		text := "canary\n"
		if name == "empty" {
			text = "\n"
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("RUNNEL_TEST_EMPTY", "")
	check := func(text string) error {
		text = strings.ReplaceAll(text, "$TLS", "cert: a.pem, key: a.key")
		if !strings.Contains(text, "inputs:") {
			text += "\ninputs: {in: {type: syslog, listen: [\"udp://127.0.0.1:5514\"]}}"
		}
		c, err := agent.ParseConfig("runnel.yaml", []byte(text), dir, kinds())
		if err != nil {
			return err
		}
		return agent.Check(t.Context(), c)
	}
	rows := 0
	f := func(text, want string) {
		t.Helper()
		rows++
		err := check(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s\nsays a secret: %v", text, err)
		}
	}
	for _, good := range []string{ // what the others differ from is taken
		`api: {listen: "0.0.0.0:4780", tls: {$TLS}, token: {file: token}}`, `api: {listen: "127.0.0.1:4780", open: true}`,
		`inputs: {in: {type: http, listen: "0.0.0.0:4781", token: {file: token}}}`, `inputs: {in: {type: http, listen: "0.0.0.0:4781", tls: {$TLS, client_ca: b.pem}}}`,
		`inputs: {in: {type: syslog, listen: ["tls://0.0.0.0:6514"], tls: {$TLS, client_ca: b.pem, client_auth: require}}}`,
		`forwarders: {out: {type: syslog, from: [default], to: "tls://a:6514", tls: {$TLS, ca: b.pem}}}`,
	} {
		if err := check(good); err != nil {
			t.Errorf("%s\n%v", good, err)
		}
	}
	// The API.
	f(`api: {listen: "0.0.0.0:4780"}`, "is not encrypted")
	f(`api: {listen: ":4780", token: {file: token}}`, "is not encrypted")
	f(`api: {listen: "[::]:4780", open: true}`, "is not encrypted")
	f(`api: {listen: "192.0.2.1:4780", tls: {$TLS}, open: true}`, "lets every host")
	f(`api: {open: true, token: {file: token}}`, "remove one of the two")
	f(`api: {open: yes please}`, "open")
	f(`api: {token: {file: empty}}`, "is empty")
	f(`api: {token: {file: loose}}`, "chmod")
	f(`api: {token: {file: read}}`, "chmod")
	f(`api: {token: {file: none}}`, "no such file")
	f(`api: {token: {env: RUNNEL_TEST_EMPTY}}`, "is empty")
	f(`api: {token: {env: RUNNEL_TEST_NONE}}`, "is not set")
	f(`api: {token: canary}`, "secrets are not written here")
	f(`api: {token: {file: token, env: X}}`, "secrets are not written here")
	f(`api: {token: }`, "has no value")
	f(`api: {tls: {cert: a.pem}}`, "api.tls.key: is missing")
	f(`api: {tls: {key: a.key}}`, "api.tls.cert: is missing")
	f(`api: {tls: {cert: a.pem, key: b.key}}`, "is not the key of")
	f(`api: {tls: {cert: old.pem, key: old.key}}`, "expired")
	f(`api: {tls: {$TLS, client_auth: require}}`, "needs client_ca")
	f(`api: {tls: {$TLS, min_version: "1.0"}}`, "is not known; write 1.2")
	// Inputs.
	f(`inputs: {in: {type: http, listen: "0.0.0.0:4781"}}`, "anybody there could write")
	f(`inputs: {in: {type: http, listen: "0.0.0.0:4781", tls: {$TLS}}}`, "anybody there could write")
	f(`inputs: {in: {type: http, listen: "0.0.0.0:4781", tls: {$TLS, client_ca: b.pem, client_auth: request}}}`, "anybody there could write")
	f(`inputs: {in: {type: http, listen: "0.0.0.0:4781", token: {file: empty}}}`, "is empty")
	f(`inputs: {in: {type: http, listen: "127.0.0.1:4781", token: canary}}`, "secrets are not written here")
	for _, kind := range []string{"syslog", "relp"} {
		f(`inputs: {in: {type: `+kind+`, listen: ["tls://127.0.0.1:6514"]}}`, "needs a certificate")
		f(`inputs: {in: {type: `+kind+`, listen: ["tcp://127.0.0.1:6514"], tls: {$TLS}}}`, "is used by no address")
		f(`inputs: {in: {type: `+kind+`, listen: ["tls://127.0.0.1:6514"], tls: {$TLS, client_auth: require}}}`, "needs client_ca")
		f(`inputs: {in: {type: `+kind+`, listen: ["tls://127.0.0.1:6514"], tls: {$TLS, client_auth: none, client_ca: b.pem}}}`, "leaves client_ca unused")
		f(`inputs: {in: {type: `+kind+`, listen: ["tls://127.0.0.1:6514"], tls: {$TLS, client_ca: a.key}}}`, "holds no certificate")
		f(`inputs: {in: {type: `+kind+`, listen: ["tcp://127.0.0.1:6514"], allow: ["10.0.0.0/33"]}}`, "is not a network")
		f(`inputs: {in: {type: `+kind+`, listen: ["tcp://127.0.0.1:6514"], allow: ["everyone"]}}`, "is not a network")
	}
	// Forwarders.
	for _, kind := range []string{"syslog", "relp"} {
		f(`forwarders: {out: {type: `+kind+`, from: [default], to: "tls://a:6514", tls: {cert: a.pem}}}`, "needs its key")
		f(`forwarders: {out: {type: `+kind+`, from: [default], to: "tls://a:6514", tls: {key: a.key}}}`, "needs its certificate")
		f(`forwarders: {out: {type: `+kind+`, from: [default], to: "tls://a:6514", tls: {ca: b.pem, insecure_skip_verify: true}}}`, "takes any server")
		f(`forwarders: {out: {type: `+kind+`, from: [default], to: "tls://a:6514", tls: {ca: none.pem}}}`, "no such file")
		f(`forwarders: {out: {type: `+kind+`, from: [default], to: "tcp://a:6514", tls: {ca: b.pem}}}`, "tls")
	}
	f(`forwarders: {out: {type: webhook, from: [default], url: "https://me:canary@example.org/"}}`, "name or password")
	f(`forwarders: {out: {type: webhook, from: [default], url: "http://example.org/", tls: {ca: b.pem}}}`, "tls")
	f(`forwarders: {out: {type: webhook, from: [default], url: "http://169.254.169.254/"}}`, "metadata")
	f(`forwarders: {out: {type: webhook, from: [default], url: "http://[::ffff:169.254.169.254]/"}}`, "metadata")
	f(`forwarders: {out: {type: webhook, from: [default], url: "http://10.0.0.1/", allow_private: false}}`, "private")
	f(`forwarders: {out: {type: webhook, from: [default], url: "https://example.org/", headers: {X: "canary\r\nY: b"}}}`, "line end")
	if rows < 50 {
		t.Errorf("%d configs, want 50 at least", rows)
	}
}
