package http

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/config"
)

// post writes one request as it goes over the wire.
func post(body string, header ...string) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n%s", len(body),
		strings.Join(append(header, ""), "\r\n"), body)
}

// say is inputtest's: a request of one line, and its answer.
func say(_ testing.TB, c net.Conn, message string) error {
	if _, err := io.WriteString(c, post(message)); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}

func TestLifecycle(t *testing.T) {
	inputtest.Lifecycle(t, Kind, say, "tcp://127.0.0.1:0", "tls://127.0.0.1:0", "unix://$DIR/http.sock")
}

// running is an input and a client of it.
type running struct {
	*inputtest.Running
	client *http.Client
	url    string
}

func start(t testing.TB, conf string, s inputtest.Setup) *running {
	t.Helper()
	dir, conf := inputtest.Dir(t, "listen: 127.0.0.1:0\n"+conf)
	r := inputtest.Start(t, Kind, dir, conf, s)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &running{r, &http.Client{Transport: transport, Timeout: inputtest.Patience}, "http" + strings.TrimPrefix(r.URL(0), "tcp") + "/"}
}

// send posts a body and returns the status and what the answer says.
func (r *running) send(t testing.TB, body []byte, header ...string) (code int, text string) {
	t.Helper()
	code, text, err := r.try(body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return code, text
}

func (r *running) try(body []byte, header ...string) (code int, text string, err error) {
	q, err := http.NewRequest(http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		q.Header.Add(name, value)
	}
	answer, err := r.client.Do(q)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b), err
}

// lines returns what has come, and forgets none of it.
func (r *running) lines() []string {
	all := []string{}
	for _, v := range r.Sink.Records() {
		all = append(all, inputtest.Line(v))
	}
	return all
}

const (
	ndjson   = "Content-Type: application/x-ndjson"
	asJSON   = "Content-Type: application/json"
	text     = "Content-Type: text/plain; charset=utf-8"
	asSyslog = "Content-Type: application/syslog"
)

func TestBodiesBecomeRecords(t *testing.T) {
	f := func(kind, body string, want ...string) {
		t.Helper()
		r := start(t, "", inputtest.Setup{})
		code, answer := r.send(t, []byte(body), kind)
		if wanted := fmt.Sprintf("{\"accepted\":%d}\n", len(want)); code != 200 || answer != wanted {
			t.Errorf("%s %q: got %d %s want 200 %s", kind, body, code, answer, wanted)
		}
		if got := strings.Join(r.lines(), "\n"); got != strings.Join(want, "\n") {
			t.Errorf("%s %q: got\n%s\nwant\n%s", kind, body, got, strings.Join(want, "\n"))
		}
		if r.Sink.Batches() != 1 {
			t.Errorf("%s %q: %d batches, want all in one", kind, body, r.Sink.Batches())
		}
	}
	from := func(rest string) string { return "host_filled host=agent-1 peer=127.0.0.1 " + rest }
	// Our own form, as `runnel query` prints it; what is the receiver's to know is not believed.
	f(ndjson, `{"time":"2026-11-22T10:07:05.5Z","received":"2026-11-22T10:07:06Z","stream":"evil","offset":42,"agent":"other","origin":"000102030405060708090a0b0c0d0e0f/3/app/42",`+
		`"facility":3,"severity":"err","host":"vm","app":"nginx","procid":"2833","msgid":"m","message":"hello","attrs":{"status":200},"sd":{"o@1":{"ip":"::1"}},"input":"x","peer":"9.9.9.9","flags":["truncated","gap","dead"]}`+"\n",
		`truncated time=2026-11-22T10:07:05.5Z facility=3 severity=3 host=vm app=nginx procid=2833 msgid=m sd="[o@1 ip=\"::1\"]" attrs.status="\xc8\x00\x00\x00\x00\x00\x00\x00" peer=127.0.0.1 message="hello"`)
	f(ndjson, `{"received":"2026-11-22T10:07:06Z","host":"vm","message":"a"}`, `time=2026-11-22T10:07:06Z host=vm peer=127.0.0.1 message="a"`)
	// What others write is kept as it came.
	f(ndjson, "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-22T10:07:05Z\"}\r\n\n  \n{\"message\":\"x\",\"timestamp\":1} \n\"a\\tb\"",
		from(`message="{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-22T10:07:05Z\"}"`), from(`message="{\"message\":\"x\",\"timestamp\":1}"`), from(`message="a\tb"`))
	f(ndjson, `{"message":"a","severity":9}`, from(`message="{\"message\":\"a\",\"severity\":9}"`))
	f(ndjson, `{"message":"a","message":"b"}`, from(`message="{\"message\":\"a\",\"message\":\"b\"}"`))
	f(ndjson, "{\"message\":\"\xff\\u0000\"}", from(`message="\xff\x00"`))
	f(asJSON, ` [ {"message":"a"} , "b",{"c":[1,{"d":null}]}]`, from(`message="a"`), from(`message="b"`), from(`message="{\"c\":[1,{\"d\":null}]}"`))
	f(asJSON, "{\n \"message\": \"a\"\n}", from(`message="a"`))
	f(asJSON, "{\"message\":\"a\"}{\"message\":\"b\"}\n[]\n[\"c\"]", from(`message="a"`), from(`message="b"`), from(`message="c"`))
	f(text, "one\r\ntwo\n\n<13>three \x00\xff", from(`message="one"`), from(`message="two"`), from(`message="<13>three \x00\xff"`))
	f("X: no type", "a\nb", from(`message="a"`), from(`message="b"`))
	f(asSyslog, "<11>1 2026-11-22T10:07:05Z vm app - - - a\n20 <13>1 - vm b - - - x", `time=2026-11-22T10:07:05Z facility=1 severity=3 host=vm app=app peer=127.0.0.1 message="a"`,
		`facility=1 severity=5 host=vm app=b peer=127.0.0.1 message="x"`)
}

