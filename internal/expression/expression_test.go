package expression

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

var sampleTime = time.Date(2026, 11, 22, 10, 7, 5, 143147000, time.UTC)

// sample is one record with everything in it.
func sample(t testing.TB) record.View {
	var r record.Record
	r.Reset()
	r.Time, r.Received = sampleTime.UnixNano(), sampleTime.Add(time.Second).UnixNano()
	r.Severity, r.Facility = 3, 4
	r.Host, r.App, r.ProcID = []byte("web-1"), []byte("nginx"), []byte("2833")
	r.Message = []byte("GET /healthz 200 ünïcode")
	r.Input, r.Peer, r.Agent = []byte("docker"), []byte("127.0.0.1"), []byte("web1")
	r.Attrs.SetInt("status", 503)
	r.Attrs.SetFloat("took", 1.5)
	r.Attrs.SetBool("cached", true)
	r.Attrs.SetString("path", "/healthz")
	r.Attrs.SetString("http.method", "GET")
	r.Attrs.SetInt("http.status", 200)
	r.Attrs.Set("tags", record.JSON, []byte(`["a","b",3]`))
	r.Attrs.Set("deep", record.JSON, []byte(`{"x":{"y":[1,2.5,"z"]},"n":null}`))
	r.Attrs.Set("none", record.JSON, []byte(`null`))
	r.Attrs.Set("raw", record.Bytes, []byte{0xff, 'x'})
	r.Attrs.SetString("empty", "")
	return encode(t, &r)
}

func encode(t testing.TB, r *record.Record) record.View {
	t.Helper()
	var b record.Batch
	if err := b.Append(r); err != nil {
		t.Fatal(err)
	}
	return b.At(0)
}

// bare is a record in which all that can be absent is.
func bare(t testing.TB) record.View {
	var r record.Record
	r.Reset()
	return encode(t, &r)
}

// match evaluates src natively where that is possible and on the VM, and wants them to agree.
func match(t testing.TB, src string, v record.View, stream string) bool {
	t.Helper()
	p, err := Condition(src)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	e := p.Evaluator()
	got := e.Match(v, Context{Stream: stream})
	if onVM := truth(e.run(v, Context{Stream: stream})); onVM != got {
		t.Errorf("%s: natively %v, on the VM %v", src, got, onVM)
	}
	return got
}

