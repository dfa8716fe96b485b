package main

import (
	"bufio"
	"bytes"
	"encoding/json"
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
		var before, after any
		if json.Unmarshal(in, &before) == nil && utf8.Valid(in) {
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
