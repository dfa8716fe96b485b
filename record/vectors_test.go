package record

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// Write the vectors anew, after a change of the format, with
//
//	go test ./record -run 'TestVectors|TestTerminal' -update
var update = flag.Bool("update", false, "write golden files")

// vector is a batch that every guest SDK must read, and write byte for byte.
type vector struct {
	name    string
	records []*Record
}

func newRecord(set func(r *Record)) *Record {
	r := &Record{}
	r.Reset()
	set(r)
	return r
}

func message(text string, set func(r *Record)) *Record {
	return newRecord(func(r *Record) { r.Message = []byte(text); set(r) })
}

// vectors are the batches. A new one goes to the end: the numbers are quoted elsewhere.
func vectors() []vector {
	return []vector{
		{"nothing-stated", []*Record{newRecord(func(*Record) {})}},
		{"message-alone", []*Record{message("hello", func(*Record) {})}},
		{"every-field", []*Record{full()}},
		{"as-stored-here", []*Record{sample()}},
		{"severities", severities()},
		{"facilities", facilities()},
		{"flags", everyFlag()},
		{"times", times()},
		{"attribute-kinds", attributeKinds()},
		{"attribute-numbers", attributeNumbers()},
		{"attribute-keys", attributeKeys()},
		{"attribute-json", attributeJSON()},
		{"many-attributes", []*Record{message("300 attributes", func(r *Record) {
			for i := range 300 {
				r.Attrs.SetInt(fmt.Sprintf("key.%d", i), int64(i*i))
			}
		})}},
		{"not-utf8", notUTF8()},
		{"control-characters", controlCharacters()},
		{"unicode", unicodeTexts()},
		{"structured-data", structuredData()},
		{"origins", origins()},
		{"longest-field", []*Record{message("a host of 65535 bytes", func(r *Record) { r.Host = bytes.Repeat([]byte("h"), MaxField) })}},
		{"longest-key", []*Record{message("a key of 65535 bytes", func(r *Record) { r.Attrs.SetBool(strings.Repeat("k", MaxField), true) })}},
		{"long-message", []*Record{message(strings.Repeat("0123456789abcdef", 8192), func(*Record) {})}},
		{"long-value", []*Record{message("a value of 70000 bytes", func(r *Record) { r.Attrs.SetString("v", strings.Repeat("v", 70000)) })}},
		{"full-batch", fullBatch()},
		{"empty-values", []*Record{message("values of no bytes", func(r *Record) {
			r.Attrs.SetString("string", "")
			r.Attrs.Set("bytes", Bytes, nil)
			r.Attrs.Set("json", JSON, nil)
		})}},
		{"gap", []*Record{message("lost 17 records of stream app, offsets 4 to 20: expired", func(r *Record) {
			r.Flags, r.Input = Gap, []byte("chain")
			r.Attrs.SetInt("from", 4)
			r.Attrs.SetInt("to", 20)
		})}},
		{"routed", []*Record{message("went to errors", func(r *Record) { r.Stream = []byte("errors") }), message("went nowhere", func(*Record) {})}},
		{"multi-line", []*Record{message("panic: runtime error\n\tat main.go:12\r\n\n", func(*Record) {})}},
		{"docker", docker()},
	}
}

func severities() (out []*Record) {
	for _, s := range []Severity{0, 1, 2, 3, 4, 5, 6, 7, Absent} {
		out = append(out, message("severity", func(r *Record) { r.Severity = s }))
	}
	return out
}

func facilities() (out []*Record) {
	for f := range Facility(24) {
		out = append(out, message("facility", func(r *Record) { r.Facility = f }))
	}
	return out
}

func everyFlag() (out []*Record) {
	every := Flags(0)
	for i := range flagNames {
		every |= 1 << i
		out = append(out, message("one flag", func(r *Record) { r.Flags = 1 << i }))
	}
	return append(out, message("every flag", func(r *Record) { r.Flags = every }))
}

func times() (out []*Record) {
	for _, ns := range []int64{NoTime, 0, 1, -1, 1e9, 1792663625143147000, math.MaxInt64, math.MinInt64 + 1, 951825599999999999} {
		out = append(out, message("time", func(r *Record) { r.Time, r.Received = ns, max(ns, 5) }))
	}
	return out
}

