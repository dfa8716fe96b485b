package query

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/runnel-log/runnel/internal/expression"
	"github.com/runnel-log/runnel/record"
)

func TestTheNewestComesFirst(t *testing.T) {
	b := serve(t, nil)
	b.source.add(t, "app", line("a1", 1), line("a3", 3))
	b.source.add(t, "errors", line("e2", 2), line("e5", 5))
	b.source.add(t, "app", line("a4", 4))
	f := func(params, want string, complete bool) {
		t.Helper()
		resp, body := b.get("/api/v1/query?" + params)
		if resp.StatusCode != 200 || messages(t, body) != want {
			t.Errorf("%s: got %d %s, want %s", params, resp.StatusCode, body, want)
		}
		if (resp.Header.Get(headerComplete) == "true") != complete || (resp.Header.Get(headerNext) == "") != complete {
			t.Errorf("%s: got complete %q, next %q; want complete %v", params, resp.Header.Get(headerComplete), resp.Header.Get(headerNext), complete)
		}
	}
	f("", "e5 a4 a3 e2 a1", true)
	f("order=asc", "a1 e2 a3 a4 e5", true)
	f("stream=app", "a4 a3 a1", true)
	f("stream=app&stream=errors", "e5 a4 a3 e2 a1", true)
	f("limit=2", "e5 a4", false)
	f("limit=5", "e5 a4 a3 e2 a1", true)
	f("limit=2&order=asc", "a1 e2", false)
	f("grep=a", "a4 a3 a1", true)
	f("grep=5", "e5", true)
	f("grep=nothing", "", true)
	f("from=2&to=5", "a4 a3 e2", true)
	f("from=3", "e5 a4 a3", true)
	f("to=1970-01-01T00:00:03Z", "e2 a1", true)
	f("filter="+url.QueryEscape(`stream == "app" and message != "a3"`), "a4 a1", true)
	f("filter="+url.QueryEscape(`severity <= "err"`), "", true)
}

func TestARecordIsAnsweredWithItsPlaceAndOrigin(t *testing.T) {
	b := serve(t, nil)
	b.source.add(t, "app", line("x", 1), line("y", 2))
	resp, body := b.get("/api/v1/query?limit=1")
	if resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("content type: got %s", resp.Header.Get("Content-Type"))
	}
	want := got{"app", 2, "y", "7f3c0000000000000000000000000000/3/app/2", "vm-17"}
	if g := parseLines(t, body); len(g) != 1 || g[0] != want {
		t.Errorf("got %+v, want %+v", g, want)
	}
}

func TestAStreamThatDoesNotExistIsNamed(t *testing.T) {
	b := serve(t, nil)
	b.source.add(t, "app", line("x", 1))
	resp, body := b.get("/api/v1/query?stream=ap&stream=app")
	if messages(t, body) != "x" || resp.Header.Get(headerUnknown) != "ap" {
		t.Errorf("got %s, unknown %q", body, resp.Header.Get(headerUnknown))
	}
}

func TestTheTimeIsTheEventsWhereItStatedOne(t *testing.T) {
	b := serve(t, nil)
	late, early := line("stated-late", 10), line("stated-early", 11)
	late.Time, early.Time = 100e9, 2e9
	b.source.add(t, "app", late, early, line("silent", 12))
	f := func(params, want string) {
		t.Helper()
		if _, body := b.get("/api/v1/query?" + params); messages(t, body) != want {
			t.Errorf("%s: got %q, want %q", params, messages(t, body), want)
		}
	}
	f("from=100", "stated-late")
	f("to=3", "stated-early")
	f("from=12&to=13", "silent")
	f("from=13&to=50", "")
}

func TestBlocksOfOtherTimesAreNotRead(t *testing.T) {
	b := serve(t, nil)
	for i := range int64(100) {
		b.source.add(t, "app", line("x", i))
	}
	b.get("/api/v1/query?from=50&to=53")
	if b.source.reads.Load() != 3 {
		t.Errorf("got %d blocks read, want 3", b.source.reads.Load())
	}
}

func TestTheNewestHundredReadOneBlockOfEachStream(t *testing.T) {
	b := serve(t, nil)
	for i := range int64(50) {
		var records []record.Record
		for j := range int64(200) {
			records = append(records, line("x", i*200+j))
		}
		b.source.add(t, "app", records...)
	}
	if _, body := b.get("/api/v1/query"); strings.Count(body, "\n") != 100 || b.source.reads.Load() != 1 {
		t.Errorf("got %d records of %d blocks, want 100 of 1", strings.Count(body, "\n"), b.source.reads.Load())
	}
}