func TestLongMessagesAreCut(t *testing.T) {
	r := start(t, "max_message: 480", inputtest.Setup{})
	long := strings.Repeat("x", 481)
	for _, kind := range []string{text, asSyslog, ndjson, asJSON} {
		body := long + "\n"
		if kind == ndjson || kind == asJSON {
			body = `{"message":"` + long + `"}`
		}
		if code, answer := r.send(t, []byte(body), kind); code != 200 {
			t.Errorf("%s: got %d %s", kind, code, answer)
		}
	}
	for _, v := range r.Sink.Wait(t, 4) {
		if len(v.Message()) != 480 || !strings.HasPrefix(inputtest.Line(v), "truncated") {
			t.Errorf("got %d bytes, flags %v", len(v.Message()), v.Flags().Names())
		}
	}
	if n := r.Count(`runnel_input_truncated_total{input="in"}`); n != 4 {
		t.Errorf("truncated_total is %v, want 4", n)
	}
}

func TestWhatIsWrongIsNamedAndNothingIsStored(t *testing.T) {
	r := start(t, "max_body: 64KiB", inputtest.Setup{})
	f := func(code int, want, body string, header ...string) {
		t.Helper()
		got, text := r.send(t, []byte(body), header...)
		if got != code || !strings.Contains(text, want) || !strings.HasPrefix(text, `{"error":"`) {
			t.Errorf("%.80q: got %d %s want %d with %q", body, got, text, code, want)
		}
	}
	f(400, "line 3: not valid JSON", "{\"message\":\"a\"}\n\n{\"message\":\"b\"", ndjson)
	f(400, "line 2: text after the JSON value, at byte 7", "{}\n{\"a\":1} x", ndjson)
	f(400, "line 1: want a JSON object or a string", "17", ndjson)
	f(400, "line 1: want a JSON object or a string", `[{"message":"a"}]`, ndjson)
	f(400, "line 1: not valid JSON, or nested more than 64 deep", `{"a":`+strings.Repeat("[", 64)+strings.Repeat("]", 64)+"}", ndjson)
	f(400, "line 3: not valid JSON", "[{\"message\":\"a\"},\n{},\n{]", asJSON)
	f(400, "line 1: the array does not end", `[{"message":"a"},`, asJSON)
	f(400, "line 1: the array does not end", `["a"`, asJSON)
	f(400, "line 2: ';' between", "[\"a\"\n;2]", asJSON)
	f(400, "message 1: the body ends inside a counted message", "99 <13>1 - - - - - - cut", asSyslog)
	f(400, "message 2: octet count beyond any message", "5 <13>a99999999999 <13>b", asSyslog)
	f(400, "decompress", "no gzip", text, "Content-Encoding: gzip")
	f(400, "decompress", "no zstd", text, "Content-Encoding: zstd")
	f(400, "Idempotency-Key", "a", text, "Idempotency-Key: a", "Idempotency-Key: b")
	f(400, "Idempotency-Key", "a", text, "Idempotency-Key: "+strings.Repeat("k", 1025))
	f(415, "text/xml", "a", "Content-Type: text/xml")
	f(415, "br", "a", text, "Content-Encoding: br")
	f(415, "gzip,zstd", "a", text, "Content-Encoding: gzip", "Content-Encoding: zstd")
	f(413, "larger than max_body", strings.Repeat("a", 64<<10+1), text)
	f(413, "too many records", strings.Repeat("a\n", 16<<10), text)
	f(403, "another site", "a", text, "Sec-Fetch-Site: cross-site")
	f(403, "another site", "a", text, "Origin: https://evil.example")
	if n := r.Sink.Len(); n != 0 {
		t.Errorf("%d records were stored, want none", n)
	}
	if code, text := r.send(t, []byte("\n\n"), text); code != 204 || text != "" {
		t.Errorf("a body without records: got %d %q, want 204", code, text)
	}
	if code, _ := r.send(t, []byte(strings.Repeat("a", 64<<10)), text); code != 200 {
		t.Errorf("a body of max_body: got %d, want 200", code)
	}
}