func fullBatch() (out []*Record) {
	for i := range BatchRecords {
		out = append(out, message(fmt.Sprintf("record %d of a full batch", i), func(r *Record) { r.Attrs.SetInt("i", int64(i)) }))
	}
	return out
}

func attributeKinds() []*Record {
	return []*Record{message("one of each kind", func(r *Record) {
		r.Attrs.SetString("string", "text")
		r.Attrs.Set("bytes", Bytes, []byte{0, 1, 0xfe, 0xff})
		r.Attrs.SetInt("int", -42)
		r.Attrs.SetFloat("float", 0.1)
		r.Attrs.SetBool("true", true)
		r.Attrs.SetBool("false", false)
		r.Attrs.Set("json", JSON, []byte(`{"a":[1,null]}`))
	}), message("set twice: the last wins and stands last", func(r *Record) {
		r.Attrs.SetInt("a", 1)
		r.Attrs.SetInt("b", 2)
		r.Attrs.SetString("a", "again")
	})}
}

func attributeNumbers() []*Record {
	return []*Record{message("ints", func(r *Record) {
		for i, n := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64, 1 << 53, 1<<53 + 1} {
			r.Attrs.SetInt(fmt.Sprint("i", i), n)
		}
	}), message("floats", func(r *Record) {
		for i, f := range []float64{0, math.Copysign(0, -1), 1, -1.5, 0.1, 1e6, 1e20, 1e21, 1e-6, 1e-7, math.MaxFloat64,
			math.SmallestNonzeroFloat64, math.NaN(), math.Inf(1), math.Inf(-1), 1 << 53} {
			r.Attrs.SetFloat(fmt.Sprint("f", i), f)
		}
	})}
}

func attributeKeys() []*Record {
	return []*Record{message("keys", func(r *Record) {
		for i, key := range []string{"", "a", "a.b", "http.status_code", "with space", `"quoted"`, `back\slash`, "new\nline", "é", "日本", "😀",
			strings.Repeat("long", 100), "\xff\xfe"} {
			r.Attrs.SetInt(key, int64(i))
		}
	})}
}

func attributeJSON() []*Record {
	return []*Record{message("JSON values", func(r *Record) {
		for i, text := range []string{"null", "[]", "{}", "[1,2,3]", `{"a":{"b":[{"c":null}]}}`, "[ 1 ,\n\t2 ]", `["é","\u00e9","\n"]`, "[\"\xff\"]",
			"not JSON", "[1", strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 65) + strings.Repeat("]", 65)} {
			r.Attrs.Set(fmt.Sprint("j", i), JSON, []byte(text))
		}
	})}
}

func notUTF8() []*Record {
	bad := []byte("caf\xe9 \xff\xfe \xc0\xaf \xed\xa0\x80 \xf0\x9f\x98")
	return []*Record{newRecord(func(r *Record) {
		r.Host, r.App, r.ProcID, r.MsgID, r.Stream, r.Input, r.Peer, r.Agent, r.Message = bad, bad, bad, bad, bad, bad, bad, bad, bad
		r.SD = []byte("[a b=\"\xe9\"]")
		r.Attrs.SetString("text", string(bad))
		r.Attrs.Set("bytes", Bytes, bad)
	})}
}

func controlCharacters() []*Record {
	var all []byte
	for c := range 256 {
		all = append(all, byte(c))
	}
	return []*Record{message(string(all), func(r *Record) { r.Attrs.SetString("all", string(all)) }),
		message("a\x00b", func(r *Record) { r.App = []byte("\x1b[31m") }),
		message("C1: \u0080 \u0085 \u009b31m \u009f", func(*Record) {})}
}

func unicodeTexts() []*Record {
	var out []*Record
	for _, text := range []string{"Grüße aus Köln", "日本語のログ", "😀 👩‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "e\u0301", "\ufefftext after a byte order mark", "right \u202eto left\u202c",
		"\u2028line\u2029paragraph", "\ufffd", "\U0010ffff"} {
		out = append(out, message(text, func(r *Record) { r.Attrs.SetString("text", text) }))
	}
	return out
}