func TestACursorAnswersOnlyItsOwnQuestion(t *testing.T) {
	b := serve(t, nil)
	b.source.add(t, "app", line("x", 1), line("y", 2))
	resp, _ := b.get("/api/v1/query?limit=1")
	cursor := resp.Header.Get(headerNext)
	f := func(params string, code int) {
		t.Helper()
		if resp, body := b.get("/api/v1/query?" + params + "&cursor=" + cursor); resp.StatusCode != code {
			t.Errorf("%s: got %d %s, want %d", params, resp.StatusCode, body, code)
		}
	}
	f("limit=1", 200)
	f("limit=7", 200)
	f("grep=x", 400)
	f("order=asc", 400)
	f("stream=app", 400)
	f("from=1", 400)
	f("filter=true", 400)
}

func TestDamageIsLeftOutAndSaid(t *testing.T) {
	b := serve(t, nil)
	for i := range int64(5) {
		b.source.add(t, "app", line(fmt.Sprint("a", i), 2*i), line(fmt.Sprint("b", i), 2*i+1))
	}
	b.source.damage("app", 1)
	for _, order := range []string{"asc", "desc"} {
		resp, body := b.get("/api/v1/query?order=" + order)
		if n := strings.Count(body, "\n"); n != 8 || resp.Header.Get(headerDamaged) != "2" || resp.Header.Get(headerComplete) != "true" {
			t.Errorf("%s: got %d records, damaged %q", order, n, resp.Header.Get(headerDamaged))
		}
	}
}

func TestHolesInAStreamAreJumpedOver(t *testing.T) {
	for from := range 10 {
		for to := from; to <= 10; to++ {
			m := newMemory()
			var want []string
			for i := range 10 {
				m.add(t, "app", line(fmt.Sprint("a", i), int64(i)), line(fmt.Sprint("b", i), int64(i)))
				if i < from || i >= to {
					want = append(want, fmt.Sprint("a", i), fmt.Sprint("b", i))
				}
			}
			m.cut("app", from, to)
			for _, desc := range []bool{false, true} {
				var found []string
				scan := newScanner(m, wanted{from: alwaysFrom, to: alwaysTo}, desc, []lane{{stream: "app", lo: 1, hi: 21}}, maxLimit, 1<<20)
				for {
					v, _, err := scan.next(t.Context())
					if err != nil {
						break
					}
					found = append(found, string(v.Message()))
				}
				if desc {
					slices.Reverse(found)
				}
				if !slices.Equal(found, want) {
					t.Errorf("without blocks %d to %d, desc %v: got %v, want %v", from, to, desc, found, want)
				}
				scan.close()
			}
		}
	}
}

// TestPagesTogetherAreTheWhole asks random questions of random streams, in
// pages of random size, while records are stored and expire between two pages:
// each record that the first page could have seen comes exactly once, and in order.
func TestPagesTogetherAreTheWhole(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		m := newMemory()
		o := fuzzOptions(m)
		o.ScanBytes = 1 + r.Int64N(8000)
		s := New(o)
		names := []string{"app", "errors", "web", "db"}[:1+r.IntN(4)]
		clock := int64(1000)
		steady := r.IntN(2) == 0 // receive times never go back
		number := 0
		grow := func(blocks int) {
			for range blocks {
				var records []record.Record
				for range 1 + r.IntN(6) {
					clock += r.Int64N(3)
					second := clock
					if !steady {
						second -= r.Int64N(50)
					}
					number++
					rec := line(fmt.Sprintf("n%d %s", number, []string{"even", "odd"}[number%2]), second)
					if r.IntN(3) == 0 {
						rec.Time = (clock - r.Int64N(100)) * 1e9
					}
					records = append(records, rec)
				}
				m.add(t, names[r.IntN(len(names))], records...)
			}
		}
		grow(r.IntN(60))
		params, want := randomQuestion(t, r, m, clock)
		var all []got
		cursor := ""
		for page := 0; ; page++ {
			var c fasthttp.RequestCtx
			c.Request.SetRequestURI("http://localhost/api/v1/query?" + params + "&limit=" + fmt.Sprint(1+r.IntN(20)) + cursor)
			s.handle(t.Context(), &c, true)
			if code := c.Response.StatusCode(); code != 200 {
				t.Fatalf("seed %d, page %d: got %d %s", seed, page, code, c.Response.Body())
			}
			all = append(all, parseLines(t, string(c.Response.Body()))...)
			next := string(c.Response.Header.Peek(headerNext))
			if next == "" {
				break
			}
			if cursor == "&cursor="+next {
				t.Fatalf("seed %d: page %d is where page %d was", seed, page+1, page)
			}
			cursor = "&cursor=" + next
			grow(r.IntN(3))
		}
		checkWhole(t, fmt.Sprintf("seed %d, %s", seed, params), all, want, steady, strings.Contains(params, "order=asc"))
	}
}

// reference is a stored record as the test knows it.
type reference struct {
	got
	received, when int64
}