func TestOnlyPOSTAtTheRoot(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	f := func(method, path string, host string, code int) {
		t.Helper()
		q, err := http.NewRequest(method, r.url+path, strings.NewReader("a"))
		if err != nil {
			t.Fatal(err)
		}
		q.Host = host
		answer, err := r.client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != code || code == 405 && answer.Header.Get("Allow") != "POST" {
			t.Errorf("%s /%s to %q: got %s, want %d", method, path, host, answer.Status, code)
		}
	}
	f("GET", "", "", 405)
	f("PUT", "", "", 405)
	f("POST", "x", "", 404)
	f("POST", "", "localhost", 200)
	f("POST", "", "[::1]:80", 200)
	f("POST", "", "evil.example", 421) // DNS rebinding
	f("POST", "", "127.0.0.1.evil.example:4781", 421)
}

func pack(t testing.TB, how string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if how == "zstd" {
		var err error
		if w, err = zstd.NewWriter(&out); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPackedBodies(t *testing.T) {
	for _, how := range []string{"gzip", "zstd"} {
		r := start(t, "max_body: 1MiB", inputtest.Setup{})
		encoding := "Content-Encoding: " + how
		two := append(pack(t, how, []byte("one\ntw")), pack(t, how, []byte("o\nthree\n"))...) // members follow each other
		if code, answer := r.send(t, two, text, encoding); code != 200 || r.Sink.Len() != 3 {
			t.Errorf("%s: got %d %s and %d records, want 3", how, code, answer, r.Sink.Len())
		}
		if code, answer := r.send(t, two[:len(two)-3], text, encoding); code != 400 {
			t.Errorf("%s cut short: got %d %s, want 400", how, code, answer)
		}
		for _, size := range []int{1<<20 + 1, 64 << 20} {
			if code, answer := r.send(t, pack(t, how, make([]byte, size)), text, encoding); code != 413 {
				t.Errorf("%s of %d bytes: got %d %s, want 413", how, size, code, answer)
			}
		}
		if code, answer := r.send(t, pack(t, how, bytes.Repeat([]byte("x"), 900<<10)), text, encoding); code != 413 || !strings.Contains(answer, "200 times") {
			t.Errorf("%s that grows too much: got %d %s", how, code, answer)
		}
		bomb := pack(t, how, nil)
		for range 12 {
			bomb = append(bomb, pack(t, how, make([]byte, 200<<10))...)
		}
		if code, answer := r.send(t, bomb, text, encoding); code != 413 {
			t.Errorf("%s of many members: got %d %s, want 413", how, code, answer)
		}
		if n := r.Sink.Len(); n != 3 {
			t.Errorf("%s: %d records, want the first 3", how, n)
		}
		if used := r.Input.(*Input).memory.used.Load(); used != 0 {
			t.Errorf("%s: %d bytes are still counted", how, used)
		}
	}
}

func TestAWindowBeyondItsBoundIsRefused(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	// A frame that asks for a window of 1 GiB (RFC 8878 §3.1.1.1.2: exponent 20), and an empty last block.
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00}
	if code, answer := r.send(t, frame, text, "Content-Encoding: zstd"); code != 400 {
		t.Errorf("got %d %s, want 400", code, answer)
	}
}

func TestNothingIsAnsweredBeforeTheReceipt(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	release := r.Sink.Hold()
	defer release()
	got := make(chan int, 1)
	go func() {
		code, _, _ := r.try([]byte("a\n"), text)
		got <- code
	}()
	r.Sink.Wait(t, 1)
	select {
	case code := <-got:
		t.Fatalf("answered %d before the records were on disk", code)
	default:
	}
	release()
	if code := <-got; code != 200 {
		t.Errorf("got %d, want 200", code)
	}
}

func TestAStoreThatTakesNothingIs503(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	r.Sink.Refuse(errors.New("store is full"))
	q, _ := http.NewRequest("POST", r.url, strings.NewReader("a"))
	q.Header.Set("Idempotency-Key", "k")
	answer, err := r.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("got %s, Retry-After %q; want 503 and a time", answer.Status, answer.Header.Get("Retry-After"))
	}
	r.Sink.Refuse(nil)
	if code, answer := r.send(t, []byte("a"), "Idempotency-Key: k"); code != 200 || r.Sink.Len() != 1 {
		t.Errorf("afterwards: got %d %s and %d records, want it stored once", code, answer, r.Sink.Len())
	}
}

