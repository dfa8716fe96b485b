package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzConfigFile gives the agent any configuration: it refuses it with reasons,
// or takes it, and what it then says is in effect it takes again as the same.
func FuzzConfigFile(f *testing.F) {
	contract, err := os.ReadFile("testdata/config/contract.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(contract)
	samples, err := filepath.Glob("../examples/*/runnel.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range append(samples, "../cmd/runnel/default.yaml") {
		if text, err := os.ReadFile(name); err == nil {
			f.Add(text)
		}
	}
	f.Add([]byte("inputs: {in: {type: syslog, listen: 'udp://127.0.0.1:514', rate: {records: 10}}}\npipelines: {p: {from: [in], steps: [{drop: 'message matches \"x\"'}, {set: {a: 'b'}}, {route: {s: 'true'}}]}}"))
	f.Add([]byte("forwarders: {w: {type: webhook, from: ['*'], url: 'https://x/?a=${HOME}', headers: {A: b}}}\nstreams: {'*': {max_age: 1h}}"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 16<<10 {
			return
		}
		c, err := ParseConfig("runnel.yaml", text, dir, fakeKinds())
		if err != nil {
			if err.Error() == "" {
				t.Errorf("%q is refused without a reason", text)
			}
			return
		}
		var once, twice bytes.Buffer
		if err := c.Effective(&once); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(once.Bytes(), []byte("***")) {
			return // secrets written out are not written again
		}
		again, err := ParseConfig("effective.yaml", once.Bytes(), dir, fakeKinds())
		if err != nil {
			t.Fatalf("%q is in effect as\n%s\nwhich is refused: %v", text, once.Bytes(), err)
		}
		if err := again.Effective(&twice); err != nil || once.String() != twice.String() {
			t.Errorf("%q is in effect as\n%s\nand that as\n%s, %v", text, once.Bytes(), twice.Bytes(), err)
		}
	})
}

// FuzzRedrives gives the reader of redrives any book: it takes what it
// understands, and panics at nothing.
func FuzzRedrives(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 4, 'h', 'o', 'o', 'k', 8, 'a', 'p', 'p', '.', 'd', 'e', 'a', 'd', 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, value []byte) {
		for name, streams := range readRedrives(value) {
			for stream, r := range streams {
				if r == nil {
					t.Errorf("%q: nothing of %q in %q", value, name, stream)
				}
			}
		}
	})
}
