package record

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"
)

// corpus calls each with every line of every file of the corpora beside the
// checkout, up to most lines a file.
func corpus(t *testing.T, most int, each func(file string, line []byte)) {
	t.Helper()
	root := filepath.Join("..", "..", "shared", "corpora")
	if _, err := os.Stat(root); err != nil {
		t.Skip("no corpora beside the checkout")
	}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		p, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n := 0
		for line := range bytes.Lines(p) {
			if n++; n > most {
				break
			}
			each(path, bytes.TrimRight(line, "\r\n"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCorporaFlattenAsEncodingJSONReadsThem(t *testing.T) {
	objects, pairs, fields := 0, 0, 0
	corpus(t, 300, func(file string, line []byte) {
		var a Attrs
		ok, n := FlattenJSON(line, &a, FlattenOptions{})
		trimmed := bytes.TrimLeft(line, " \t\r")
		want := json.Valid(line) && len(trimmed) > 0 && trimmed[0] == '{' && nesting(line) <= maxDepth
		if ok != want {
			t.Errorf("%s: got %v want %v for %.200q", file, ok, want, line)
			return
		}
		if !ok {
			if ParseLogfmt(line, &a) {
				pairs++
			}
			return
		}
		objects++
		fields += n
		if n == 256 || !utf8.Valid(line) {
			return
		}
		var slow Attrs
		flattenSlowly(t, line, "", 1, &slow)
		if got, want := show(&a), show(&slow); got != want {
			t.Errorf("%s: %.200s\n got\n%s\nwant\n%s", file, line, got, want)
		}
	})
	t.Logf("%d objects with %d fields, %d lines of logfmt", objects, fields, pairs)
	if objects < 1000 {
		t.Errorf("%d objects", objects)
	}
}

func TestCorporaComeThroughEveryForm(t *testing.T) {
	corpus(t, 100, func(file string, line []byte) {
		r := message(string(line), func(r *Record) {
			r.SD = line
			r.Attrs.SetString("text", string(line))
			FlattenJSON(line, &r.Attrs, FlattenOptions{})
		})
		var b Batch
		if err := b.Append(r); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := new(Batch).Decode(bytes.Clone(b.Bytes())); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		checkLine(t, file, AppendJSON(nil, b.At(0), Meta{}))
		checkShown(t, AppendText(nil, b.At(0), Meta{}, TextOptions{Terminal: true}))
	})
}
