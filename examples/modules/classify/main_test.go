//go:build !wasm

package main

import (
	"bytes"
	"testing"

	runnel "github.com/runnel-log/runnel/guest-sdk/go"
	"github.com/runnel-log/runnel/record"
)

func TestRedact(t *testing.T) {
	f := func(message, want string) {
		t.Helper()
		space := make([]byte, len(message))
		cover(space, []byte(message))
		if string(space) != want {
			t.Errorf("%s:\ngot  %s\nwant %s", message, space, want)
		}
		if got := redactable([]byte(message)); got != (message != want) {
			t.Errorf("%s: redactable is %v", message, got)
		}
	}
	f("", "")
	f("paid with 4111111111111111.", "paid with ************1111.")
	f("card 4111 1111 1111 1111 ok", "card ***************1111 ok")
	f("5500-0000-0000-0004", "***************0004")
	f("378282246310005 and 4222222222222", "***********0005 and *********2222")
	f("order 4111111111111112 is no card", "order 4111111111111112 is no card")
	f("12345678901234567890123", "12345678901234567890123")
	f("0000000000000000", "0000000000000000")
	f("id=a4111111111111111", "id=a4111111111111111")
	f("Authorization: Bearer abc.def-123 ok", "Authorization: Bearer *********** ok")
	f("GET /?api_key=s3cret&x=1", "GET /?api_key=******&x=1")
	f("PASSWORD=hunter2 token=t", "PASSWORD=******* token=*")
	f("mytoken=", "mytoken=")
	f("x=1 =", "x=1 =")
}

// run gives the module one record and says what it wants done with it.
func run(t *testing.T, config string, severity uint8, app, message string) []byte {
	t.Helper()
	var b record.Batch
	var r record.Record
	r.Reset()
	r.Severity, r.App, r.Message = severity, []byte(app), []byte(message)
	if err := b.Append(&r); err != nil {
		t.Fatal(err)
	}
	s := runnel.Simulate(config, 0, b.Bytes())
	if s.Status != 0 {
		t.Fatalf("config %s refused: %v", config, s.Lines)
	}
	return s.Verdicts
}

// TestRedactAttributes: what parse: json or logfmt made of a message does not
// hold what was hidden in the message itself.
func TestRedactAttributes(t *testing.T) {
	f := func(set func(a *record.Attrs), want ...string) {
		t.Helper()
		var b record.Batch
		var r record.Record
		r.Reset()
		r.Message = []byte("x")
		set(&r.Attrs)
		if err := b.Append(&r); err != nil {
			t.Fatal(err)
		}
		s := runnel.Simulate(`{"redact":true}`, 0, b.Bytes())
		for _, text := range want {
			if !bytes.Contains(s.Verdicts, []byte(text)) {
				t.Errorf("got %q, want %q in it", s.Verdicts, text)
			}
		}
		if len(want) == 0 && bytes.ContainsAny(s.Verdicts, "*9") {
			t.Errorf("got %q, want it as it was", s.Verdicts)
		}
	}
	f(func(a *record.Attrs) { a.SetString("card", "4111 1111 1111 1111") }, "card***************1111")
	f(func(a *record.Attrs) { a.SetString("q", "a token=abc") }, "qa token=***")
	f(func(a *record.Attrs) { a.Set("raw", record.Bytes, []byte("4111111111111111\xff")) }, "raw************1111\xff")
	f(func(a *record.Attrs) { a.SetInt("card", 4111111111111111) }, "card************1111")
	f(func(a *record.Attrs) { a.SetInt("order", 4111111111111112) })
	f(func(a *record.Attrs) { a.SetInt("status", 200); a.SetString("path", "/cart") })
	f(func(a *record.Attrs) { a.SetString("Password", "x"); a.SetInt("api_key", 1) }, "Password********", "api_key********")
	f(func(a *record.Attrs) {
		a.Set("pay", record.JSON, []byte(`{"a":4111111111111111,"b":"4111111111111111 \\" 1"}`))
	},
		`pay{"a":9999999999991111,"b":"************1111 \\" 1"}`)
}

func TestClassify(t *testing.T) {
	f := func(config string, severity uint8, app, message string, want ...string) {
		t.Helper()
		got := run(t, config, severity, app, message)
		for _, text := range want {
			if !bytes.Contains(got, []byte(text)) {
				t.Errorf("%s %s %q: got %q, want %q in it", config, app, message, got, text)
			}
		}
	}
	f(`{}`, 6, "sshd", "x", "classauth")
	f(`{}`, 6, "nginx", "x", "classweb")
	f(`{}`, 6, "CRON", "x", "classschedule")
	f(`{}`, 6, "kernel", "x", "classkernel")
	f(`{}`, 6, "shop", "", "classempty")
	f(`{}`, 6, "shop", "{}", "classjson")
	f(`{}`, 6, "shop", "\tat x", "classcontinuation")
	f(`{}`, 7, "shop", "x", "classtext")
	f(`{"drop_debug":true}`, 7, "shop", "x", "\x01\x00\x00\x00debug")
	f(`{"errors_stream":"bad"}`, 3, "shop", "x", "classtext", "bad")
	f(`{"redact":true}`, 6, "shop", "token=abc", "token=***")
	if got := run(t, `{"errors_stream":"bad"}`, 4, "shop", "x"); bytes.Contains(got, []byte("bad")) {
		t.Errorf("a warning was routed: %q", got)
	}
}
