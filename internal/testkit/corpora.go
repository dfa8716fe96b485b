// Package testkit helps tests read what lies outside of their own folder: the
// captured and written corpora under testdata at the root of the repository,
// and other people's corpora in ../shared/corpora beside the checkout, which
// may be absent. It is imported by tests only.
package testkit

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Root returns the repository's root folder.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("no go.mod above the test's folder")
		}
		dir = parent
	}
}

// Path returns the path of a file or folder of the repository.
func Path(tb testing.TB, elem ...string) string {
	tb.Helper()
	return filepath.Join(append([]string{Root(tb)}, elem...)...)
}

// SharedPath returns the path of a file or folder of the corpora beside the
// checkout, and skips the test where there are none.
func SharedPath(tb testing.TB, elem ...string) string {
	tb.Helper()
	dir := filepath.Join(Root(tb), "..", "shared", "corpora")
	if _, err := os.Stat(dir); err != nil {
		tb.Skip("no ../shared/corpora beside the checkout")
	}
	return filepath.Join(append([]string{dir}, elem...)...)
}

// Case is one case of a corpus.
type Case struct {
	Name      string `json:"name"`
	Source    string `json:"source"`
	Transport string `json:"transport"`
	Framing   string `json:"framing"`
	Raw       []byte `json:"raw_b64"`

	Expect map[string]json.RawMessage `json:"expect"` // what the source's own test states
	Opts   map[string]json.RawMessage `json:"opts"`   // settings the source's test runs under
	Steps  []Step                     `json:"steps"`  // what to send; hostile cases only
	Robust string                     `json:"robust"` // what a robust receiver does; hostile cases only
	Check  map[string]json.RawMessage `json:"check"`  // what can be checked; hostile cases only
}

// Step is one thing to do in a hostile case. Exactly one field is set.
type Step struct {
	Send   []byte `json:"send_b64"`
	Repeat *struct {
		Bytes []byte `json:"b64"`
		Times int    `json:"times"`
	} `json:"send_repeat"`
	Drip *struct {
		Bytes         []byte `json:"b64"`
		BytesPerWrite int    `json:"bytes_per_write"`
	} `json:"drip"`
	Close string `json:"close"`
}

// Sent returns all bytes that the case sends.
func (c *Case) Sent() []byte {
	var b []byte
	for _, s := range c.Steps {
		b = append(b, s.Send...)
		if s.Repeat != nil {
			b = append(b, bytes.Repeat(s.Repeat.Bytes, s.Repeat.Times)...)
		}
		if s.Drip != nil {
			b = append(b, s.Drip.Bytes...)
		}
	}
	return b
}

// Text returns the expected text of key; base64 where the key ends so. ok is
// false if the source does not state it (absent or null).
func (c *Case) Text(key string) (text string, ok bool) {
	if raw, found := c.Expect[key+"_b64"]; found {
		var b []byte
		if json.Unmarshal(raw, &b) == nil {
			return string(b), true
		}
	}
	raw, found := c.Expect[key]
	if !found || json.Unmarshal(raw, &text) != nil || string(raw) == "null" {
		return "", false
	}
	return text, true
}

// Number returns the expected number of key.
func (c *Case) Number(key string) (n int, ok bool) {
	raw, found := c.Expect[key]
	return n, found && json.Unmarshal(raw, &n) == nil && string(raw) != "null"
}

// Frames returns the frames that key lists in base64.
func (c *Case) Frames(tb testing.TB, from map[string]json.RawMessage, key string) (frames [][]byte, ok bool) {
	tb.Helper()
	raw, found := from[key]
	if !found {
		return nil, false
	}
	var texts []string
	if err := json.Unmarshal(raw, &texts); err != nil {
		tb.Fatalf("%s: %s: %v", c.Name, key, err)
	}
	for _, text := range texts {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			tb.Fatalf("%s: %s: %v", c.Name, key, err)
		}
		frames = append(frames, b)
	}
	return frames, true
}

// Cases reads a corpus file: one case a line.
func Cases(tb testing.TB, path string) []Case {
	tb.Helper()
	file, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	var cases []Case
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var c Case
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			tb.Fatalf("%s: case %d: %v", path, len(cases), err)
		}
		cases = append(cases, c)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	if len(cases) == 0 {
		tb.Fatalf("%s holds no cases", path)
	}
	return cases
}
