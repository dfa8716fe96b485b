//go:build integration

package integration

import (
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const httpInput = `
inputs: {web: {type: http, listen: '127.0.0.1:%d', max_body: 16MiB, token: {env: RUNNEL_TEST_TOKEN}}}
pipelines: {main: {from: [web], stream: app}}
streams: {app: {max_size: 4GiB}}
`

// TestFromSyslogNGOverHTTP has syslog-ng's http() send batches of syslog lines.
func TestFromSyslogNGOverHTTP(t *testing.T) {
	t.Setenv("RUNNEL_TEST_TOKEN", "secret")
	in, out := freePort(t), freePort(t)
	a := startAgent(t, fmt.Sprintf(httpInput, out))
	p := startSyslogNG(t, fmt.Sprintf(`
@module http
source s { syslog(ip(127.0.0.1) port(%d) transport("tcp") log-iw-size(10000)); };
destination d { http(url("http://127.0.0.1:%d/") method("POST") headers("Content-Type: application/syslog", "Authorization: Bearer secret")
  body("<$PRI>1 $ISODATE $HOST $PROGRAM $PID $MSGID $SDATA $MSG") delimiter("\n") batch-lines(1000) batch-timeout(100) workers(1)); };
log { source(s); destination(d); flags(flow-control); };
`, in, out))
	waitForPort(t, p, in)
	sendSamples(t, fmt.Sprintf("127.0.0.1:%d", in), true)
	waitForRecords(t, a, "app", interop)
	p.stop(t)
	checkRecords(t, a.query(t, "stream=app"))
}

// TestFromCurl has curl send what a query prints, packed and in chunks, twice under one key.
func TestFromCurl(t *testing.T) {
	t.Setenv("RUNNEL_TEST_TOKEN", "secret")
	out := freePort(t)
	a := startAgent(t, fmt.Sprintf(httpInput, out))
	curl := func(want string, arguments ...string) {
		t.Helper()
		all := append([]string{"-sS", "-w", "%{http_code}", "-H", "Authorization: Bearer secret", fmt.Sprintf("http://127.0.0.1:%d/", out)}, arguments...)
		said, err := exec.Command("curl", all...).CombinedOutput()
		if err != nil || string(said) != want {
			t.Errorf("curl %q: %v, said %q, want %q", arguments, err, said, want)
		}
	}
	file := filepath.Join(t.TempDir(), "body.gz")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	const n = 20_000
	for i := range n {
		s := sample{i}
		fmt.Fprintf(z, `{"time":%q,"facility":%d,"severity":%d,"host":%q,"app":%q,"procid":%q,"msgid":%q,"message":%q,"sd":{"x@32473":{"seq":"%d","text":"a\"b]c\\d é"}}}`+"\n",
			s.time().Format("2006-01-02T15:04:05.000000Z07:00"), s.facility(), s.severity(), s.host(), s.app(), s.procid(), s.msgid(), s.message(), i)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	packed := []string{"-H", "Content-Type: application/x-ndjson", "-H", "Content-Encoding: gzip", "-H", "Idempotency-Key: once", "--data-binary", "@" + file}
	accepted := fmt.Sprintf("{\"accepted\":%d}\n200", n)
	curl(accepted, packed...)
	curl(accepted, packed...)
	curl(accepted, append(packed, "-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue")...)
	curl("{\"accepted\":2}\n200", "-H", "Content-Type:", "--data-binary", "message x\nmessage y\n")
	curl("{\"error\":\"only POST is understood here\"}\n405")
	got := a.query(t, "stream=app")
	if len(got) != n+2 {
		t.Fatalf("%d records are stored, want %d", len(got), n+2)
	}
	for i, r := range got[:n] {
		s := sample{i}
		if r.Facility != s.facility() || r.Severity != s.severity() || !r.Time.Equal(s.time()) || r.Host != s.host() || r.App != s.app() || r.ProcID != s.procid() ||
			r.MsgID != s.msgid() || r.Message != s.message() || r.SD["x@32473"]["text"] != `a"b]c\d é` || r.Input != "web" || r.Peer != "127.0.0.1" {
			t.Fatalf("record %d: %+v", i, r)
		}
	}
	if last := got[n+1]; last.Message != "message y" || strings.Join(last.Flags, "") != "host_filled" {
		t.Errorf("got %+v", last)
	}
}
