//go:build !wasm

package runnel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// handle runs f over batches natively and puts back what was registered.
func handle(t testing.TB, f func(r *Record), encoded ...[]byte) Simulated {
	t.Helper()
	t.Cleanup(func() { handler, batches, configure = nil, nil, nil })
	handler, configure = f, nil
	return Simulate("", 42, encoded...)
}

// TestVectors reads every numbered batch of the format and compares each field
// with what the host's own reader makes of it.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob("../../record/testdata/vectors/*.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, file := range files {
		encoded, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var want record.Batch
		if err := want.Decode(bytes.Clone(encoded)); err != nil {
			continue // a vector of what must be refused never reaches a guest
		}
		seen := 0
		handle(t, func(r *Record) {
			v := want.At(r.Index())
			seen++
			f := func(field string, got, want any) {
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s record %d %s: got %v want %v", file, r.Index(), field, got, want)
				}
			}
			f("severity", r.Severity(), v.Severity())
			f("facility", r.Facility(), v.Facility())
			f("flags", uint16(r.Flags()), uint16(v.Flags()))
			f("time", r.Time(), v.Time())
			f("received", r.Received(), v.Received())
			f("host", r.Host(), v.Host())
			f("app", r.App(), v.App())
			f("procid", r.ProcID(), v.ProcID())
			f("msgid", r.MsgID(), v.MsgID())
			f("stream", r.Stream(), v.Stream())
			f("input", r.Input(), v.Input())
			f("peer", r.Peer(), v.Peer())
			f("agent", r.Agent(), v.Agent())
			f("sd", r.SD(), v.SD())
			f("message", r.Message(), v.Message())
			var got, wanted []string
			r.Attrs(func(key []byte, value Value) bool {
				got = append(got, fmt.Sprintf("%q %d %x", key, value.Kind, value.Data))
				same := r.Attr(string(key))
				f("attr "+string(key), same.Data, value.Data)
				return true
			})
			attrs := v.Attrs()
			for key, value := range attrs.All() {
				wanted = append(wanted, fmt.Sprintf("%q %d %x", key, value.Kind, value.Data))
			}
			f("attrs", got, wanted)
		}, encoded)
		if seen != want.Len() {
			t.Errorf("%s: saw %d records of %d", file, seen, want.Len())
		}
	}
}

