package query

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/runnel-log/runnel/record"
)

func TestTimesAreReadAsUsersWriteThem(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f := func(text, want string) {
		t.Helper()
		ns, err := instant(text, now)
		got := time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: got %s (%v), want %s", text, got, err, want)
		}
	}
	f("now", "2026-11-22T12:00:00Z")
	f("-15m", "2026-11-22T11:45:00Z")
	f("-1h30m", "2026-11-22T10:30:00Z")
	f("-1.5h", "2026-11-22T10:30:00Z")
	f("-7d", "2026-11-15T12:00:00Z")
	f("-2w", "2026-11-08T12:00:00Z")
	f("+5m", "2026-11-22T12:05:00Z")
	f(" 5m", "2026-11-22T12:05:00Z")
	f("-500ms", "2026-11-22T11:59:59.5Z")
	f("0", "1970-01-01T00:00:00Z")
	f("1700000000", "2023-11-14T22:13:20Z")
	f("1700000000.25", "2023-11-14T22:13:20.25Z")
	f("1700000000.123456789123", "2023-11-14T22:13:20.123456789Z")
	f("2026-11-22T10:07:05.143147Z", "2026-11-22T10:07:05.143147Z")
	f("2026-11-22T10:07:05+02:00", "2026-11-22T08:07:05Z")
	f("2026-11-22T10:07:05 02:00", "2026-11-22T08:07:05Z")
	for _, bad := range []string{"", "-", "+", " ", "  5m", "-15", "-15x", "-m", "-1e9h", "-999999d", "1700000000000", "1.", ".5",
		"yesterday", "2026-11-22", "2026-13-22T10:00:00Z", "0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "-1.2.3h", "99999999999999999999", "-\x00m"} {
		f(bad, "error")
	}
}

func TestGrepFindsOnlyInsideOneField(t *testing.T) {
	var r record.Record
	var b record.Batch
	for i := range 20 {
		r = line("message", int64(i))
		r.Host, r.App, r.ProcID, r.MsgID, r.SD = []byte("host"), []byte("nginx"), []byte("2833"), []byte("mid"), []byte("[a b=\"sd\"]")
		r.Attrs.SetString("team", "payments")
		r.Attrs.Set("list", record.JSON, []byte(`["inner"]`))
		r.Attrs.SetInt("status", 0x4141414141414141)
		if i == 7 {
			r.Message = []byte("a needle here")
		}
		if err := b.Append(&r); err != nil {
			t.Fatal(err)
		}
	}
	f := func(needle string, from, to, want int) {
		t.Helper()
		if got := grep(&b, from, to, []byte(needle), nil); len(got) != want {
			t.Errorf("%q in [%d, %d): got %v, want %d", needle, from, to, got, want)
		}
	}
	f("needle", 0, 20, 1)
	f("needle", 7, 8, 1)
	f("needle", 8, 20, 0)
	f("needle", 0, 7, 0)
	f("message", 0, 20, 19)
	f("message", 5, 10, 4)
	f("message", 19, 20, 1)
	f("message", 20, 20, 0)
	for _, there := range []string{"host", "ngin", "2833", "mid", "sd", "team", "pay", "inner", "stat"} {
		f(there, 0, 20, 20)
	}
	f("hostnginx", 0, 20, 0) // half in one field, half in the next
	f("AAAA", 0, 20, 0)      // inside a number
	f("\x00\x00", 0, 20, 0)  // inside a header
	f("messageteam", 0, 20, 0)
}

func TestPagesSurviveTheirEncoding(t *testing.T) {
	f := func(p page) {
		t.Helper()
		got, err := decodePage(p.encode())
		if err != nil || got.encode() != p.encode() {
			t.Errorf("%+v came back as %+v, %v", p, got, err)
		}
	}
	f(page{from: alwaysFrom, to: alwaysTo})
	f(page{desc: true, from: -5, to: 7, question: [8]byte{1, 2, 3}, lanes: []mark{{streamHash("app"), 1, 2}, {streamHash("b"), 0, math.MaxUint64}}})
	var many page
	many.to = 1
	for i := range uint64(maxLanes) {
		many.lanes = append(many.lanes, mark{i * 1e15, 10_000_000 + i, 20_000_000 + i})
	}
	f(many)
	if n := len(many.encode()); n > maxHeader/2 {
		t.Errorf("%d streams make a cursor of %d bytes, too many for a header", maxLanes, n)
	}
}

func FuzzPage(f *testing.F) {
	f.Add(page{desc: true, from: 1, to: 2, lanes: []mark{{1, 2, 3}}}.encode())
	f.Add("")
	f.Add("AQA")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := decodePage(text)
		if err != nil {
			return
		}
		for _, m := range p.lanes {
			if m.lo > m.hi {
				t.Errorf("%q: range from %d to %d", text, m.lo, m.hi)
			}
		}
		if again, err := decodePage(p.encode()); err != nil || again.encode() != p.encode() {
			t.Errorf("%q: does not survive encoding: %v", text, err)
		}
	})
}

// FuzzQuestion asks whatever the bytes say of a small store: no panic, and
// never an answer that is neither records nor an error.
func FuzzQuestion(f *testing.F) {
	f.Add([]byte("stream=app&from=-15m&to=now&filter=severity<=3&grep=x&limit=5&order=asc"))
	f.Add([]byte("cursor=AQE&interval=1s&n=3"))
	f.Add([]byte("from=1e5&to=%00&interval=all"))
	m := newMemory()
	m.add(f, "app", line("x", 1), line("y", 2))
	s := New(fuzzOptions(m))
	f.Fuzz(func(t *testing.T, query []byte) {
		for _, path := range []string{"/api/v1/query?", "/api/v1/histogram?", "/api/v1/streams?"} {
			var c fasthttp.RequestCtx
			c.Request.SetRequestURI("http://localhost" + path)
			c.Request.URI().SetQueryStringBytes(query)
			s.handle(t.Context(), &c, true)
			switch code := c.Response.StatusCode(); {
			case code == 200, code == 400:
			default:
				t.Errorf("%s%q: got %d %s", path, query, code, c.Response.Body())
			}
			if body := c.Response.Body(); len(body) > 0 && !bytes.HasSuffix(body, []byte("\n")) {
				t.Errorf("%s%q: got %q", path, query, body)
			}
		}
	})
}
