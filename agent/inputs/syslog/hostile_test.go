package syslog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
)

// hostile is a case of testdata/hostile/hostile.jsonl.
type hostile struct {
	Name      string
	Transport string
	Steps     []struct {
		Send       []byte `json:"send_b64"`
		SendRepeat *struct {
			B64   []byte
			Times int
		} `json:"send_repeat"`
		Drip *struct {
			B64 []byte
			N   int `json:"bytes_per_write"`
		}
		Close string
	}
	Check struct {
		GrowthMB     int `json:"max_rss_growth_mb"`
		Conn         string
		Conns        int
		OtherOK      bool     `json:"other_conns_ok"`
		Frames       *int     `json:"frames_expected"`
		FramesBytes  [][]byte `json:"frames_expected_b64"`
		MinFrames    int      `json:"min_frames"`
		LastFrame    []byte   `json:"last_frame_b64"`
		Clock, Stamp string
		Timestamp    string
	}
}

func TestHostile(t *testing.T) {
	file, err := os.Open("../../../testdata/hostile/hostile.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var h hostile
		if err := json.Unmarshal(lines.Bytes(), &h); err != nil {
			t.Fatal(err)
		}
		t.Run(h.Name, func(t *testing.T) {
			switch {
			case h.Check.Conns > 0:
				h.many(t)
			case h.Transport == "udp" || h.Transport == "unixgram":
				h.datagram(t)
			default:
				h.connection(t)
			}
		})
	}
	if lines.Err() != nil || n < 50 {
		t.Fatalf("%d cases, %v; want 57", n, lines.Err())
	}
}

// start runs an input for h, with a second, healthy sender's address beside it.
func (h *hostile) start(t *testing.T) (r *inputtest.Running, dir string) {
	t.Helper()
	now := captured
	if h.Check.Clock != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, h.Check.Clock); err != nil {
			t.Fatal(err)
		}
	}
	url := h.Transport + "://127.0.0.1:0"
	if h.Transport == "unixgram" {
		url = "unixgram://$DIR/gram"
	}
	conf := "listen: [" + url + ", tcp://localhost:0]\ntimezone: UTC\n"
	if h.Transport == "tls" {
		conf += "tls: {cert: server.pem, key: server.key}\n"
	}
	dir, conf = inputtest.Dir(t, conf)
	return inputtest.Start(t, at(now), dir, conf, inputtest.Setup{}), dir
}

// from picks the records of one host.
func from(host string) func(record.View) bool {
	return func(v record.View) bool { return string(v.Host()) == host }
}

// send plays the steps.
func (h *hostile) send(t *testing.T, c net.Conn) {
	t.Helper()
	write := func(b []byte) {
		if _, err := c.Write(b); err != nil && h.Check.Conn == "" {
			t.Fatalf("write: %v", err)
		}
	}
	for _, s := range h.Steps {
		switch {
		case s.SendRepeat != nil:
			piece := bytes.Repeat(s.SendRepeat.B64, 64<<10)
			for left := s.SendRepeat.Times * len(s.SendRepeat.B64); left > 0; left -= len(piece) {
				write(piece[:min(left, len(piece))])
			}
		case s.Drip != nil:
			for i := 0; i < len(s.Drip.B64); i += s.Drip.N {
				write(s.Drip.B64[i:min(i+s.Drip.N, len(s.Drip.B64))])
			}
		case s.Close == "":
			write(s.Send)
		}
	}
}

func (h *hostile) connection(t *testing.T) {
	r, dir := h.start(t)
	other := inputtest.Dial(t, r.URL(1), dir)
	good := func(n int) {
		t.Helper()
		fmt.Fprintf(other, "<13>1 - other - - - - %d\n", n)
		r.Sink.WaitFor(t, n, from("other"))
	}
	good(1)
	peak := watchMemory(t)
	url := r.URL(0)
	if h.Name == "tls_renegotiation_and_plain" {
		url = strings.Replace(url, "tls://", "tcp://", 1)
	}
	c := inputtest.Dial(t, url, dir)
	h.send(t, c)
	if h.Check.Conn != "must_close" {
		c.(interface{ CloseWrite() error }).CloseWrite()
	}
	// The input closes after it has emitted everything, be it at our end or for its own reasons.
	c.SetReadDeadline(time.Now().Add(inputtest.Patience))
	if _, err := io.Copy(io.Discard, c); err != nil && os.IsTimeout(err) {
		t.Fatalf("the connection is not closed: %v", err)
	}
	if grown := peak(); h.Check.GrowthMB > 0 && grown > memoryFactor*h.Check.GrowthMB {
		t.Errorf("memory grew by %d MB, want at most %d", grown, h.Check.GrowthMB)
	}
	good(2)
	r.Stop(t)
	h.verify(t, r, "")
}

func (h *hostile) datagram(t *testing.T) {
	r, dir := h.start(t)
	c := inputtest.Dial(t, r.URL(0), dir)
	if u, ok := c.(*net.UnixConn); ok {
		u.SetWriteBuffer(1 << 20)
	}
	h.send(t, c)
	fmt.Fprint(c, "<13>1 - marker - - - - -")
	r.Sink.WaitFor(t, 1, from("marker"))
	r.Stop(t)
	h.verify(t, r, "marker")
}