func TestConditions(t *testing.T) {
	full, empty := sample(t), bare(t)
	f := func(src string, wantFull, wantBare bool) {
		t.Helper()
		if got := match(t, src, full, "app"); got != wantFull {
			t.Errorf("%s: got %v, want %v", src, got, wantFull)
		}
		if got := match(t, src, empty, ""); got != wantBare {
			t.Errorf("%s of a bare record: got %v, want %v", src, got, wantBare)
		}
	}
	f(`true`, true, true)
	// Severities and facilities are numbers, and their names are too.
	f(`severity <= "err"`, true, false)
	f(`severity < "err"`, false, false)
	f(`"err" >= severity`, true, false)
	f(`severity == 3`, true, false)
	f(`severity == "error"`, true, false)
	f(`severity in ["crit", "err"]`, true, false)
	f(`severity not in ["crit", "err"]`, false, true)
	f(`"crit" <= severity <= "err"`, true, false)
	f(`facility == "auth"`, true, false)
	f(`facility >= "local0"`, false, false)
	f(`severity == nil`, false, true)
	// Texts.
	f(`host == "web-1"`, true, false)
	f(`host != "web-1"`, false, true)
	f(`app contains "gin" and message startsWith "GET"`, true, false)
	f(`message endsWith "code"`, true, false)
	f(`message matches "^GET /\\w+ 2\\d\\d"`, true, false)
	f(`not (message contains "POST")`, true, true)
	f(`message not contains "POST"`, true, true)
	f(`host > "a"`, true, false)
	f(`msgid == nil`, true, true)
	f(`message == ""`, false, true)
	f(`stream == "app"`, true, false)
	f(`stream in ["app", "errors"]`, true, false)
	f(`input == "docker" && peer == "127.0.0.1" || procid == "1"`, true, false)
	f(`agent == "web1"`, true, false)
	f(`agent startsWith "db"`, false, false)
	// Attributes.
	f(`attrs.status >= 500`, true, false)
	f(`attrs.status == 503.0`, true, false)
	f(`attrs["http.status"] == 200`, true, false)
	f(`attrs.http.status == 200`, true, false)
	f(`attrs?.http?.status == 200`, true, false)
	f(`attrs.http["status"] == 200`, true, false)
	f(`attrs.took > 1 and attrs.took < 2`, true, false)
	f(`attrs.cached`, true, false)
	f(`not attrs.cached`, false, true)
	f(`attrs.path == "/healthz" or severity == "debug"`, true, false)
	f(`attrs.deep.x.y[1] == 2.5`, true, false)
	f(`attrs.deep.x.y[-1] == "z"`, true, false)
	f(`attrs.deep.n == nil`, true, true)
	f(`attrs.none == nil`, true, true)
	f(`attrs.empty == nil`, false, true)
	f(`"status" in attrs`, true, false)
	f(`"nope" in attrs`, false, false)
	f(`"a" in attrs.tags`, true, false)
	f(`3 in attrs.tags`, true, false)
	f(`attrs["sta" + "tus"] == 503`, true, false)
	// Absent is nil: order, arithmetic and functions of it are nil, and nil is false.
	f(`attrs.nope > 5`, false, false)
	f(`attrs.nope <= 5`, false, false)
	f(`not (attrs.nope > 5)`, true, true)
	f(`attrs.nope + 1 == nil`, true, true)
	f(`attrs.nope.deeper.still == nil`, true, true)
	f(`lower(attrs.nope) == nil`, true, true)
	f(`len(attrs.nope) > 0`, false, false)
	f(`attrs.nope contains "x"`, false, false)
	f(`attrs.nope matches "x"`, false, false)
	f(`attrs.nope in ["x"]`, false, false)
	f(`attrs.nope`, false, false)
	f(`nil`, false, false)
	f(`attrs.nope ? false : true`, true, true)
	f(`(attrs.nope ?? "x") == "x"`, true, true)
	// So it is with another type.
	f(`attrs.status contains "5"`, false, false)
	f(`attrs.path > 5`, false, false)
	f(`attrs.path`, false, false)
	f(`attrs.path * 2 == nil`, true, true)
	f(`attrs.tags > 1`, false, false)
	f(`lower(attrs.status) == nil`, true, true)
	f(`attrs.status == "503"`, false, false)
	f(`string(attrs.status) == "503"`, true, false)
	f(`attrs.status % 0 == nil`, true, true)
	f(`attrs.status / 0 == nil`, true, true)
	f(`attrs.status - 3 == 500`, true, false)
	f(`attrs.status / 2 > 251`, true, false)
	f(`-attrs.status < 0`, true, false)
	// Times.
	f(`time >= "2026-11-22T10:00:00Z"`, true, false)
	f(`time < "2026-11-22"`, false, false)
	f(`"2026-11-22" < time`, true, false)
	f(`received - time == duration("1s")`, true, false)
	f(`time > now() - duration("30d") or time < now()`, true, false)
	f(`time + duration("1s") == received`, true, false)
	// Functions.
	f(`lower(app) == "nginx" and upper(app) == "NGINX"`, true, false)
	f(`len(message) == 24`, true, false)
	f(`message[0:3] == "GET"`, true, false)
	f(`message[-7:] == "ünïcode"`, true, false)
	f(`split(message, " ")[1] == "/healthz"`, true, false)
	f(`int(procid) > 2000`, true, false)
	f(`trim("  a ") == "a"`, true, true)
	f(`replace(app, "n", "N") == "NgiNx"`, true, false)
	f(`join(["a", "b"], "-") == "a-b"`, true, true)
	f(`max(attrs.status, 600) == 600`, true, false)
	f(`round(attrs.took) == 2`, true, false)
	f(`type(attrs.status) == "number" and type(attrs.nope) == "nil"`, true, false)
	f(`fromJSON("{\"a\": [1]}").a[0] == 1`, true, true)
	f(`app | upper() == "NGINX"`, true, false)
	f(`any(attrs.tags, # == "b")`, true, false)
	f(`any(attrs.nope, # == "b")`, false, false)
	f(`all(attrs.tags, # > 1)`, false, true)
	f(`count(attrs.tags, # == "a" or # == 3) == 2`, true, false)
	f(`len(filter(attrs.tags, type(#) == "string")) == 2`, true, false)
	f(`map(attrs.tags, # == 3)[2]`, true, false)
	f(`find(attrs.tags, # == "b") == "b"`, true, false)
	f(`len(keys(attrs)) == 11`, true, false)
	f(`let s = attrs.status; s > 500 and s < 504`, true, false)
	f(`attrs.tags == ["a", "b", 3]`, true, false)
	f(`{"a": 1}.a == 1`, true, true)
	f(`if attrs.cached { severity == 3 } else { false }`, true, false)
}

