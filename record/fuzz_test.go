package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// seedVectors adds the vectors of that extension that are small enough to mutate.
func seedVectors(f *testing.F, extension string, add func(p []byte)) {
	files, err := filepath.Glob(filepath.Join("testdata", "vectors", "*."+extension))
	if err != nil || len(files) == 0 {
		f.Fatal("no vectors", err)
	}
	for _, file := range files {
		p, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(p) < 4096 {
			add(p)
		}
	}
}

// FuzzDecode: what Decode accepts can be read, is canonical, and has valid forms.
func FuzzDecode(f *testing.F) {
	seedVectors(f, "bin", func(p []byte) { f.Add(p) })
	f.Fuzz(func(t *testing.T, p []byte) {
		var b Batch
		if b.Decode(bytes.Clone(p)) != nil {
			return
		}
		if !bytes.Equal(b.Bytes(), p) || !bytes.Equal(reencode(t, &b), p) {
			t.Error("encoding it again gives other bytes")
		}
		var changed Batch
		for i := range b.Len() {
			if line := AppendJSON(nil, b.At(i), sampleMeta); !json.Valid(line) || !utf8.Valid(line) || bytes.IndexByte(line, '\n') >= 0 {
				t.Errorf("not a line of JSON: %q", line)
			}
			checkShown(t, AppendText(nil, b.At(i), sampleMeta, TextOptions{Terminal: true}))
			if err := changed.AppendRouted(b.At(i), "errors"); err != nil {
				t.Error(err)
			}
			changed.AppendFlagged(b.At(i), Dead)
		}
		if err := new(Batch).Decode(changed.Bytes()); err != nil {
			t.Error(err)
		}
		checkStamped(t, &b)
	})
}

// FuzzJSON: what ParseJSON accepts is JSON, and writing and parsing it again
// gives the same.
func FuzzJSON(f *testing.F) {
	seedVectors(f, "json", func(p []byte) {
		for line := range bytes.Lines(p) {
			f.Add(line)
		}
	})
	f.Fuzz(func(t *testing.T, p []byte) {
		var r Record
		if ParseJSON(p, &r) != nil {
			return
		}
		if !json.Valid(p) {
			t.Errorf("accepted %q", p)
		}
		var b Batch
		if b.Append(&r) != nil {
			return // a field longer than a record can have
		}
		line := AppendJSON(nil, b.At(0), Meta{})
		if !json.Valid(line) || !utf8.Valid(line) {
			t.Errorf("not JSON: %q", line)
		}
		if utf8.Valid(p) { // names that differ in other bytes alone look the same in JSON
			checkLine(t, "fuzz", line)
		}
		if err := new(Batch).Decode(b.Bytes()); err != nil {
			t.Error(err)
		}
	})
}

// FuzzText: whatever a record holds, nothing that acts on a terminal gets out.
func FuzzText(f *testing.F) {
	f.Add([]byte("\x1b]0;title\x07\x9b31m\xc2\x9b31m"), []byte("\u202e\xff"), []byte("k\n"))
	f.Fuzz(func(t *testing.T, text, value, key []byte) {
		r := newRecord(func(r *Record) {
			r.Host, r.App, r.ProcID, r.Message = text, key, value, text
			r.Attrs.SetString(string(key), string(value))
			r.Attrs.Set("json", JSON, value)
			r.Attrs.Set("bytes", Bytes, text)
		})
		var b Batch
		if b.Append(r) != nil {
			return
		}
		checkShown(t, AppendText(nil, b.At(0), Meta{}, TextOptions{Terminal: true}))
		coloured := string(AppendText(nil, b.At(0), Meta{}, TextOptions{Colour: true}))
		checkShown(t, []byte(stripOurColours(coloured)))
	})
}

// stripOurColours takes away what AppendText writes itself.
func stripOurColours(s string) string {
	for _, colour := range append(severityColours[:], colourReset, colourDim) {
		s = strings.ReplaceAll(s, colour, "")
	}
	return s
}

// checkShown checks that a terminal shows every character of text and obeys none.
func checkShown(t *testing.T, text []byte) {
	t.Helper()
	if !utf8.Valid(text) {
		t.Errorf("not UTF-8: %q", text)
	}
	for _, r := range string(text) {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			t.Errorf("%U got out in %q", r, text)
		}
	}
}

// FuzzFlatten: FlattenJSON takes the same documents as encoding/json, to a depth
// of 64, and reads the same from them.
func FuzzFlatten(f *testing.F) {
	for _, seed := range []string{flatObject, `{}`, `{"a":{"b":[1,{}]},"a":{"c":null}}`, `{"a":"\ud83d\ude00\ud83d\n","b":-1.5e-3,"c":1e400}`,
		`{"a":9223372036854775808,"b":0.1,"":{"":""}}`, `{"1":{"2":{"3":{"4":{"5":{"6":{"7":{"8":{"9":1}}}}}}}}}`, `[1]`, `{"a":01}`, "{\"a\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var a Attrs
		a.SetString("a", "before")
		before := show(&a)
		ok, n := FlattenJSON(p, &a, FlattenOptions{})
		trimmed := bytes.TrimLeft(p, " \t\r\n")
		want := json.Valid(p) && len(trimmed) > 0 && trimmed[0] == '{' && nesting(p) <= maxDepth
		if ok != want {
			t.Fatalf("got %v want %v for %q", ok, want, p)
		}
		if !validAttrs(a.buf, a.n) {
			t.Fatal("attributes are not well formed")
		}
		if !ok && (show(&a) != before || n != 0) {
			t.Errorf("a refused document left\n%s", show(&a))
		}
		if !ok || len(p) > 400 || !utf8.Valid(p) {
			return
		}
		var r Attrs
		r.SetString("a", "before")
		flattenSlowly(t, p, "", 1, &r)
		if got, want := show(&a), show(&r); got != want {
			t.Errorf("%s\n got\n%s\nwant\n%s", p, got, want)
		}
	})
}

