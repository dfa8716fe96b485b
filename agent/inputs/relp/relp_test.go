package relp

import (
	"flag"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/relp"
)

var _ = flag.Bool("update", false, "rewrite the want parts of testdata/*.txtar")

// captured is the clock of the cases: the year of an RFC 3164 time depends on it.
var captured = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// with returns Kind with options that cannot be written in a config.
func with(change func(*Options)) inputs.Kind {
	k := Kind
	k.New = func(o config.Options, s inputs.Setup) (inputs.Input, error) {
		change(o.(*Options))
		return Kind.New(o, s)
	}
	return k
}

func TestConformance(t *testing.T) {
	kind := with(func(o *Options) { o.now = func() time.Time { return captured } })
	var mu sync.Mutex
	clients := map[net.Conn]*client{}
	say := func(t testing.TB, c net.Conn, message string) error {
		mu.Lock()
		defer mu.Unlock()
		if clients[c] == nil {
			if len(clients) > 300 {
				clear(clients) // inputtest weighs what is left when connections have gone
			}
			clients[c] = newClient(t, c)
			if err := clients[c].tryOpen(); err != nil {
				return err
			}
		}
		clients[c].send("<13>1 - - - - - - " + message)
		_, _, err := clients[c].tryAnswer()
		return err
	}
	inputtest.RunAs(t, kind, say, "tcp://127.0.0.1:0", "tls://127.0.0.1:0", "unix://$DIR/stream")
}

func TestSampleIsTheDefault(t *testing.T) {
	got := inputtest.Options(t, Kind, t.TempDir(), Kind.Sample).(*Options)
	want := newOptions()
	if got.Format != want.Format || got.MaxMessage != want.MaxMessage || got.Timezone != want.Timezone || got.Window != want.Window ||
		got.MaxConnections != want.MaxConnections || len(got.Allow) != 0 || got.TLS != nil {
		t.Errorf("sample.yaml says %+v, the defaults are %+v", got, want)
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	f := func(section string, want ...string) {
		t.Helper()
		n, ps := config.ParseIn("runnel.yaml", t.TempDir(), []byte(section))
		if len(ps) > 0 {
			t.Fatal(ps)
		}
		config.Decode(n, newOptions(), &ps)
		if len(ps) != len(want) {
			t.Errorf("%s\n got %v\nwant %q", section, ps, want)
			return
		}
		for i, p := range ps {
			if got := p.Path + ": " + p.Text; got != want[i] {
				t.Errorf("%s\n got %s\nwant %s", section, got, want[i])
			}
		}
	}
	f("listen: tcp://:2514")
	f("listen: [tcp://:2514, unix:///run/relp.sock?mode=0660]\nwindow: 1\nallow: 10.0.0.0/8\nmax_message: 16MiB")
	f("format: auto", `listen: is missing; write listen: […]`)
	f("listen: udp://:2514", `listen: "udp://:2514" takes datagrams, and RELP needs a connection; write tcp://, tls:// or unix://`)
	f("listen: [tcp://:2514, tls://:2514]", `listen[1]: "tls://:2514" is there twice; remove one`)
	f("listen: tls://:2514", `listen: "tls://:2514" needs a certificate; write tls: {cert: FILE, key: FILE} beside listen`)
	f("listen: tcp://:2514\nwindow: 0", `window: 0 is out of bounds; write a number of messages from 1 to 1048576`)
	f("listen: tcp://:2514\nmax_message: 17MiB", `max_message: 17MiB is out of bounds; write a size from 480 to 16MiB`)
	f("listen: tcp://:2514\nmax_connections: 0", `max_connections: 0 is out of bounds; write a number from 1 to 1048576`)
	f("listen: tcp://:2514\nallow: [somewhere]", `allow[0]: "somewhere" is not a network; write one such as 10.0.0.0/8 or 192.0.2.7`)
	f("listen: tcp://:2514\ntimezone: Paris", `timezone: "Paris" is not a zone this host knows; write local, UTC or a name such as Europe/Paris`)
}

// client is a small honest client; it keeps what it has no answer to.
type client struct {
	testing.TB
	net.Conn
	reader *relp.Reader
	next   uint32
}

func newClient(t testing.TB, c net.Conn) *client {
	_ = c.SetDeadline(time.Now().Add(inputtest.Patience))
	return &client{TB: t, Conn: c, reader: relp.NewReader(c), next: 1}
}

// dial opens a session at the ith address of an input.
func dial(t testing.TB, r *inputtest.Running, i int) *client {
	t.Helper()
	c := newClient(t, inputtest.Dial(t, r.URL(i), ""))
	if err := c.tryOpen(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *client) tryOpen() error {
	o := relp.Offers{Version: 0, Software: []string{"test"}, Commands: []string{relp.Syslog}}
	if _, err := c.Write(relp.AppendOpen(nil, c.next, &o)); err != nil {
		return err
	}
	c.next = relp.Next(c.next)
	_, answer, err := c.tryAnswer()
	if err == nil && answer.Code != relp.CodeOK {
		c.Errorf("open was answered %d %q", answer.Code, answer.Text)
	}
	return err
}

// send sends messages in one write, and returns the transaction number of the first.
func (c *client) send(messages ...string) uint32 {
	first := c.next
	var wire []byte
	for _, m := range messages {
		wire = relp.AppendFrame(wire, c.next, relp.Syslog, []byte(m))
		c.next = relp.Next(c.next)
	}
	_, _ = c.Write(wire) // who waits for the answer notices
	return first
}

func (c *client) command(name string) {
	_, _ = c.Write(relp.AppendFrame(nil, c.next, name, nil))
	c.next = relp.Next(c.next)
}

// tryAnswer returns the next answer; os.ErrClosed is the server's last word.
func (c *client) tryAnswer() (uint32, relp.Answer, error) {
	f, err := c.reader.Next()
	if err != nil {
		return 0, relp.Answer{}, err
	}
	if string(f.Command) == relp.ServerClose {
		return 0, relp.Answer{}, os.ErrClosed
	}
	a, err := relp.ParseAnswer(f.Data)
	return f.Txnr, a, err
}

// answers expects that many 200s, from a transaction number on.
func (c *client) answers(first uint32, n int) {
	c.Helper()
	for range n {
		txnr, a, err := c.tryAnswer()
		if err != nil || txnr != first || a.Code != relp.CodeOK {
			c.Fatalf("got answer %d %d %q, %v, want %d 200", txnr, a.Code, a.Text, err, first)
		}
		first = relp.Next(first)
	}
}

// ends expects that nothing more is answered and the connection ends.
func (c *client) ends() {
	c.Helper()
	for {
		txnr, a, err := c.tryAnswer()
		switch {
		case err == os.ErrClosed:
			continue
		case err != nil:
			if e, ok := err.(net.Error); ok && e.Timeout() {
				c.Errorf("the connection is still open")
			}
			return
		case a.Code == relp.CodeOK:
			c.Errorf("got answer %d 200", txnr)
		}
	}
}