// randomQuestion returns the parameters of a question and what it should find
// in the source as it is now.
func randomQuestion(t *testing.T, r *rand.Rand, m *memory, clock int64) (string, []reference) {
	params, from, to := []string{}, int64(0), int64(1<<60)
	desc := r.IntN(2) == 0
	if !desc {
		params = append(params, "order=asc")
	}
	if r.IntN(2) == 0 {
		from = 1000 + r.Int64N(clock-999)
		params = append(params, fmt.Sprintf("from=%d", from))
	}
	if r.IntN(2) == 0 {
		to = from + 1 + r.Int64N(100)
		params = append(params, fmt.Sprintf("to=%d", to))
	}
	needle := ""
	switch r.IntN(4) {
	case 0:
		needle = "odd"
		params = append(params, "grep=odd")
	case 1:
		needle = "even"
		params = append(params, "filter="+url.QueryEscape(`message endsWith "even"`))
	}
	var want []reference
	for name, s := range m.streams {
		for _, blk := range s.blocks {
			var b record.Batch
			if err := b.Decode(slices.Clone(blk.encoded)); err != nil {
				t.Fatal(err)
			}
			for i := range b.Len() {
				v := b.At(i)
				w := reference{got{Stream: name, Offset: blk.head.First + uint64(i), Message: string(v.Message())}, v.Received(), v.When()}
				if w.when >= from*1e9 && (to >= 1<<60 || w.when < to*1e9) && strings.Contains(w.Message, needle) {
					want = append(want, w)
				}
			}
		}
	}
	return strings.Join(params, "&"), want
}

// checkWhole compares what the pages held with what they should.
func checkWhole(t *testing.T, what string, all []got, want []reference, steady, asc bool) {
	t.Helper()
	less := func(a, b reference) int {
		return cmp.Or(cmp.Compare(a.received, b.received), strings.Compare(a.Stream, b.Stream), cmp.Compare(a.Offset, b.Offset))
	}
	slices.SortFunc(want, less)
	known := make(map[string]reference)
	for _, w := range want {
		known[fmt.Sprint(w.Stream, "/", w.Offset)] = w
	}
	var found []reference
	last := make(map[string]uint64)
	for _, g := range all {
		w, ok := known[fmt.Sprint(g.Stream, "/", g.Offset)]
		if !ok || w.Message != g.Message {
			t.Errorf("%s: got %+v, which was not asked for, or twice", what, g)
		}
		delete(known, fmt.Sprint(g.Stream, "/", g.Offset))
		found = append(found, w)
		if l := last[g.Stream]; l != 0 && (asc && g.Offset <= l || !asc && g.Offset >= l) {
			t.Errorf("%s: offset %d of %s after %d", what, g.Offset, g.Stream, l)
		}
		last[g.Stream] = g.Offset
	}
	for place := range known {
		t.Errorf("%s: %s is missing", what, place)
	}
	for i := 1; steady && i < len(found); i++ {
		if a, b := found[i-1].received, found[i].received; asc && a > b || !asc && a < b {
			t.Errorf("%s: received %d after %d", what, b, a)
		}
	}
}

func TestRetentionBetweenTwoPagesTakesOnlyItsOwn(t *testing.T) {
	b := serve(t, nil)
	for i := range int64(10) {
		b.source.add(t, "app", line(fmt.Sprint("m", i), i))
	}
	f := func(order, want string) {
		t.Helper()
		resp, body := b.get("/api/v1/query?limit=3&order=" + order)
		first := messages(t, body)
		b.source.expire("app", 2)
		_, body = b.get("/api/v1/query?limit=10&order=" + order + "&cursor=" + resp.Header.Get(headerNext))
		if got := first + " " + messages(t, body); got != want {
			t.Errorf("%s: got %s, want %s", order, got, want)
		}
	}
	f("desc", "m9 m8 m7 m6 m5 m4 m3 m2")
	f("asc", "m2 m3 m4 m5 m6 m7 m8 m9")
}

func TestALongQueryStopsAndGoesOn(t *testing.T) {
	b := serve(t, func(o *Options) { o.ScanBytes = 300 })
	for i := range int64(100) {
		b.source.add(t, "app", line(fmt.Sprint("m", i), i))
	}
	pages, cursor := 0, ""
	for {
		resp, body := b.get("/api/v1/query?grep=m0" + cursor)
		pages++
		if next := resp.Header.Get(headerNext); next != "" {
			if body != "" {
				t.Errorf("page %d: got %s before the end", pages, body)
			}
			cursor = "&cursor=" + next
			continue
		}
		if messages(t, body) != "m0" {
			t.Errorf("last page: got %s", body)
		}
		break
	}
	if pages < 10 {
		t.Errorf("got %d pages, want the bound of 300 bytes to make many", pages)
	}
}

// impatient ends after it was asked so many times whether it has ended.
type impatient struct {
	context.Context
	left int
}

