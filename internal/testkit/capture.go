package testkit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Capture is what one socket received from a real sender.
type Capture struct {
	Name      string   // the file's name without ".raw"
	Stream    bool     // bytes of one connection, not datagrams
	Bytes     []byte   // of the connection
	Datagrams [][]byte // each as it came
}

// Captures reads the captures (*.raw and their *.meta.json) of a folder.
func Captures(tb testing.TB, dir string) []Capture {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.raw"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no captures in %s (%v)", dir, err)
	}
	var captures []Capture
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".raw")
		c := Capture{Name: name, Stream: !strings.HasSuffix(name, ".dgram"), Bytes: b}
		if !c.Stream {
			c.Datagrams = datagrams(tb, strings.TrimSuffix(file, ".dgram.raw")+".meta.json", b)
		}
		captures = append(captures, c)
	}
	return captures
}

// datagrams cuts b where the rows of the capture's meta file say.
func datagrams(tb testing.TB, path string, b []byte) [][]byte {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	var meta struct {
		Events [][]any `json:"events"` // time, conn, event, offset, length, note
	}
	if err := json.Unmarshal(text, &meta); err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
	var all [][]byte
	for _, row := range meta.Events {
		if len(row) < 5 || row[2] != "dgram" {
			continue
		}
		at, n := int(row[3].(float64)), int(row[4].(float64))
		all = append(all, b[at:at+n:at+n])
	}
	return all
}