func TestErrorsSayWhereAndWhatToWrite(t *testing.T) {
	f := func(src string, col, width int, text string) {
		t.Helper()
		_, err := Condition(src)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: got %v, want an error", src, err)
			return
		}
		if e.Col != col || e.Width != width || !strings.Contains(e.Text, text) {
			t.Errorf("%s\n got %d+%d %s\nwant %d+%d %s", src, e.Col, e.Width, e.Text, col, width, text)
		}
	}
	f(``, 1, 1, "is empty")
	f(`severty == 3`, 1, 7, "severty is no field of a record; did you mean severity?")
	f(`msg contains "x"`, 1, 3, "msg is no field of a record; did you mean message?")
	f(`programname == "x"`, 1, 11, "did you mean app?")
	f(`path == "/x"`, 1, 4, "path is no field of a record; write attrs.path for an attribute")
	f(`severity == err`, 13, 3, `a severity is written in quotes: "err"`)
	f(`severity <= "eror"`, 13, 6, `"eror" is no severity; write err`)
	f(`severity == "purple"`, 13, 8, `is no severity; write emerg, alert`)
	f(`severity in ["err", "xyzzy"]`, 21, 7, "is no severity")
	f(`facility == "auht"`, 13, 6, `"auht" is no facility; write auth`)
	f(`time > "yesterday"`, 8, 11, "is no time; write it like")
	f(`host`, 1, 4, `host is a text, not a condition; compare it: host == "…"`)
	f(`severity`, 1, 8, "is a number, not a condition")
	f(`host and true`, 1, 4, "is a text, not a condition")
	f(`not message`, 5, 7, "is a text, not a condition")
	f(`attrs`, 1, 5, "is a mapping, not a condition")
	f(`attrs.a + 1 + "x" == 2 and len(message)`, 28, 11, "is a number, not a condition")
	f(`host > 5`, 1, 8, "a text and a number have no order")
	f(`host == 5`, 1, 9, "a text and a number are never equal")
	f(`severity contains "x"`, 1, 8, "contains wants a text, not a number")
	f(`message matches "("`, 17, 3, "the pattern is wrong: missing closing )")
	f(`message matches "(?=x)"`, 17, 7, "no look-around")
	f(`message matches host`, 17, 4, "wants its pattern written out")
	f(`host in "abc"`, 9, 5, `"in" wants a list on its right`)
	f(`host + 1 == "x"`, 1, 8, "cannot be worked out")
	f(`loower(host) == "x"`, 1, 6, "loower is no function; did you mean lower?")
	f(`system("x") == 1`, 1, 6, "system is no function; there are")
	f(`lower(severity) == "x"`, 7, 8, "lower takes a text here, not a number")
	f(`lower() == "x"`, 1, 5, "lower takes a text, not 0")
	f(`repeat("x", 1000000000) == ""`, 1, 6, "repeat is no function")
	f(`host = "x"`, 6, 1, `"=" compares nothing; write ==`)
	f(`host == "x" AND app == "y"`, 13, 3, `"AND" is no operator`)
	f(`host == "x`, 11, 1, "a text is not closed")
	f(`host == `, 8, 1, "ends too early")
	f(`(host == "x"`, 12, 1, "ends too early")
	f(`host.name == "x"`, 6, 4, "host is a text and has no parts")
	f(`len(1..1000000000) > 1`, 5, 13, "the operator .. is not part of this language")
	f(`any(attrs.a, any(#, # > 1))`, 14, 3, "too much work for one record")
	f(`let host = 1; host > 2`, 5, 4, "host is a field of the record")
	f(`$env.host == "x"`, 1, 4, "is no field of a record")
	f(`host; app`, 1, 4, "cannot be used here")
	f(`time.Year() > 1`, 6, 4, "only functions can be called")
	f(`b"x" == message`, 1, 4, "cannot be used here")
	f(`"ü" == "ü" and hsot == "x"`, 16, 4, "did you mean host?")
	f(strings.Repeat("(", 200), 101, 1, "nested deeper than 100 levels")
	f(strings.Repeat("x", 9000), 1, 1, "longer than 8192 bytes")
	f(strings.Repeat("not ", 2000)+"true", 401, 1, "nested deeper")
	f(strings.Repeat("true or ", 900)+"true", 4006, 2, "is too large")
}