func (c *impatient) Err() error {
	if c.left--; c.left < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// TestASlowFilterStopsBetweenTwoRecords: the bound on a query's time holds
// inside a block too, and what is left is exactly what was not looked at.
func TestASlowFilterStopsBetweenTwoRecords(t *testing.T) {
	m := newMemory()
	var block []record.Record
	for i := range int64(20) {
		block = append(block, line(fmt.Sprint("m", i), i))
	}
	m.add(t, "app", block...)
	program, err := expression.Condition(`message matches "m1.?$"`)
	if err != nil {
		t.Fatal(err)
	}
	for _, desc := range []bool{false, true} {
		lanes := []lane{{stream: "app", lo: 1, hi: 21}}
		var found []string
		pages := 0
		for ; len(lanes) > 0 && pages < 100; pages++ {
			want := wanted{from: alwaysFrom, to: alwaysTo, filter: program.Evaluator()}
			scan := newScanner(m, want, desc, lanes, 100, 1<<20)
			ctx := &impatient{t.Context(), 3}
			for {
				v, _, err := scan.next(ctx)
				if err != nil {
					break
				}
				found = append(found, string(v.Message()))
			}
			lanes = scan.rest()
			scan.close()
		}
		all := []string{"m1", "m10", "m11", "m12", "m13", "m14", "m15", "m16", "m17", "m18", "m19"}
		if desc {
			slices.Reverse(all)
		}
		if !slices.Equal(found, all) || pages < 5 || len(lanes) > 0 {
			t.Errorf("newest first %v: got %v on %d pages, %v left; want %v on several", desc, found, pages, lanes, all)
		}
	}
}

func TestMoreThanSixteenQueriesAtOnceAreRefused(t *testing.T) {
	b := serve(t, nil)
	for range maxQueries {
		b.server.queries <- struct{}{}
	}
	for _, path := range []string{"/api/v1/query", "/api/v1/histogram"} {
		resp, body := b.get(path)
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" || errorOf(t, body) == "" {
			t.Errorf("%s: got %d %s, want 429", path, resp.StatusCode, body)
		}
	}
	<-b.server.queries
	if resp, _ := b.get("/api/v1/query"); resp.StatusCode != 200 {
		t.Errorf("with a place free: got %d", resp.StatusCode)
	}
}

func TestHistogramCountsBySeverity(t *testing.T) {
	now := time.Unix(10_000, 0)
	b := serve(t, func(o *Options) { o.Now = func() time.Time { return now } })
	bad, odd := line("bad", 9_990), line("odd", 9_995)
	bad.Severity, odd.Severity = 3, record.Absent
	b.source.add(t, "app", line("old", 100), line("a", 9_985), bad, odd)
	f := func(params, want string) {
		t.Helper()
		if resp, body := b.get("/api/v1/histogram?" + params); strings.TrimSpace(body) != want || resp.Header.Get(headerComplete) != "true" {
			t.Errorf("%s: got %s, want %s", params, body, want)
		}
	}
	f("from=-20s&interval=10s", `{"from":"1970-01-01T02:46:20Z","to":"1970-01-01T02:46:40Z","interval_seconds":10,"total":3,"buckets":[`+
		`{"time":"1970-01-01T02:46:20Z","total":1,"severity":{"info":1}},{"time":"1970-01-01T02:46:30Z","total":2,"severity":{"err":1,"none":1}}],"complete":true}`)
	f("interval=all", `{"total":4,"buckets":[{"total":4,"severity":{"err":1,"info":2,"none":1}}],"complete":true}`)
	f("interval=all&grep=bad", `{"total":1,"buckets":[{"total":1,"severity":{"err":1}}],"complete":true}`)
	if _, body := b.get("/api/v1/histogram"); strings.Count(body, `"time"`) != 60 && strings.Count(body, `"time"`) != 61 {
		t.Errorf("an hour: got %d buckets, want a minute each: %s", strings.Count(body, `"time"`), body)
	}
}

func TestHistogramPagesAddUp(t *testing.T) {
	b := serve(t, func(o *Options) { o.ScanBytes = 1000 })
	for i := range int64(200) {
		b.source.add(t, "app", line("m", i))
	}
	total, cursor, pages := 0, "", 0
	for {
		resp, body := b.get("/api/v1/histogram?from=0&to=1000&interval=100s" + cursor)
		var n int
		if _, err := fmt.Sscanf(body[strings.Index(body, `"total":`):], `"total":%d`, &n); err != nil {
			t.Fatal(err)
		}
		total += n
		pages++
		if cursor = resp.Header.Get(headerNext); cursor == "" {
			break
		}
		cursor = "&cursor=" + cursor
	}
	if total != 200 || pages < 5 {
		t.Errorf("got %d records in %d pages, want 200 in several", total, pages)
	}
}