// batch encodes records that hold a message each.
func batch(t testing.TB, messages ...string) []byte {
	t.Helper()
	var b record.Batch
	var r record.Record
	for _, message := range messages {
		r.Reset()
		r.Message = []byte(message)
		r.Attrs.SetString("k", "v")
		if err := b.Append(&r); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// verdicts splits an output into "index kind payload".
func verdicts(t testing.TB, p []byte) []string {
	t.Helper()
	if p == nil {
		return nil
	}
	if p[0] != formList {
		t.Fatalf("got form %d", p[0])
	}
	var list []string
	count := int(binary.LittleEndian.Uint32(p[4:]))
	for p = p[outHeader:]; len(p) > 0; {
		size := binary.LittleEndian.Uint32(p)
		list = append(list, fmt.Sprintf("%d %d %q", binary.LittleEndian.Uint32(p[4:]), p[8], p[verdHeader:size]))
		p = p[size:]
	}
	if len(list) != count {
		t.Errorf("got %d verdicts, the header says %d", len(list), count)
	}
	return list
}

func TestVerdicts(t *testing.T) {
	f := func(do func(r *Record), want ...string) {
		t.Helper()
		got := verdicts(t, handle(t, func(r *Record) {
			if r.Index() == 1 {
				do(r)
			}
		}, batch(t, "a", "b", "c")).Verdicts)
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("got %v want %v", got, want)
		}
	}
	f(func(r *Record) {})
	f(func(r *Record) { r.Drop("why") }, `1 1 "why"`)
	f(func(r *Record) { r.Fail("bad") }, `1 7 "bad"`)
	f(func(r *Record) { r.Set("k", "vw") }, `1 2 "\x01\x00\x01\x00\x02\x00\x00\x00kvw"`)
	f(func(r *Record) { r.SetBool("k", true) }, `1 2 "\x05\x00\x01\x00\x01\x00\x00\x00k\x01"`)
	f(func(r *Record) { r.Route("s") }, `1 2 "\x19\x00\x00\x00\x01\x00\x00\x00s"`)
	f(func(r *Record) { r.Set("k", "v"); r.Drop("x"); r.Set("l", "w") }, `1 1 "x"`)
	f(func(r *Record) { r.Drop("x"); r.SetMessage([]byte("y")); r.Drop("z") }, `1 1 "z"`)
}

func TestNewRecordsAreWellFormed(t *testing.T) {
	p := handle(t, func(r *Record) {
		r.Emit().Copy(r).Severity(Err).Message([]byte("first")).Set("n", "1")
		r.Emit().Host([]byte("h")).Route("errors").SetInt("n", 2).SetFloat("f", 0.5).Time(9).Facility(3)
		r.Replace().App([]byte("a")).ProcID([]byte("p")).MsgID([]byte("m")).SD([]byte("[x]"))
	}, batch(t, "a")).Verdicts
	kinds := ""
	for p = p[outHeader:]; len(p) > 0; {
		size := binary.LittleEndian.Uint32(p)
		kinds += string(rune('0' + p[8]))
		one := append([]byte{'r', 'b', 1, 0}, binary.LittleEndian.AppendUint32(nil, size-verdHeader+batchHeader)...)
		one = append(append(one, 1, 0, 0, 0, 0, 0, 0, 0), p[verdHeader:size]...)
		var b record.Batch
		if err := b.Decode(one); err != nil {
			t.Errorf("a record of kind %d: %v", p[8], err)
		}
		p = p[size:]
	}
	if kinds != "355" {
		t.Errorf("got kinds %s, want REPLACE before both EMITs", kinds)
	}
}

func TestRegisterSeesWholeBatches(t *testing.T) {
	t.Cleanup(func() { batches = nil })
	Register(func(b *Batch) {
		for r := b.Next(); r != nil && r.Index() < 2; r = b.Next() {
			r.Drop(fmt.Sprint(b.Len()))
		}
	})
	got := verdicts(t, Simulate("", 0, batch(t, "a", "b", "c", "d")).Verdicts)
	if want := `0 1 "4"|1 1 "4"`; strings.Join(got, "|") != want {
		t.Errorf("got %v want %s", got, want)
	}
}

func TestCopyTextOfEveryLength(t *testing.T) {
	text := "0123456789abcdefghijklmnopqrstuvwxyz"
	for n := range len(text) {
		space := bytes.Repeat([]byte{'#'}, len(text)+1)
		copyText(pointerTo(space), text[:n])
		if want := text[:n] + strings.Repeat("#", len(space)-n); string(space) != want {
			t.Errorf("length %d: got %s want %s", n, space, want)
		}
	}
}

func TestAWarmGuestAllocatesNothing(t *testing.T) {
	encoded := batch(t, "a", "b", "c", "d")
	handle(t, func(r *Record) {
		r.Set("class", "text")
		if r.Index()%2 == 0 {
			r.Route("errors")
			copy(r.MessageSpace(3), "xyz")
		}
		r.Emit().Copy(r).SetInt("n", 1)
	}, encoded)
	if got := testing.AllocsPerRun(100, func() { process(pointerTo(encoded)) }); got != 0 {
		t.Errorf("got %v allocations a batch, want none", got)
	}
}

func TestConfig(t *testing.T) {
	f := func(config string, want ...string) {
		t.Helper()
		var got []string
		t.Cleanup(func() { configure = nil })
		Configure(func(c *Config) {
			got = append(got, fmt.Sprintf("%v %v %v %v %v", c.Bool("b", true), c.String("s", "-"), c.Int("i", 7), c.Strings("l"), c.Object("o").String("p", "-")))
			c.Known("b", "s", "i", "l", "o")
		})
		s := Simulate(config, 0)
		got = append(got, s.Lines...)
		if (s.Status != 0) != (len(s.Lines) > 0) {
			t.Errorf("%s: status %d with %d lines", config, s.Status, len(s.Lines))
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s:\ngot  %s\nwant %s", config, strings.Join(got, "|"), strings.Join(want, "|"))
		}
	}
	f(``, "true - 7 [] -")
	f(`{}`, "true - 7 [] -")
	f(`null`, "true - 7 [] -")
	f(` { "b" : false , "s":"x\n\u00e9\ud83d\ude00\"","i":-12, "l":["a","b"],"o":{"p":"q"}} `, "false x\né😀\" -12 [a b] q")
	f(`{"b":1}`, "true - 7 [] -", "b is 1, not true or false")
	f(`{"s":1}`, "true - 7 [] -", "s is 1, not a text")
	f(`{"i":1.5}`, "true - 7 [] -", "i is 1.5, not a whole number")
	f(`{"i":12345678901234567890}`, "true - 7 [] -", "i is 12345678901234567890, not a whole number")
	f(`{"i":9223372036854775807}`, "true - 9223372036854775807 [] -")
	f(`{"i":-9223372036854775808}`, "true - -9223372036854775808 [] -")
	f(`{"i":1700000000000000000}`, "true - 1700000000000000000 [] -")
	f(`{"i":9223372036854775808}`, "true - 7 [] -", "i is 9223372036854775808, not a whole number")
	f(`{"i":-9223372036854775809}`, "true - 7 [] -", "i is -9223372036854775809, not a whole number")
	f(`{"l":["a",1]}`, "true - 7 [] -", `l is ["a",1], not a list of texts`)
	f(`{"o":[]}`, "true - 7 [] -", "o is [], not an object")
	f(`{"o":{"p":true}}`, "true - 7 [] -", "o.p is true, not a text")
	f(`{"z":1}`, "true - 7 [] -", `unknown key "z"; known are: b, s, i, l, o`)
	for _, broken := range []string{`[]`, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1}x`, `{"a":tru}`, `{"a":"`, `{"\`, `{"a":"\`, `{a:1}`, `"x"`,
		strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)} {
		f(broken, "it is not a JSON object")
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(`{"a":[1,{"b":"\u00e9"}],"c":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		c := parseConfig([]byte(text))
		for _, key := range c.Keys() {
			c.Bool(key, false)
			_ = c.String(key, "")
			c.Int(key, 0)
			c.Strings(key)
			c.Object(key).Keys()
		}
	})
}
