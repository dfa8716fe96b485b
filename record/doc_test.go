package record

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// block returns the first fenced block of that kind in the format's page.
func block(t *testing.T, kind string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "format", "record.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```"+kind+"\n")
	text, _, closed := strings.Cut(rest, "\n```")
	if !found || !closed {
		t.Fatalf("no %s block", kind)
	}
	return text
}

func TestExampleOfThePageIsTheVector(t *testing.T) {
	var got []byte
	for line := range strings.Lines(block(t, "hex")) {
		digits, _, _ := strings.Cut(line, "   ")
		p, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(digits), " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, p...)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "vectors", "004-as-stored-here.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%x\nwant\n%x", got, want)
	}
	var b Batch
	if err := b.Decode(want); err != nil {
		t.Fatal(err)
	}
	if got, want := block(t, "json"), string(AppendJSON(nil, b.At(0), sampleMeta)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFlagsOfThePageAreTheCode(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "format", "record.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| (\\d+) \\| (\\d+) \\| `(\\w+)` \\|").FindAllStringSubmatch(string(page), -1)
	if len(rows) != len(flagNames) {
		t.Fatalf("%d flags on the page, %d in the code", len(rows), len(flagNames))
	}
	for i, row := range rows {
		bit, _ := strconv.Atoi(row[1])
		value, _ := strconv.Atoi(row[2])
		if bit != i || value != 1<<i || FlagNamed(row[3]) != 1<<i {
			t.Errorf("row %q", row[0])
		}
	}
}
