package wasm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// FuzzManifest gives the reader of manifests any text: what it takes it takes
// again, and a module that carries it is refused or not, and nothing else.
func FuzzManifest(f *testing.F) {
	f.Add(`{"name":"throttle","version":"1.2","abi":1,"needs":["state"],"config":{"type":"object"}}`)
	f.Add(`{"name":"x","abi":1,"needs":["network"]}`)
	f.Add(`{"name":"x","abi":1,"config":{"$ref":"file:///etc/passwd"}}`)
	f.Add("[]")
	code := assembly{}.bytes()
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ReadManifest(withManifest(code, text))
		if err != nil || m == nil {
			return
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("%q is taken", text)
		}
		once, err := m.Append(code)
		if err != nil {
			return // longer when it is written again
		}
		if again, err := ReadManifest(once); err != nil || again.Name != m.Name || !reflect.DeepEqual(again.Needs, m.Needs) {
			t.Errorf("%q: %+v came back as %+v, %v", text, m, again, err)
		}
	})
}

// FuzzTable gives the reader of tables any file: each row it keeps is JSON.
func FuzzTable(f *testing.F) {
	f.Add("a,b\n1,2\n3,4\n", "")
	f.Add("\ufeffa,b\r\n1,\"x\ny\"\r\n", "b")
	f.Add(`[{"a": "x", "n": [1, 2]}, {"a": 7}]`, "a")
	f.Add(`{"k": {"a": 1}, "": {}}`, "")
	f.Add("a,a\n1\n", "a")
	file := filepath.Join(f.TempDir(), "table")
	f.Fuzz(func(t *testing.T, text, key string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := LoadTable(file, key)
		if err != nil {
			return
		}
		for name := range table.index {
			row, ok := table.row([]byte(name))
			var object map[string]any
			if !ok || json.Unmarshal(row, &object) != nil {
				t.Errorf("%q: row %q is %q", text, name, row)
			}
		}
	})
}

// FuzzRestore gives the state of a module any change: it refuses it, or keeps
// it and gives it back.
func FuzzRestore(f *testing.F) {
	f.Add("skey", []byte("value"))
	f.Add("", []byte{})
	f.Add("h\x01k\x00\x00\x00\x00\x00\x00\x00\x09", []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		s := NewState()
		err := s.Restore(key, value)
		if audit(t, s); err != nil {
			if dump(s) != "" {
				t.Errorf("%q: refused, and kept as %q", key, dump(s))
			}
			return
		}
		once := dump(s)
		if err := s.Restore(key, value); err != nil || dump(s) != once {
			t.Errorf("%q: taken once as %q, then as %q, %v", key, once, dump(s), err)
		}
	})
}
