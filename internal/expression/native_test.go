package expression

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/runnel-log/runnel/record"
)

// draw makes expressions of the native shapes, and records, at random.
type draw struct{ *rand.Rand }

func (d draw) of(words ...string) string { return words[d.IntN(len(words))] }

func (d draw) field() string {
	return d.of("severity", "facility", "host", "app", "procid", "msgid", "message", "stream", "input", "peer", "agent",
		"attrs.a", "attrs.b", "attrs.c.d", `attrs["c.d"]`, "attrs.j.x", "attrs.j.y.z", "attrs.j", "attrs.nope", "attrs.n.o.p", "time", "received")
}

func (d draw) literal() string {
	return d.of("nil", "true", "false", "0", "3", "-1", "2.5", "3.0", `"a"`, `""`, `"err"`, `"web"`, `"3"`, `"2026-11-22"`, `"2026-11-22T10:07:05Z"`)
}

func (d draw) condition(depth int) string {
	if depth > 0 {
		switch d.IntN(4) {
		case 0:
			return "(" + d.condition(depth-1) + ") " + d.of("and", "or", "&&", "||") + " (" + d.condition(depth-1) + ")"
		case 1:
			return d.of("not ", "!") + "(" + d.condition(depth-1) + ")"
		}
	}
	switch d.IntN(6) {
	case 0:
		return d.field() + " " + d.of("contains", "startsWith", "endsWith", "matches") + " " + d.of(`"a"`, `""`, `"we"`, `"^a.*b$"`, `"1"`)
	case 1:
		return d.field() + d.of(" in ", " not in ") + "[" + d.literal() + ", " + d.literal() + "]"
	case 2:
		return d.of("attrs.a", "attrs.j.x", "attrs.nope", "true", "false")
	case 3:
		return d.literal() + " " + d.of("==", "!=", "<", "<=", ">", ">=") + " " + d.field()
	}
	return d.field() + " " + d.of("==", "!=", "<", "<=", ">", ">=") + " " + d.literal()
}

func (d draw) text() []byte {
	return []byte(d.of("", "a", "web", "ab", "err", "3", "1b", "\xff", "2026-11-22"))
}

func (d draw) record(t testing.TB) record.View {
	var r record.Record
	r.Reset()
	if d.IntN(2) == 0 {
		r.Severity, r.Facility = uint8(d.IntN(8)), uint8(d.IntN(24))
	}
	if d.IntN(2) == 0 {
		r.Time = sampleTime.UnixNano() + int64(d.IntN(3)-1)*143147000
	}
	r.Received = sampleTime.UnixNano()
	r.Host, r.App, r.ProcID, r.MsgID = d.text(), d.text(), d.text(), d.text()
	r.Stream, r.Message, r.Input, r.Peer, r.Agent = d.text(), d.text(), d.text(), d.text(), d.text()
	for _, key := range []string{"a", "b", "c.d", "j", "j.x", "n", "n.o"} {
		d.attr(&r.Attrs, key)
	}
	return encode(t, &r)
}

func (d draw) attr(attrs *record.Attrs, key string) {
	switch d.IntN(8) {
	case 0:
		attrs.SetInt(key, int64(d.IntN(5)-1))
	case 1:
		attrs.SetFloat(key, []float64{3, 2.5, -1, math.NaN(), math.Inf(1)}[d.IntN(5)])
	case 2:
		attrs.SetBool(key, d.IntN(2) == 0)
	case 3:
		attrs.Set(key, record.Bytes, d.text())
	case 4:
		attrs.Set(key, record.JSON, []byte(d.of(`null`, ` null `, `[1,"a"]`, `{"x":3,"y":{"z":"a"}}`, `{"x":true}`, `"a"`, `3`, `{bad`, ``, `{"o":{"p":null}}`)))
	case 5, 6:
		attrs.SetString(key, string(d.text()))
	}
}

func TestNativeAgreesWithVM(t *testing.T) {
	compiled, native := 0, 0
	for seed := range uint64(3000) {
		d := draw{rand.New(rand.NewPCG(seed, 1))}
		src := d.condition(3)
		p, err := Condition(src)
		if err != nil {
			continue // a text against a number, and the like
		}
		compiled++
		if p.match != nil {
			native++
		}
		for range 8 {
			v := d.record(t)
			if match(t, src, v, string(d.text())); t.Failed() {
				var r record.Record
				v.Decode(&r)
				t.Fatalf("seed %d: %+v", seed, allAttrs(v))
			}
		}
	}
	if compiled < 500 || native*100 < compiled*95 {
		t.Errorf("%d expressions compiled, %d natively; want at least 500, and nearly all", compiled, native)
	}
}

