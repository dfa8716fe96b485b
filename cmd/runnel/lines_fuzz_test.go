package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/runnel-log/runnel/record"
)

// FuzzLines prints whatever an agent may send to a terminal: nothing leaves that
// does more there than stand. As JSON it stays the same JSON.
func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"message":"\u001b]52;c;aGk=\u0007 \u009b2J \u202e","host":"a\nb","attrs":{"\u001b":"\u007f"}}`))
	f.Add([]byte("{\"message\":\"\x9b\xff\"}"))
	f.Add([]byte("{\"message\":\"a\\tb\"}\n{}\n\n[]"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, mode := range []string{"text", "json", "raw"} {
			var out bytes.Buffer
			l := &lines{out: bufio.NewWriter(&out), mode: mode, terminal: true}
			if _, err := l.each(bytes.NewReader(in), 0, true); err != nil {
				continue
			}
			if err := l.out.Flush(); err != nil {
				t.Fatal(err)
			}
			for i, r := range out.String() {
				if r != '\n' && r != '\t' && isHidden(r) {
					t.Fatalf("%s: %q printed %U at %d", mode, in, r, i)
				}
			}
			if !utf8.Valid(out.Bytes()) {
				t.Fatalf("%s: %q printed %q", mode, in, out.Bytes())
			}
		}
		var compact bytes.Buffer // as the agent sends it: no line end outside of a text
		if utf8.Valid(in) && json.Compact(&compact, in) == nil {
			in = compact.Bytes()
			var before, after any
			if json.Unmarshal(in, &before) != nil {
				return
			}
			if err := json.Unmarshal(appendVisibleJSON(nil, in), &after); err != nil || !reflect.DeepEqual(before, after) {
				t.Errorf("%q became %q", in, appendVisibleJSON(nil, in))
			}
		}
	})
}

// FuzzArguments gives what a command line may name any text.
func FuzzArguments(f *testing.F) {
	f.Add("tcp://127.0.0.1")
	f.Add("unix://")
	f.Add("{\"message\":1}")
	f.Add("<13>1 - - - - - - x")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseDestination(text); err == nil && d.address == "" {
			t.Errorf("%q goes nowhere", text)
		}
		if text != "" {
			var r record.Record
			parseLine([]byte(text), &r)
			if r.Received == 0 {
				t.Errorf("%q has no time of arrival", text)
			}
		}
	})
}

// escapes are some 300 ways to have a terminal do something: every control
// character, and what terminals are known to act on.
func escapes() (all []string) {
	for c := range rune(0xa0) {
		if c < ' ' || c >= 0x7f {
			all = append(all, string(c)+"x", string(c)+"[2Jx")
		}
	}
	for n := range 60 {
		all = append(all, fmt.Sprintf("\x1b]%d;evil\x07", n), fmt.Sprintf("\u009d%d;evil\u009c", n))
	}
	for _, final := range "ABCDEFGHJKLMPSTXZ`abcdefghilmnpqrstu{|}~@" {
		all = append(all, "\x1b[1;1"+string(final), "\u009b1"+string(final))
	}
	for _, r := range "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" {
		all = append(all, "a"+string(r)+"b")
	}
	return append(all, "\x1bP$q\"p\x1b\\", "\x1bP+q544e\x1b\\", "\x1b_evil\x1b\\", "\x1b^evil\x1b\\", "\x1bc", "\x1b7", "\x1b8", "\x1b[?1049h", "\x1b[201~", "\x1b]52;c;ZXZpbA==\x07",
		"\x1b]8;;http://evil\x1b\\x", "a\r\nb", "a\bb", "\x9b2J", "\xc2", "\xff\x9d0;evil\x9c", "\x1b[", "\x1b")
}

// TestNothingInALogDrivesATerminal: whatever field it stands in, and however it
// is printed.
func TestNothingInALogDrivesATerminal(t *testing.T) {
	all := escapes()
	if len(all) < 200 {
		t.Fatalf("%d sequences, want 200 at least", len(all))
	}
	var in bytes.Buffer
	for _, s := range all {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&in, `{"message":%[1]s,"host":%[1]s,"app":%[1]s,"procid":%[1]s,"msgid":%[1]s,"input":%[1]s,"peer":%[1]s,"attrs":{%[1]s:%[1]s}}`+"\n", text)
	}
	for _, mode := range []string{"text", "json", "raw"} {
		var out bytes.Buffer
		l := &lines{out: bufio.NewWriter(&out), mode: mode, terminal: true}
		n, err := l.each(&in, 0, false)
		if flushErr := l.out.Flush(); err != nil || flushErr != nil || n != len(all) {
			t.Fatalf("%s: printed %d of %d, %v", mode, n, len(all), err)
		}
		if rows := bytes.Count(out.Bytes(), []byte("\n")); rows != len(all) {
			t.Errorf("%s: %d rows for %d records", mode, rows, len(all))
		}
		for at, r := range out.String() {
			if r != '\n' && r != '\t' && isHidden(r) {
				t.Errorf("%s: %U is printed at %d", mode, r, at)
			}
		}
		again := bytes.NewBuffer(nil)
		for _, s := range all {
			text, _ := json.Marshal(s)
			fmt.Fprintf(again, `{"message":%s}`+"\n", text)
		}
		in = *again
	}
}