func TestTokens(t *testing.T) {
	t.Setenv("RUNNEL_TEST_TOKEN", "canary-secret")
	r := start(t, "token: {env: RUNNEL_TEST_TOKEN}", inputtest.Setup{})
	f := func(code int, header ...string) {
		t.Helper()
		if got, text := r.send(t, []byte("a"), header...); got != code {
			t.Errorf("%q: got %d %s, want %d", header, got, text, code)
		}
	}
	f(401)
	f(200, "Authorization: Bearer canary-secret")
	f(200, "Authorization: bearer  canary-secret ")
	f(401, "Authorization: Basic canary-secret")
	for range maxFailures {
		f(401, "Authorization: Bearer wrong")
	}
	f(429, "Authorization: Bearer wrong")
	f(200, "Authorization: Bearer canary-secret") // from this host: another user must not lock us out
	if r.Sink.Len() != 3 {
		t.Errorf("%d records, want 3", r.Sink.Len())
	}
}

func TestAPipelineIsAnsweredInOrder(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	c := inputtest.Dial(t, r.URL(0), "")
	if _, err := io.WriteString(c, post("a\nb")+post("x", "Content-Type: no/thing")+post("c")); err != nil {
		t.Fatal(err)
	}
	b := bufio.NewReader(c)
	for _, want := range []string{"200 {\"accepted\":2}\n", "415", "200 {\"accepted\":1}\n"} {
		answer, err := http.ReadResponse(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if got := fmt.Sprintf("%d %s", answer.StatusCode, body); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := r.Sink.Records(); len(got) != 3 || string(got[2].Message()) != "c" {
		t.Errorf("got %d records", len(got))
	}
}

func TestContinueIsSaidOnlyToWhatWillBeRead(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	f := func(header, want string) {
		t.Helper()
		c := inputtest.Dial(t, r.URL(0), "")
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"+header+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.Contains(line, want) {
			t.Errorf("%s: got %q, %v, want %s", header, line, err, want)
		}
	}
	f("Content-Length: 2", " 100 ")
	f("Content-Length: 9000000", " 413 ")
	f("Content-Length: 2\r\nContent-Type: a/b", " 415 ")
}

func TestAHeaderBeyondItsBoundIsRefused(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	for _, size := range []int{16 << 10, 1 << 20} {
		c := inputtest.Dial(t, r.URL(0), "")
		go io.WriteString(c, "POST / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", size)+"\r\n\r\n") //nolint:errcheck // it may be cut off
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.Contains(line, " 431 ") {
			t.Errorf("%d bytes: got %q, %v, want 431", size, line, err)
		}
	}
}