// FuzzCondition holds any expression that compiles to: no panic, and natively as on the VM.
func FuzzCondition(f *testing.F) {
	for _, src := range commonShapes {
		f.Add(src)
	}
	for _, src := range []string{`any(attrs.tags, # == "a" and #index > 0)`, `let x = attrs.status; x + 1 > 2 ? true : nil`, `message[1:-1] == "x"`,
		`lower(host) | trim() contains "w"`, `time - received < duration("1h")`, `{"a": [1, 2.5, -3]}.a[0] == 1 ?? false`, `if severity > 3 {true} else {false}`,
		`attrs?.a?.["b"].c`, `0x10 == 16 and 1_000 > 1e2`, "`raw` == message", `attrs.a ** 2 % 3 != nil`, `find(attrs.tags, .x == 1).y`, `/* c */ true // d`,
		`split(message, "")[99]`, `fromJSON(message).a.b`, `replace(message, "", "x")`, `toJSON(attrs) contains "status"`, `"a" not in attrs`, `::len("x") == 1`} {
		f.Add(src)
	}
	v, none := sample(f), bare(f)
	f.Fuzz(func(t *testing.T, src string) {
		p, err := Condition(src)
		if err != nil {
			e := err.(*Error)
			if e.Col < 1 || e.Width < 1 || e.Offset < 0 || e.Offset > len(src) {
				t.Errorf("%q: the error is at %d+%d, byte %d", src, e.Col, e.Width, e.Offset)
			}
			return
		}
		for _, v := range []record.View{v, none} {
			e := p.Evaluator()
			got := e.Match(v, Context{Stream: "app"})
			if onVM := truth(e.run(v, Context{Stream: "app"})); got != onVM && !strings.Contains(src, "now") {
				t.Errorf("%q: natively %v, on the VM %v", src, got, onVM)
			}
		}
	})
}

// FuzzValue sets what any expression gives, natively and on the VM.
func FuzzValue(f *testing.F) {
	for _, src := range []string{`host`, `attrs.tags`, `attrs.deep.x`, `attrs.none`, `attrs.raw`, `time`, `-1.5`, `[1, nil, {"a": attrs}]`, `attrs`, `attrs.status * 3`, `"x"`, `keys(attrs)`, `map(attrs.tags, string(#))`} {
		f.Add(src)
	}
	v := sample(f)
	f.Fuzz(func(t *testing.T, src string) {
		p, err := Value(src)
		if err != nil || strings.Contains(src, "now") {
			return
		}
		var outcome [2]string
		for i := range outcome {
			e := p.Evaluator()
			if i == 1 {
				e.program = &Program{steps: p.steps}
			}
			var attrs record.Attrs
			e.Set(v, Context{Stream: "app"}, &attrs, "k")
			if a, ok := attrs.Get("k"); ok {
				outcome[i] = shown(a)
			}
		}
		if outcome[0] != outcome[1] {
			t.Errorf("%q: natively %s, on the VM %s", src, outcome[0], outcome[1])
		}
	})
}

// shown makes what both ways may write differently the same: bytes are texts, JSON has many spellings.
func shown(a record.Value) string {
	switch a.Kind {
	case record.Bytes:
		a.Kind = record.String
	case record.JSON:
		var x any
		if json.Unmarshal(a.Data, &x) == nil && reflect.TypeOf(x) != nil {
			b, err := json.Marshal(x)
			if err == nil {
				a.Data = b
			}
		}
	}
	if !utf8.Valid(a.Data) {
		a.Data = bytes.ToValidUTF8(a.Data, []byte("?"))
	}
	return fmt.Sprintf("%d %q", a.Kind, a.Data)
}

// Reproduce with: go test ./internal/expression -run '^$' -bench . -benchtime 200ms
// One small record; a long message makes contains and matches proportionally dearer.
func BenchmarkMatch(b *testing.B) {
	v, c := sample(b), Context{Stream: "app"}
	for _, src := range append(commonShapes, `lower(app) == "nginx"`, `any(attrs.tags, # == "b")`, `attrs.status / 2 > 250`) {
		p, err := Condition(src)
		if err != nil {
			b.Fatal(err)
		}
		if p.match != nil {
			b.Run("native/"+src, func(b *testing.B) {
				e := p.Evaluator()
				b.ReportAllocs()
				for b.Loop() {
					e.Match(v, c)
				}
			})
		}
		b.Run("vm/"+src, func(b *testing.B) {
			e := p.Evaluator()
			b.ReportAllocs()
			for b.Loop() {
				truth(e.run(v, c))
			}
		})
	}
}

// BenchmarkCompile is what a filter of the API costs before its first record.
func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Condition(commonShapes[1]); err != nil {
			b.Fatal(err)
		}
	}
}
