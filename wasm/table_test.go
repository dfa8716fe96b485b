package wasm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "table")
	read := func(text, key string) (*Table, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadTable(file, key)
	}
	f := func(text, key, row, want string) {
		t.Helper()
		table, err := read(text, key)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			return
		}
		got, ok := table.row([]byte(row))
		if string(got) != want || ok != (want != "") {
			t.Errorf("%q: row %q is %s, want %s", text, row, got, want)
		}
	}
	f("a,b\n1,2\n3,4\n", "", "3", `{"a":"3","b":"4"}`)
	f("a,b\r\n1,2\r\n", "b", "2", `{"a":"1","b":"2"}`)
	f("\ufeffa,b\n1,\"x\ny\"\n", "a", "1", `{"a":"1","b":"x\ny"}`)
	f("a\n", "", "1", "")
	f(`[{"a": "x", "n": [1, 2]}, {"a": 7}]`, "a", "x", `{"a":"x","n":[1,2]}`)
	f(`[{"a": "x"}, {"a": 7}]`, "a", "7", `{"a":7}`)
	f(`{"k": {"a": 1}, "": {}}`, "", "k", `{"a":1}`)
	f(`{"k": {"a": "z"}}`, "a", "z", `{"a":"z"}`)
	f("{}", "", "k", "")

	bad := func(text, key, want string) {
		t.Helper()
		if _, err := read(text, key); err == nil || err.Error() != file+":"+want {
			t.Errorf("%q:\ngot  %v\nwant %s:%s", text, err, file, want)
		}
	}
	bad("", "", "1: is empty; write a header line, or a JSON array of objects")
	bad("a,b\n1,2\n3\n", "", "3: the line has more or fewer values than the header")
	bad("a,b\n1,\"2\n", "", `2: column 6: extraneous or missing " in quoted-field`)
	bad("a,b\n1,2\n1,3\n", "", `3: key "1" is in line 2 already; a key has one row`)
	bad("a,b\n1,2\n", "c", `1: there is no column "c"; there are "a", "b"`)
	bad("a,a\n", "", `1: column "a" is there twice`)
	bad("[\n{\"a\":1},\n{\"b\":1}]", "a", `3: a row has no member "a"`)
	bad("[\n{\"a\":1},\n{\"a\":1}]", "a", `3: key "1" is in line 2 already; a key has one row`)
	bad("[{\"a\":1}]", "", "1: an array's rows have no keys of their own; write key: NAME, the member that rows are found by")
	bad("[\n\n5]", "a", "3: a row is 5, not an object")
	bad("[{\"a\":[1]}]", "a", `1: a row's "a" is [1], which cannot be a key; a string, number or boolean can`)
	bad("{\"k\":\n{\"a\":1}", "", "2: the table is cut off")
	bad("{\"k\":\n{\"a\":1,}}", "", "2: invalid character '}' looking for beginning of object key string")
	bad("{\"k\":{}}\n{}", "", "2: there is something behind the end of the table")
	if _, err := LoadTable(file+"none", ""); err == nil || !strings.HasPrefix(err.Error(), "read table: open ") {
		t.Errorf("got %v", err)
	}
	if err := os.Truncate(file, maxTableBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadTable(file, ""); err == nil || !strings.Contains(err.Error(), "more than the limit of 64 MiB") {
		t.Errorf("got %v", err)
	}
}