// A body whose sender goes away is not stored, and nothing of it stays.
func TestABodyCutShortIsNotStored(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	for _, head := range []string{"Content-Length: 9\r\n\r\none\ntwo", "Transfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n"} {
		c := inputtest.Dial(t, r.URL(0), "")
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: localhost\r\n"+head); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
	}
	r.Stop(t)
	if n, used := r.Sink.Len(), r.Input.(*Input).memory.used.Load(); n != 0 || used != 0 {
		t.Errorf("%d records are stored and %d bytes held, want none", n, used)
	}
}

func TestStopAnswersWhatHasBeenAsked(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	release := r.Sink.Hold()
	asked := inputtest.Dial(t, r.URL(0), "")
	if _, err := io.WriteString(asked, post("a")); err != nil {
		t.Fatal(err)
	}
	r.Sink.Wait(t, 1)
	inputtest.Dial(t, r.URL(0), "") // never says a word
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.Stop(t) }()
	release()
	answer, err := http.ReadResponse(bufio.NewReader(asked), nil)
	if err != nil || answer.StatusCode != 200 {
		t.Errorf("got %v, %v, want 200", answer, err)
	}
	<-stopped
}

// A stop while the store does not answer ends in time, and says 200 to nobody.
func TestStopGivesUpOnAStoreThatHangs(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	defer r.Sink.Hold()()
	got := make(chan int, 1)
	go func() {
		code, _, _ := r.try([]byte("a"))
		got <- code
	}()
	r.Sink.Wait(t, 1)
	began := time.Now()
	r.Stop(t)
	if took := time.Since(began); took > stopTime+time.Second {
		t.Errorf("the stop took %s", took)
	}
	if code := <-got; code == 200 {
		t.Error("a body whose fate is unknown was answered with 200")
	}
}

func TestCertificatesOfClients(t *testing.T) {
	dir, conf := inputtest.Dir(t, "listen: 127.0.0.1:0\ntls: {cert: $DIR/server.pem, key: $DIR/server.key}\n")
	r := inputtest.Start(t, Kind, dir, conf, inputtest.Setup{})
	if !strings.HasPrefix(r.URL(0), "tls://") {
		t.Errorf("listening on %s, want tls", r.URL(0))
	}
	c := inputtest.Dial(t, r.URL(0), dir)
	if err := say(t, c, "over TLS"); err != nil {
		t.Error(err)
	}
	plain := inputtest.Dial(t, "tcp"+strings.TrimPrefix(r.URL(0), "tls"), dir)
	if err := say(t, plain, "in the clear"); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("plain text on a TLS address: got %v, want 400", err)
	}
	if n := r.Count(`runnel_input_errors_total{input="in",reason="plain_text"}`); n != 1 || r.Sink.Len() != 1 {
		t.Errorf("%v plain texts counted and %d records, want 1 and 1", n, r.Sink.Len())
	}
}