// nesting returns how deep valid JSON nests.
func nesting(p []byte) (deepest int) {
	depth, inString := 0, false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && (c == '{' || c == '['):
			depth++
			deepest = max(deepest, depth)
		case !inString && (c == '}' || c == ']'):
			depth--
		}
	}
	return deepest
}

// flattenSlowly is FlattenJSON by means of encoding/json.
func flattenSlowly(t *testing.T, p []byte, prefix string, depth int, a *Attrs) {
	d := json.NewDecoder(bytes.NewReader(p))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		key := prefix + name.(string)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			t.Fatal(err)
		}
		if raw[0] == '{' && depth < 8 && strings.TrimLeft(string(raw[1:]), " \t\r\n") != "}" {
			flattenSlowly(t, raw, key+".", depth+1, a)
			continue
		}
		setSlowly(t, a, key, raw)
	}
}

func setSlowly(t *testing.T, a *Attrs, key string, raw json.RawMessage) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		t.Fatal(err)
	}
	switch v := value.(type) {
	case string:
		a.SetString(key, v)
	case bool:
		a.SetBool(key, v)
	case json.Number:
		if i, err := v.Int64(); err == nil {
			a.SetInt(key, i)
		} else if f, err := v.Float64(); err == nil {
			a.SetFloat(key, f)
		} else {
			a.SetString(key, v.String())
		}
	default:
		a.Set(key, JSON, raw)
	}
}

// FuzzLogfmt: what ParseLogfmt refuses it leaves alone, and what it takes is
// well formed.
func FuzzLogfmt(f *testing.F) {
	for _, seed := range []string{flatLogfmt, `a= b="" c d=1.5 a="\"\u00e9\x1b\q"`, `a="b"c`, `="x"`, "IN=eth0 OUT= SYN", `a="\ud83d\ude00"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var a Attrs
		a.SetString("a", "before")
		before := show(&a)
		ok := ParseLogfmt(p, &a)
		if !validAttrs(a.buf, a.n) {
			t.Fatal("attributes are not well formed")
		}
		if !ok && show(&a) != before {
			t.Errorf("a refused message left\n%s", show(&a))
		}
	})
}

// FuzzValue: the scanner takes the same values as encoding/json, to a depth of
// 64, and what is made of them is JSON on one line.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{`[1,{"a":[null,true]}]`, `{"a":{"b":{}}}`, "[\"\xff\u2028\\u2028\"]", "[ ]", `[}`, `{]`, strings.Repeat("[", 70)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		s := scanner{text: p}
		got := s.value(0) && s.end()
		if want := json.Valid(p) && nesting(p) <= maxDepth; got != want {
			t.Fatalf("got %v want %v for %q", got, want, p)
		}
		if !got {
			return
		}
		line := appendCompact(nil, p)
		if !json.Valid(line) || !utf8.Valid(line) || bytes.ContainsAny(line, "\n\r\t") {
			t.Errorf("%q became %q", p, line)
		}
		if got, want := decoded(t, line), decoded(t, p); got != want {
			t.Errorf("got %s want %s", got, want)
		}
	})
}

// decoded shows what encoding/json makes of p, numbers as they are written.
func decoded(t *testing.T, p []byte) string {
	d := json.NewDecoder(bytes.NewReader(p))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%q", value)
}

// FuzzRecord: decode(encode(x)) is x, and encoding that gives the same bytes.
func FuzzRecord(f *testing.F) {
	f.Add([]byte("host"), []byte("message"), []byte("key"), []byte("value"), int64(1), uint16(3), uint8(6), uint8(1), 1.5)
	f.Fuzz(func(t *testing.T, a, b, key, value []byte, ns int64, flags uint16, severity, mask uint8, number float64) {
		pick := func(bit uint8, v []byte) []byte {
			if mask&bit == 0 {
				return nil
			}
			return v
		}
		r := newRecord(func(r *Record) {
			r.Time, r.Received, r.Flags, r.Severity, r.Facility = ns, ns/2, Flags(flags), severity, severity
			r.Host, r.App, r.ProcID, r.MsgID = pick(1, a), pick(2, b), pick(4, a), pick(8, key)
			r.Stream, r.Input, r.Peer, r.Agent = pick(16, b), pick(32, value), pick(64, a), pick(128, b)
			r.Message, r.SD = pick(1, b), pick(2, a)
			r.Origin = Origin{Epoch: uint32(flags), Sequence: uint64(mask), Stream: pick(4, key)}
			r.Attrs.SetString(string(key), string(value))
			r.Attrs.SetFloat(string(a), number)
			r.Attrs.Set(string(b), JSON, a)
			r.Attrs.SetInt(string(value), ns)
		})
		var batch, again Batch
		if batch.Append(r) != nil {
			return
		}
		if err := again.Decode(bytes.Clone(batch.Bytes())); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(reencode(t, &again), batch.Bytes()) {
			t.Error("encoding it again gives other bytes")
		}
		var back Record
		again.At(0).Decode(&back)
		if !bytes.Equal(back.Message, r.Message) || !bytes.Equal(back.Agent, r.Agent) || back.Time != r.Time ||
			back.Flags != r.Flags || !bytes.Equal(back.Origin.Stream, r.Origin.Stream) || show(&back.Attrs) != show(&r.Attrs) {
			t.Errorf("got %+v want %+v", back, *r)
		}
	})
}
