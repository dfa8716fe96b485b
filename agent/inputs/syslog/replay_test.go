package syslog

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/record"
)

// capture is NAME.meta.json of testdata: the reads and datagrams of one capture.
type capture struct {
	Listen string
	Events [][]any
	Files  []string
	dir    string
	name   string
}

// TestCapturesReplayed sends the captures of real senders over real sockets
// again, with the reads' own boundaries, and expects as many records as the
// capture holds messages.
func TestCapturesReplayed(t *testing.T) {
	var metas []string
	for _, glob := range []string{"docker/raw/docker-syslog*/*.meta.json", "docker/raw/docker-realapps/*.meta.json", "senders/raw/*.meta.json"} {
		found, err := filepath.Glob("../../../testdata/" + glob)
		if err != nil {
			t.Fatal(err)
		}
		metas = append(metas, found...)
	}
	if len(metas) < 40 {
		t.Fatalf("found %d captures, want at least 40", len(metas))
	}
	for _, file := range metas {
		c := capture{dir: filepath.Dir(file), name: strings.TrimSuffix(filepath.Base(file), ".meta.json")}
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &c)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Run(c.name, c.replay)
	}
}

func (c *capture) replay(t *testing.T) {
	scheme, _, _ := strings.Cut(c.Listen, "://")
	if scheme == "tcp+tls" {
		scheme = "tls"
	}
	conf := "listen: " + scheme + "://127.0.0.1:0\ntimezone: UTC"
	if strings.HasPrefix(scheme, "unix") {
		conf = "listen: " + scheme + "://$DIR/s\ntimezone: UTC"
	}
	if scheme == "tls" {
		conf += "\ntls: {cert: server.pem, key: server.key}"
	}
	dir, conf := inputtest.Dir(t, conf)
	r := inputtest.Start(t, at(captured), dir, conf, inputtest.Setup{})
	want, size := 0, 0
	for i, file := range c.Files {
		raw, err := os.ReadFile(filepath.Join(c.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		size += len(raw)
		conn := inputtest.Dial(t, r.URL(0), dir)
		if strings.Contains(file, ".dgram.") {
			want += c.datagrams(t, conn, raw)
			continue
		}
		want += messages(raw)
		c.stream(t, conn, raw, connection(file, i))
		conn.Close()
	}
	r.Sink.Wait(t, want)
	r.Stop(t)
	records := r.Sink.Records()
	if len(records) != want {
		t.Errorf("got %d records of %d bytes, want %d", len(records), size, want)
	}
	for _, v := range records {
		if v.Flags()&(record.Truncated|record.Partial) != 0 {
			t.Errorf("got %s", inputtest.Line(v))
		}
	}
}

// datagrams sends each datagram again and returns how many hold something.
func (c *capture) datagrams(t *testing.T, conn net.Conn, raw []byte) (n int) {
	t.Helper()
	if u, ok := conn.(*net.UnixConn); ok {
		u.SetWriteBuffer(1 << 20)
	}
	for _, e := range c.Events {
		if e[2] != "dgram" {
			continue
		}
		from, size := int(e[3].(float64)), int(e[4].(float64))
		if _, err := conn.Write(raw[from : from+size]); err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// stream sends one connection's bytes with the boundaries of its reads.
func (c *capture) stream(t *testing.T, conn net.Conn, raw []byte, number int) {
	t.Helper()
	sent := 0
	for _, e := range c.Events {
		if int(e[1].(float64)) != number || e[2] != "read" {
			continue
		}
		from, size := int(e[3].(float64)), int(e[4].(float64))
		if _, err := conn.Write(raw[from : from+size]); err != nil {
			t.Fatal(err)
		}
		sent += size
	}
	if sent != len(raw) {
		t.Errorf("connection %d: the reads add up to %d bytes of %d", number, sent, len(raw))
	}
}

// connection reads the number in NAME.c001.raw.
func connection(file string, i int) int {
	parts := strings.Split(file, ".")
	for _, p := range parts {
		if len(p) == 4 && p[0] == 'c' {
			return int(p[1]-'0')*100 + int(p[2]-'0')*10 + int(p[3]-'0')
		}
	}
	return i + 1
}

// messages counts the messages of a stream in a plain way of its own: by the
// count if there is one, else by lines that are not empty.
func messages(raw []byte) (n int) {
	for len(raw) > 0 {
		if raw[0] == '\n' {
			raw = raw[1:]
			continue
		}
		size, digits := 0, 0
		for digits < len(raw) && '0' <= raw[digits] && raw[digits] <= '9' {
			size = size*10 + int(raw[digits]-'0')
			digits++
		}
		n++
		if digits > 0 && digits+1 < len(raw) && raw[digits] == ' ' && raw[digits+1] == '<' {
			raw = raw[min(digits+1+size, len(raw)):]
			continue
		}
		i := 0
		for i < len(raw) && raw[i] != '\n' {
			i++
		}
		raw = raw[min(i+1, len(raw)):]
	}
	return n
}

// TestDockerCasesHaveTheirContainer: a captured tag that is or holds an id comes
// out as container_id, and no other does.
func TestDockerCasesHaveTheirContainer(t *testing.T) {
	with := 0
	for _, name := range []string{"cases-docker.jsonl", "cases-docker-tags.jsonl", "cases-docker-app.jsonl"} {
		text, err := os.ReadFile("../../../testdata/docker/" + name)
		if err != nil {
			t.Fatal(err)
		}
		r := inputtest.Start(t, at(captured), "", "listen: udp://127.0.0.1:0\ntimezone: UTC", inputtest.Setup{})
		c := inputtest.Dial(t, r.URL(0), "")
		n, apps := 0, map[string]bool{}
		for line := range strings.Lines(string(text)) {
			var d struct {
				Raw    []byte `json:"raw_b64"`
				Expect struct{ App string }
			}
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				t.Fatal(err)
			}
			if len(d.Raw) > 60_000 {
				continue
			}
			if _, err := c.Write(strip(d.Raw)); err != nil {
				t.Fatal(err)
			}
			apps[d.Expect.App] = true
			n++
		}
		for _, v := range r.Sink.Wait(t, n) {
			app := string(v.App())
			id, ok := v.Attr(attrContainer)
			if v.Flags()&record.BestEffort != 0 {
				continue // a tag with blanks
			}
			if !apps[app] {
				t.Errorf("%s: an app that Docker did not write", inputtest.Line(v))
			}
			want := app[strings.LastIndexByte(app, '/')+1:]
			if (len(want) != shortID && len(want) != fullID) || strings.Trim(want, "0123456789abcdef") != "" {
				want = ""
			}
			if string(id.Data) != want {
				t.Errorf("app %q: got container_id %q, want %q", app, id.Data, want)
			}
			if ok {
				with++
			}
		}
		r.Stop(t)
	}
	if with < 400 {
		t.Errorf("%d messages have a container_id, want more than 400", with)
	}
}

// strip takes an octet count off: a datagram has none.
func strip(raw []byte) []byte {
	i := 0
	for i < len(raw) && '0' <= raw[i] && raw[i] <= '9' {
		i++
	}
	if i > 0 && i < len(raw) && raw[i] == ' ' {
		return raw[i+1:]
	}
	return raw
}

// TestSilentConnectionsAreWelcome: one that says nothing for long stays open,
// keeps a small buffer, and its next line comes.
func TestSilentConnectionsAreWelcome(t *testing.T) {
	r := inputtest.Start(t, Kind, "", "listen: tcp://127.0.0.1:0", inputtest.Setup{})
	c := inputtest.Dial(t, r.URL(0), "")
	if _, err := c.Write([]byte("<13>1 - - - - - - first\n")); err != nil {
		t.Fatal(err)
	}
	first := r.Sink.Wait(t, 1)[0]
	if got := time.Unix(0, first.Received()); time.Since(got) > inputtest.Patience {
		t.Errorf("received at %s", got)
	}
	silent := inputtest.Dial(t, r.URL(0), "")
	if _, err := c.Write([]byte("<13>1 - - - - - - second\n")); err != nil {
		t.Fatal(err)
	}
	r.Sink.Wait(t, 2)
	silent.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := silent.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Errorf("the silent connection: got %v, want it open", err)
	}
}