func TestConnectionsBeyondTheirBoundAreClosed(t *testing.T) {
	r := start(t, "max_connections: 2", inputtest.Setup{})
	for range 2 {
		if err := say(t, inputtest.Dial(t, r.URL(0), ""), "a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := say(t, inputtest.Dial(t, r.URL(0), ""), "b"); err == nil {
		t.Error("a third connection was served")
	}
	if n := r.Count(`runnel_input_denied_total{input="in",reason="max_connections"}`); n != 1 || r.Sink.Len() != 2 {
		t.Errorf("%v denied, %d records; want 1 and 2", n, r.Sink.Len())
	}
}

func TestAConnectionEndsAfterItsLastRequest(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	c := inputtest.Dial(t, r.URL(0), "")
	b := bufio.NewReader(c)
	for i := 1; i <= maxRequests; i++ {
		if _, err := io.WriteString(c, post("")); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(b, nil)
		if err != nil || answer.StatusCode != 204 || answer.Close != (i == maxRequests) {
			t.Fatalf("request %d: got %v, %v", i, answer, err)
		}
	}
	if _, err := b.ReadByte(); err != io.EOF {
		t.Errorf("got %v, want the end of the connection", err)
	}
}

// A client that retires with its input is told to connect again.
func TestARetiredInputSendsItsClientsAway(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	c := inputtest.Dial(t, r.URL(0), "")
	b := bufio.NewReader(c)
	for _, last := range []bool{false, true} {
		if last {
			r.Input.Retire()
		}
		if _, err := io.WriteString(c, post("a")); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(b, nil)
		if err != nil || answer.StatusCode != 200 || answer.Close != last {
			t.Fatalf("got %v, %v, want 200 and the end %v", answer, err, last)
		}
		io.Copy(io.Discard, answer.Body) //nolint:errcheck // a few bytes
	}
	r.Wait(t)
}

// bodyOf gives a body a piece at a time.
type bodyOf struct{ next chan string }

func (b bodyOf) Read(p []byte) (int, error) {
	s, ok := <-b.next
	if !ok {
		return 0, io.EOF
	}
	return copy(p, s), nil
}

func TestMemoryOfBodiesIsBounded(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	in := r.Input.(*Input)
	in.memory.most = 40 << 10
	slow := bodyOf{make(chan string)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	q, _ := http.NewRequestWithContext(ctx, "POST", r.url, slow)
	got := make(chan int, 1)
	go func() {
		answer, err := r.client.Do(q)
		if err != nil {
			got <- 0
			return
		}
		answer.Body.Close()
		got <- answer.StatusCode
	}()
	for range 20 {
		slow.next <- strings.Repeat("x", 1<<10)
	}
	if code, answer := r.send(t, bytes.Repeat([]byte("y"), 39<<10)); code != 503 {
		t.Errorf("a second body: got %d %s, want 503 while the first is held", code, answer)
	}
	close(slow.next)
	if code := <-got; code != 503 && code != 200 {
		t.Errorf("the first body: got %d", code)
	}
	if used := in.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes are still counted", used)
	}
}

// quick shortens the bounds of time.
func quick(change func(*times)) func(config.Options) {
	return func(o config.Options) { change(&o.(*Options).times) }
}

// TestSlowClientsAreCutOff: whoever drips a handshake, a header or a body, or says
// nothing at all, loses the connection, and nobody else waits.
func TestSlowClientsAreCutOff(t *testing.T) {
	const limit = 100 * time.Millisecond
	all := quick(func(o *times) { o.handshake, o.header, o.idle, o.grace = limit, limit, limit, limit })
	r := start(t, "", inputtest.Setup{Options: all})
	f := func(name, url, first, drip, want string) {
		t.Run(name, func(t *testing.T) {
			c := inputtest.Dial(t, url, "")
			if _, err := io.WriteString(c, first); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			defer close(done)
			go func() {
				tick := time.NewTicker(limit / 5)
				defer tick.Stop()
				for drip != "" {
					select {
					case <-tick.C:
						io.WriteString(c, drip) //nolint:errcheck // it will be cut off
					case <-done:
						return
					}
				}
			}()
			// The bounds are the healthy client's too: on a machine that stands still for as long
			// it is cut off itself, and comes again.
			code, err := 0, error(nil)
			for try := 0; try < 10 && code != 200; try++ {
				r.client.CloseIdleConnections()
				code, _, err = r.try([]byte("healthy"))
			}
			if code != 200 {
				t.Errorf("another client got %d, %v", code, err)
			}
			got, _ := io.ReadAll(c) // a reset counts as an end
			if !strings.Contains(string(got), want) || strings.Contains(string(got), "200 OK") && want == "" {
				t.Errorf("got %q, want it to end with %q", got, want)
			}
		})
	}
	f("silence", r.URL(0), "", "", "")
	f("header", r.URL(0), "POST / HTTP/1.1\r\nX: ", "x", "")
	f("body", r.URL(0), "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", "x", " 408 ")
	f("rest of a refused body", r.URL(0), "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: a/b\r\nContent-Length: 100000\r\n\r\n", "x", " 415 ")
	f("after a request", r.URL(0), post("a"), "", " 200 ")
	dir, conf := inputtest.Dir(t, "listen: 127.0.0.1:0\ntls: {cert: $DIR/server.pem, key: $DIR/server.key}\n")
	over := inputtest.Start(t, Kind, dir, conf, inputtest.Setup{Options: all})
	f("handshake", "tcp"+strings.TrimPrefix(over.URL(0), "tls"), "\x16\x03\x01", "", "")
	r.Stop(t)
	if used := r.Input.(*Input).memory.used.Load(); used != 0 {
		t.Errorf("%d bytes are still counted", used)
	}
}
