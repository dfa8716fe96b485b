package record

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

// encode returns the one record r as a View.
func encode(t testing.TB, r *Record) View {
	t.Helper()
	var b Batch
	if err := b.Append(r); err != nil {
		t.Fatal(err)
	}
	return b.At(0)
}

// sample returns the record of the contract's example.
func sample() *Record {
	r := &Record{}
	r.Reset()
	r.Time = time.Date(2026, 11, 22, 10, 7, 5, 143147000, time.UTC).UnixNano()
	r.Received = r.Time + 1000500
	r.Facility, r.Severity = 3, 6
	r.Host, r.App, r.ProcID, r.MsgID = []byte("vm"), []byte("nginx"), []byte("2833"), []byte("-")
	r.Message = []byte(`10.0.0.7 - - "GET /healthz HTTP/1.1" 200`)
	r.SD = []byte(`[origin@123 ip="10.0.0.1"]`)
	r.Input, r.Peer = []byte("docker"), []byte("127.0.0.1")
	r.Flags = Truncated
	r.Attrs.SetInt("status", 200)
	return r
}

var sampleMeta = Meta{Stream: "app", Offset: 42, Agent: "vm-17", OriginAgent: [16]byte{0x7f, 0x3c}, OriginEpoch: 3}

func TestJSONHasTheShapeOfTheContract(t *testing.T) {
	want := `{"time":"2026-11-22T10:07:05.143147Z","received":"2026-11-22T10:07:05.1441475Z","stream":"app","offset":42,"agent":"vm-17",` +
		`"origin":"7f3c0000000000000000000000000000/3/app/42","facility":3,"severity":6,"host":"vm","app":"nginx","procid":"2833",` +
		`"msgid":"-","message":"10.0.0.7 - - \"GET /healthz HTTP/1.1\" 200","attrs":{"status":200},"sd":{"origin@123":{"ip":"10.0.0.1"}},` +
		`"input":"docker","peer":"127.0.0.1","flags":["truncated"]}`
	if got := string(AppendJSON(nil, encode(t, sample()), sampleMeta)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestJSONLeavesOutWhatIsAbsent(t *testing.T) {
	var r Record
	r.Reset()
	if got := string(AppendJSON([]byte("x"), encode(t, &r), Meta{})); got != "x{}" {
		t.Errorf("got %s want x{}", got)
	}
	r.Message = []byte("a")
	if got := string(AppendJSON(nil, encode(t, &r), Meta{})); got != `{"message":"a"}` {
		t.Errorf("got %s", got)
	}
}

func TestJSONOfTimesOfOneSecondAndOfOthers(t *testing.T) {
	for _, stated := range []int64{0, 1, -1, 999999999, 1e9, NoTime, 1792663625143147000} {
		for _, received := range []int64{1, 5, -1, 999999999, 1e9, 1792663625143147000, 1792663625999999999, 1792663626000000000} {
			want := ""
			if stated != NoTime {
				want = `"time":"` + time.Unix(0, stated).UTC().Format(time.RFC3339Nano) + `",`
			}
			want = "{" + want + `"received":"` + time.Unix(0, received).UTC().Format(time.RFC3339Nano) + `"}`
			v := encode(t, newRecord(func(r *Record) { r.Time, r.Received = stated, received }))
			if got := string(AppendJSON([]byte{}, v, Meta{})); got != want {
				t.Errorf("got %s want %s", got, want)
			}
		}
	}
}

func TestJSONOfAttributes(t *testing.T) {
	f := func(set func(a *Attrs), want string) {
		t.Helper()
		var r Record
		r.Reset()
		set(&r.Attrs)
		got := string(AppendJSON(nil, encode(t, &r), Meta{}))
		if got != `{"attrs":{`+want+`}}` {
			t.Errorf("got %s want %s", got, want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s is not JSON", got)
		}
	}
	f(func(a *Attrs) { a.SetInt("a", math.MinInt64) }, `"a":-9223372036854775808`)
	f(func(a *Attrs) { a.SetFloat("a", 1.5) }, `"a":1.5`)
	f(func(a *Attrs) { a.SetFloat("a", 200) }, `"a":200.0`)
	f(func(a *Attrs) { a.SetFloat("a", math.Copysign(0, -1)) }, `"a":-0.0`)
	f(func(a *Attrs) { a.SetFloat("a", 1e300) }, `"a":1e+300`)
	f(func(a *Attrs) { a.SetFloat("a", 1e-300) }, `"a":1e-300`)
	f(func(a *Attrs) { a.SetFloat("a", math.NaN()) }, `"a":"NaN"`)
	f(func(a *Attrs) { a.SetFloat("a", math.Inf(1)) }, `"a":"+Inf"`)
	f(func(a *Attrs) { a.SetFloat("a", math.Inf(-1)) }, `"a":"-Inf"`)
	f(func(a *Attrs) { a.SetBool("a", true); a.SetBool("b", false) }, `"a":true,"b":false`)
	f(func(a *Attrs) { a.Set("a", Bytes, []byte{0, 0xff, 1}) }, `"a":"AP8B"`)
	f(func(a *Attrs) { a.Set("a", JSON, []byte("[1,\n {\"b\" : \"x\xff\u2028\\n\"}, null]")) }, `"a":[1,{"b":"x`+"\ufffd"+`\u2028\n"},null]`)
	f(func(a *Attrs) { a.Set("a", JSON, []byte("null")) }, `"a":null`)
	f(func(a *Attrs) { a.Set("a", JSON, []byte("[1")) }, `"a":"[1"`)
	f(func(a *Attrs) { a.Set("a", JSON, nil) }, `"a":""`)
	f(func(a *Attrs) { a.SetString("a\"\n", "b\\\x00\x1b\x7f\u0085\u2029\xff<é") }, `"a\"\n":"b\\\u0000\u001b\u007f\u0085\u2029`+"\ufffd"+`<é"`)
}

func TestJSONOfStructuredData(t *testing.T) {
	f := func(sd, want string) {
		t.Helper()
		var r Record
		r.Reset()
		r.SD = []byte(sd)
		got := string(AppendJSON(nil, encode(t, &r), Meta{}))
		if got != `{"sd":`+want+`}` || !json.Valid([]byte(got)) {
			t.Errorf("%s\n got %s\nwant %s", sd, got, want)
		}
	}
	f(`[a]`, `{"a":{}}`)
	f(`[a b="c"]`, `{"a":{"b":"c"}}`)
	f(`[a b="c"][d@1 e="f" g=""]`, `{"a":{"b":"c"},"d@1":{"e":"f","g":""}}`)
	f(`[a b="1" c="2" b="3" b="4"]`, `{"a":{"b":["1","3","4"],"c":"2"}}`)
	f(`[a b="1"][x][a c="2" b="3"]`, `{"a":{"b":["1","3"],"c":"2"},"x":{}}`)
	f(`[a b="q\"\\\]\n]é"]`, `{"a":{"b":"q\"\\]\\n]é"}}`)
	f("[a b=\"\\é\xff\"]", `{"a":{"b":"\\é`+"\ufffd"+`"}}`)
	f(`[a b="c]`, `"[a b=\"c]"`)
	f(`[a b=c]`, `"[a b=c]"`)
	f(`[]`, `"[]"`)
	f(`[a]x`, `"[a]x"`)
	f(`-`, `"-"`)
	many := strings.Repeat("[a]", maxElements+1)
	f(many, `"`+many+`"`)
	params := ""
	for i := range maxParams + 1 {
		params += fmt.Sprintf("[%d p=\"\"]", i%60)
	}
	f(params, strconv.Quote(params))
	var elements []string
	for i := range maxElements {
		elements = append(elements, fmt.Sprintf(`"e%d":{"a":"1","b":"2"}`, i))
	}
	sd := strings.NewReplacer(`,"e`, `][e`, `":{"a":"1","b":"2"}`, ` a="1" b="2"`, `"e0`, `[e0`).Replace(strings.Join(elements, ",")) + "]"
	f(sd, "{"+strings.Join(elements, ",")+"}")
}

func TestParseJSONReadsWhatAppendJSONWrites(t *testing.T) {
	want := string(AppendJSON(nil, encode(t, sample()), sampleMeta))
	var r Record
	if err := ParseJSON([]byte(want), &r); err != nil {
		t.Fatal(err)
	}
	got := string(AppendJSON(nil, encode(t, &r), Meta{Stream: "app", Offset: 42}))
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if r.Origin.Epoch != 3 || r.Origin.Sequence != 42 || string(r.Origin.Stream) != "app" || r.Origin.Agent != sampleMeta.OriginAgent {
		t.Errorf("origin %+v", r.Origin)
	}
}

func TestParseJSONNamesWhatIsWrong(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		var r Record
		err := ParseJSON([]byte(in), &r)
		if err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", in, err, want)
		}
	}
	f(``, `record is not a JSON object`)
	f(`[]`, `record is not a JSON object`)
	f(`{"message":"a"} x`, `text after the record, at byte 16`)
	f(`{"message":"a"`, `not valid JSON at byte 14`)
	f(`{"message":"a",}`, `not valid JSON at byte 15`)
	f(`{message:"a"}`, `not valid JSON at byte 1`)
	f("{\"message\":\"a\x01\"}", `"message": not valid JSON: string at byte 11`)
	f(`{"mesage":"a"}`, `"mesage": unknown field`)
	f(`{"message":"a","message":"b"}`, `"message": field given twice`)
	f(`{"message":1}`, `"message": want a string`)
	f(`{"host":null}`, `"host": want a string`)
	f(`{"time":1}`, `"time": want a string`)
	f(`{"time":"yesterday"}`, `"time": want an RFC 3339 time between 1678 and 2262, not "yesterday"`)
	f(`{"time":"3000-01-01T00:00:00Z"}`, `"time": want an RFC 3339 time between 1678 and 2262, not "3000-01-01T00:00:00Z"`)
	f(`{"severity":8}`, `"severity": want a number from 0 to 7 or a name`)
	f(`{"severity":"loud"}`, `"severity": unknown name "loud"`)
	f(`{"severity":1.5}`, `"severity": want a whole number that is not negative`)
	f(`{"facility":-1}`, `"facility": want a whole number that is not negative`)
	f(`{"facility":true}`, `"facility": want a number`)
	f(`{"facility":24}`, `"facility": want a number from 0 to 23 or a name`)
	f(`{"offset":"1"}`, `"offset": want a number`)
	f(`{"origin":"7f3c/3/app/42"}`, `"origin": want AGENT/EPOCH/STREAM/SEQUENCE, not "7f3c/3/app/42"`)
	f(`{"attrs":[]}`, `"attrs": want an object`)
	f(`{"attrs":{"a":}}`, `"attrs": not valid JSON or nested too deep, near byte 14`)
	f(`{"attrs":{"a":`+strings.Repeat("[", 65)+strings.Repeat("]", 65)+`}}`, `"attrs": not valid JSON or nested too deep, near byte 78`)
	f(`{"flags":"dead"}`, `"flags": want an array`)
	f(`{"flags":["late"]}`, `"flags": unknown flag "late"`)
	f(`{"sd":1}`, `"sd": want an object or a string`)
	f(`{"sd":{"a":1}}`, `"sd": "a": want an object`)
	f(`{"sd":{"a b":{}}}`, `"sd": "a b": not a name that structured data can have`)
	f(`{"sd":{"a":{"=":"x"}}}`, `"sd": "a": "=": not a name that structured data can have`)
	f(`{"sd":{"a":{"b":1}}}`, `"sd": "a": "b": want a string`)
}

func TestParseJSONTakesNamesAndNestedAttributes(t *testing.T) {
	var r Record
	in := ` {"severity":"Warning","facility":"local3","message":"a\u00e9\n","time":"2026-11-22T12:07:05+02:00","sd":{"a":{"b":["1","]"]}},` +
		`"attrs":{"a":{"b":[1, 2]},"c":null,"d":1e2,"e.f":"x"},"flags":["dead","gap"]} `
	if err := ParseJSON([]byte(in), &r); err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-11-22T10:07:05Z","facility":19,"severity":4,"message":"aé\n","attrs":{"a":{"b":[1,2]},"c":null,"d":100.0,"e.f":"x"},` +
		`"sd":{"a":{"b":["1","]"]}},"flags":["dead","gap"]}`
	if got := string(AppendJSON(nil, encode(t, &r), Meta{})); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if string(r.SD) != `[a b="1" b="\]"]` {
		t.Errorf("sd %s", r.SD)
	}
}

func TestTimesAreWrittenLikeRFC3339Nano(t *testing.T) {
	for _, ns := range []int64{0, 1, -1, 1e9, 999999999, -999999999, math.MaxInt64, math.MinInt64 + 1, 951782400e9, 951868799e9 + 5e8,
		68169600e9, -2208988800e9, 4107542400e9, time.Date(2100, 2, 28, 23, 59, 59, 120000000, time.UTC).UnixNano()} {
		want := time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
		if got := string(appendTime(nil, ns)); got != want {
			t.Errorf("%d: got %s want %s", ns, got, want)
		}
		if back, ok := parseTime([]byte(want)); !ok || back != ns {
			t.Errorf("%s: got %d %v want %d", want, back, ok, ns)
		}
	}
	for day := int64(-106000); day < 106000; day++ {
		want := time.Unix(day*86400, 0).UTC().Format(time.RFC3339)
		if got := string(appendTime(nil, day*86400e9)); got != want {
			t.Fatalf("day %d: got %s want %s", day, got, want)
		}
	}
}