func TestSet(t *testing.T) {
	v := sample(t)
	f := func(src, want string) {
		t.Helper()
		p, err := Value(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		for _, native := range []bool{true, false} {
			e := p.Evaluator()
			if !native {
				e.program = &Program{steps: p.steps}
			}
			var attrs record.Attrs
			attrs.SetString("kept", "x")
			e.Set(v, Context{Stream: "app"}, &attrs, "k")
			got := "nothing"
			if a, ok := attrs.Get("k"); ok {
				got = fmt.Sprintf("%d %v", a.Kind, attrValue(a))
			}
			if got != want || attrs.Len() != 1 && want == "nothing" {
				t.Errorf("%s (native %v): got %s, want %s", src, native, got, want)
			}
		}
	}
	f(`"eu-1"`, "1 eu-1")
	f(`host`, "1 web-1")
	f(`stream`, "1 app")
	f(`attrs.status`, "3 503")
	f(`attrs.status * 2`, "3 1006")
	f(`attrs.took`, "4 1.5")
	f(`attrs.cached`, "5 true")
	f(`attrs.status > 500`, "5 true")
	f(`attrs.tags`, "6 [a b 3]")
	f(`attrs.deep.x`, "6 map[y:[1 2.5 z]]")
	f(`attrs.nope`, "nothing")
	f(`attrs.none`, "nothing")
	f(`msgid`, "nothing")
	f(`nil`, "nothing")
	f(`severity`, "3 3")
	f(`time`, "1 2026-11-22T10:07:05.143147Z")
	f(`received - time`, "1 1s")
	f(`app + "/" + host`, "1 nginx/web-1")
	f(`{"a": [severity]}`, "6 map[a:[3]]")
	f(`severity <= "err" ? "bad" : "good"`, "1 bad")
	p, err := Value(`attrs.raw`)
	if err != nil {
		t.Fatal(err)
	}
	var attrs record.Attrs
	p.Evaluator().Set(v, Context{}, &attrs, "k")
	if a, _ := attrs.Get("k"); a.Kind != record.Bytes || string(a.Data) != "\xffx" {
		t.Errorf("attrs.raw: got %v, want its bytes as they are", a)
	}
}

func TestTextsStayBounded(t *testing.T) {
	src := `let a = message + message; `
	for i := range 25 {
		src += fmt.Sprintf("let %c = %c + %c; ", 'b'+i, 'a'+i, 'a'+i)
	}
	if match(t, src+`len(z) > 0`, sample(t), "") {
		t.Error("a text doubled 26 times was made; want nil")
	}
	if !match(t, `replace(message, "", message) != nil and len(replace("aaaa", "a", "bb")) == 8`, sample(t), "") {
		t.Error("small replacements failed")
	}
}

func TestLoopsStayBounded(t *testing.T) {
	var r record.Record
	r.Reset()
	r.Message = []byte(strings.Repeat("a", 500<<10))
	r.Attrs.Set("tags", record.JSON, []byte("["+strings.Repeat("1,", 200_000)+"1]"))
	v := encode(t, &r)
	for _, src := range []string{
		`any(attrs.tags, message contains "b" + string(#))`,
		`len(map(attrs.tags, split(message, ""))) > 0`,
		`all(attrs.tags, lower(message) != "")`,
		`count(attrs.tags, # in keys(attrs) or message[#:] == "") > 0`,
	} {
		began := time.Now()
		if match(t, src, v, ""); time.Since(began) > 30*time.Second {
			t.Errorf("%s took %s", src, time.Since(began))
		}
	}
	if !match(t, `count(attrs.tags, # == 1) == 200001`, v, "") {
		t.Error("200 001 items are counted wrongly")
	}
}

func TestCommonShapesAllocateNothing(t *testing.T) {
	v, c := sample(t), Context{Stream: "app"}
	for _, src := range commonShapes {
		p, err := Condition(src)
		if err != nil {
			t.Fatal(err)
		}
		e := p.Evaluator()
		if n := testing.AllocsPerRun(100, func() { e.Match(v, c) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", src, n)
		}
	}
	p, err := Value(`attrs.path`)
	if err != nil {
		t.Fatal(err)
	}
	var attrs record.Attrs
	e := p.Evaluator()
	if n := testing.AllocsPerRun(100, func() { attrs.Reset(); e.Set(v, c, &attrs, "k") }); n != 0 {
		t.Errorf("set attrs.path: %v allocations, want 0", n)
	}
}

var commonShapes = []string{
	`severity <= "err"`,
	`severity == "debug" or attrs.path == "/healthz"`,
	`host == "web-1" and app in ["nginx", "haproxy"]`,
	`attrs.http.status >= 500 and not (message contains "probe")`,
	`stream == "app" and message startsWith "GET"`,
	`message matches "GET /\\w+ 2"`,
	`time >= "2026-11-22T10:00:00Z" and attrs.cached`,
}
