package workbench

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzCases: no file of cases can end the process, and what was read is written
// by --update so that it reads as the same.
func FuzzCases(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d seeds, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("cases:\n- records:\n  - {message: '${x}', sd: {a@1: {b: c}}, attrs: {a: [1, {b: ~}]}}\n  want: {records: same}\n")
	f.Fuzz(func(t *testing.T, text string) {
		cases, err := ParseCases("x.yaml", []byte(text))
		if err != nil {
			return
		}
		for _, c := range cases {
			for _, s := range c.Steps {
				for _, fields := range fieldsOfBatch(s.Records) {
					again, err := ParseCases("y.yaml", []byte("records:\n  - "+fields.yaml()+"\nwant: {records: same}\n"))
					if err != nil {
						t.Fatalf("%s: %v", fields.yaml(), err)
					}
					got := fieldsOf(again[0].Steps[0].Records.At(0))
					if d := fields.differences(got); len(d) > 0 {
						t.Fatalf("%s: read back with other %v: %s", fields.yaml(), d, got.yaml())
					}
				}
			}
		}
	})
}