func structuredData() []*Record {
	var out []*Record
	for _, sd := range []string{`[a]`, `[exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"][examplePriority@32473 class="high"]`,
		`[a b="q\"uote back\\slash brack\]et keep\n"]`, `[origin ip="192.0.2.1" ip="192.0.2.129"]`, `[a b="1"][a c="2"]`, `[a b=""]`,
		`[a b="not closed]`, `[]`, `[a  b="two spaces"]`, `-`, `[é ü="ö"]`} {
		out = append(out, message("structured data", func(r *Record) { r.SD = []byte(sd) }))
	}
	return out
}

func origins() []*Record {
	agent := [16]byte{0x7f, 0x3c, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff}
	var out []*Record
	for _, o := range []Origin{{Agent: agent, Epoch: 3, Sequence: 42, Stream: []byte("app")},
		{Agent: agent, Epoch: 3, Sequence: 42, Child: 2, Stream: []byte("app")},
		{Agent: agent, Epoch: math.MaxUint32, Sequence: math.MaxUint64, Child: math.MaxUint32, Stream: []byte("with/slash")},
		{Sequence: 1}} {
		out = append(out, message("origin", func(r *Record) { r.Origin = o }))
	}
	return out
}

func docker() []*Record {
	return []*Record{message(`{"level":"error","msg":"order failed","order":8812}`, func(r *Record) {
		r.Time, r.Received, r.Facility, r.Severity = 1792663625143147000, 1792663625143999000, 3, 3
		r.Host, r.App, r.ProcID, r.MsgID = []byte("vm"), []byte("shop"), []byte("2833"), []byte("shop")
		r.Input, r.Peer = []byte("docker"), []byte("127.0.0.1")
		r.Attrs.SetString("level", "error")
		r.Attrs.SetString("msg", "order failed")
		r.Attrs.SetInt("order", 8812)
	})}
}

func TestVectorsAreAsCommitted(t *testing.T) {
	dir := filepath.Join("testdata", "vectors")
	all := vectors()
	for i, v := range all {
		name := fmt.Sprintf("%03d-%s", i+1, v.name)
		var b Batch
		for _, r := range v.records {
			if err := b.Append(r); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		golden(t, filepath.Join(dir, name+".bin"), b.Bytes())
		golden(t, filepath.Join(dir, name+".json"), jsonLines(&b))
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 2*len(all) {
		t.Errorf("%d files for %d vectors", len(files), len(all))
	}
}

// jsonLines writes the records of b as JSON, a line each.
func jsonLines(b *Batch) []byte {
	var lines []byte
	for i := range b.Len() {
		lines = append(AppendJSON(lines, b.At(i), Meta{}), '\n')
	}
	return lines
}

// golden compares got with a file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs: %d bytes, want %d", file, len(got), len(want))
	}
}

// TestVectorsStandForThemselves reads the files as an SDK does.
func TestVectorsStandForThemselves(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("testdata", "vectors", "*.bin"))
	if len(files) < 28 {
		t.Fatalf("%d vectors", len(files))
	}
	for _, file := range files {
		p, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var b Batch
		if err := b.Decode(bytes.Clone(p)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if !bytes.Equal(reencode(t, &b), p) {
			t.Errorf("%s: encoding it again gives other bytes", file)
		}
		for _, line := range bytes.Split(bytes.TrimSuffix(jsonLines(&b), []byte{'\n'}), []byte{'\n'}) {
			checkLine(t, file, line)
		}
	}
}

// checkLine checks that line is JSON, and that parsing and writing it gives it again.
func checkLine(t *testing.T, file string, line []byte) {
	t.Helper()
	if !json.Valid(line) || !utf8.Valid(line) {
		t.Errorf("%s: not JSON: %.200q", file, line)
	}
	var r Record
	if err := ParseJSON(line, &r); err != nil {
		t.Errorf("%s: %v in %.200q", file, err, line)
		return
	}
	if again := AppendJSON(nil, encode(t, &r), Meta{}); !bytes.Equal(again, line) {
		t.Errorf("%s:\n got %.300q\nwant %.300q", file, again, line)
	}
}