// verify compares what came with what the case says.
func (h *hostile) verify(t *testing.T, r *inputtest.Running, marker string) {
	t.Helper()
	var got []record.View
	marked := false
	for _, v := range r.Sink.Records() {
		switch string(v.Host()) {
		case "other":
		case "marker":
			marked = true
		default:
			got = append(got, v)
		}
	}
	if marker != "" && !marked {
		t.Error("the datagram after it did not come")
	}
	if want := h.Check.Frames; want != nil && len(got) != *want {
		t.Errorf("got %d records, want %d", len(got), *want)
	}
	if len(got) < h.Check.MinFrames {
		t.Errorf("got %d records, want at least %d", len(got), h.Check.MinFrames)
	}
	if want := h.Check.FramesBytes; want != nil {
		if len(got) != len(want) {
			t.Fatalf("got %d records, want %d", len(got), len(want))
		}
		for i := range want {
			same(t, got[i], want[i])
		}
	}
	if h.Check.LastFrame != nil {
		if len(got) == 0 {
			t.Fatal("got no record")
		}
		same(t, got[len(got)-1], h.Check.LastFrame)
	}
	if h.Check.Timestamp != "" {
		if at := record.TimeOf(got[0].Time()).Format(time.RFC3339); at != h.Check.Timestamp {
			t.Errorf("got time %s, want %s", at, h.Check.Timestamp)
		}
	}
	if n := r.Count(`runnel_input_connections{input="in"}`); n != 0 {
		t.Errorf("%v connections are left", n)
	}
	switch h.Name {
	case "tls_renegotiation_and_plain":
		counted(t, r, `runnel_input_errors_total{input="in",reason="plain_text"}`, 1)
	case "octet_huge_9digits":
		counted(t, r, `runnel_input_errors_total{input="in",reason="octet_count"}`, 1)
	case "many_empty_lines":
		counted(t, r, `runnel_input_ignored_total{input="in",reason="empty"}`, 1_000_000)
	case "octet_10mb_valid", "line_10mb_no_newline":
		counted(t, r, `runnel_input_truncated_total{input="in"}`, 1)
	case "udp_empty":
		counted(t, r, `runnel_input_ignored_total{input="in",reason="empty"}`, 1)
	case "unixgram_200kb":
		if len(got) != 1 || len(got[0].Message()) < 150_026-64 || got[0].Flags()&record.Truncated != 0 {
			t.Errorf("got %d records, want one, whole", len(got))
		}
	}
	if marker != "" && h.Name != "udp_empty" && len(got) != 1 {
		t.Errorf("got %d records of one datagram", len(got))
	}
}

func counted(t *testing.T, r *inputtest.Running, name string, want float64) {
	t.Helper()
	if got := r.Count(name); got != want {
		t.Errorf("%s: got %v, want %v", name, got, want)
	}
}

// same reports whether v is what the parser makes of the frame.
func same(t *testing.T, v record.View, frame []byte) {
	t.Helper()
	var r record.Record
	(&syslog.Parser{Location: time.UTC, Now: func() time.Time { return captured }}).Parse(frame, &r)
	if string(v.Message()) != string(r.Message) || string(v.App()) != string(r.App) || v.Time() != r.Time || v.Severity() != r.Severity {
		t.Errorf("got %s, want what %q says", inputtest.Line(v), frame)
	}
}

// many plays the cases of many connections.
func (h *hostile) many(t *testing.T) {
	r, dir := h.start(t)
	other := inputtest.Dial(t, r.URL(1), dir)
	before := descriptors(t)
	peak := watchMemory(t)
	n := h.Check.Conns
	if h.Steps[0].Drip != nil {
		line := h.Steps[0].Drip.B64
		conns := make([]net.Conn, n)
		for i := range conns {
			conns[i] = inputtest.Dial(t, r.URL(0), dir)
		}
		for at := range line { // a byte to each, round after round
			for _, c := range conns {
				if _, err := c.Write(line[at : at+1]); err != nil {
					t.Fatal(err)
				}
			}
			if at == len(line)/2 {
				fmt.Fprint(other, "<13>1 - other - - - - between\n")
				r.Sink.Wait(t, 1)
			}
		}
		r.Sink.Wait(t, n+1)
		if grown := peak(); grown > memoryFactor*h.Check.GrowthMB {
			t.Errorf("memory grew by %d MB with %d connections, want at most %d", grown, n, h.Check.GrowthMB)
		} else {
			t.Logf("memory grew by %d MB with %d connections", grown, n)
		}
		return
	}
	storm(t, r.URL(0), n)
	fmt.Fprint(other, "<13>1 - other - - - - after\n")
	r.Sink.Wait(t, 1)
	r.Stop(t)
	if after := descriptors(t); after > before+8 {
		t.Errorf("%d descriptors are open, there were %d", after, before)
	}
}

// storm connects and closes n times, from many loopback addresses, so that the
// ports in TIME_WAIT do not run out.
func storm(t *testing.T, url string, n int) {
	t.Helper()
	a, err := listen.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	const workers = 4
	for w := range workers {
		wg.Go(func() {
			for i := range n / workers {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(w), byte(1+i%250))}, Timeout: inputtest.Patience}
				c, err := d.Dial("tcp", net.JoinHostPort(a.Host, strconv.Itoa(a.Port)))
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				c.Close()
			}
		})
	}
	wg.Wait()
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // no such count on this system
	}
	return len(entries)
}

// watchMemory returns how many MB the process's peak of resident memory has
// risen since now; 0 where that cannot be known.
func watchMemory(t *testing.T) func() int {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	if os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) != nil { // resets the peak: proc(5)
		return func() int { return 0 }
	}
	before := status(t, "VmHWM:")
	return func() int { return (status(t, "VmHWM:") - before) >> 10 }
}

// status returns a line of /proc/self/status, in KiB.
func status(t testing.TB, key string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in /proc/self/status", key)
	return 0
}
