package config

import (
	"strings"
	"testing"
)

// TestSchemaProblemsAreWhereTheyBelong: a config that does not fit its module's
// schema is reported at the line and key that are wrong.
func TestSchemaProblemsAreWhereTheyBelong(t *testing.T) {
	schema, err := ParseSchema([]byte(`{"type": "object", "additionalProperties": false, "required": ["limit"],
		"properties": {"limit": {"type": "integer", "minimum": 1}, "mode": {"enum": ["keep", "drop"]}, "names": {"type": "array", "items": {"type": "string"}},
		"when": {"anyOf": [{"type": "string"}, {"type": "object"}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	f := func(src string, want ...string) {
		t.Helper()
		root, ps := Parse("c.yaml", []byte(src))
		if len(ps) > 0 {
			t.Fatal(ps)
		}
		m := root
		if root.Key("m") != nil {
			m = root.Key("m")
		}
		m.At(&ps).Key("config").CheckSchema(schema, m.Key("config") != nil)
		ps.sort()
		var got []string
		for _, p := range ps {
			got = append(got, p.String())
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", src, g, w)
		}
	}
	f("config: {limit: 3, mode: drop, names: [a, b], when: x}")
	f("m: {a: 1}", "c.yaml:1:4: m.config: lacks limit, which the module requires")
	f("config: {}", "c.yaml:1:9: config: lacks limit, which the module requires")
	f("config:\n  limit: many\n  mod: x\n  names: [a, 7]",
		"c.yaml:2:10: config.limit: is a text; write a whole number",
		"c.yaml:3:3: config.mod: is no key that the module knows; did you mean mode?",
		"c.yaml:4:14: config.names[1]: is a number; write a text")
	f("config: {limit: 0, mode: kep, when: 7}",
		"c.yaml:1:17: config.limit: does not fit the module: minimum: got 0, want 1",
		`c.yaml:1:26: config.mode: "kep" is none of the words for it; write keep or drop`,
		"c.yaml:1:37: config.when: has none of the forms that the module knows")
}

// TestNearestKeyOfTheSchema: what is misspelt is told what it was meant to be, however deep.
func TestNearestKeyOfTheSchema(t *testing.T) {
	schema, err := ParseSchema([]byte(`{"type": "object", "allOf": [{"properties": {"a/b": {"$ref": "#/$defs/part"}, "n": {}}, "additionalProperties": false}],
		"$defs": {"part": {"properties": {"kinds": {"items": {"pattern": "^[a-z]+\\.\\d$"}}}, "additionalProperties": false}}}`))
	if err != nil {
		t.Fatal(err)
	}
	f := func(src, want string) {
		t.Helper()
		root, ps := Parse("c.yaml", []byte(src))
		root.At(&ps).CheckSchema(schema, true)
		if len(ps) != 1 || ps[0].Text != want {
			t.Errorf("%s: got %v, want %q", src, ps, want)
		}
	}
	f("a/b: {kind: [x.1]}", "is no key that the module knows; did you mean kinds?")
	f("a/b: {colour: [x.1]}", "is no key that the module knows")
	f("a-b: {}", "is no key that the module knows; did you mean a/b?")
	f(`a/b: {kinds: ['x\y']}`, `"x\\y" does not match ^[a-z]+\.\d$`)
}

// TestSchemaThatIsWrong: what a module brings is not trusted to be a schema, and
// cannot make the agent fetch anything.
func TestSchemaThatIsWrong(t *testing.T) {
	f := func(src, want string) {
		t.Helper()
		_, err := ParseSchema([]byte(src))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", src, err, want)
		}
	}
	f(`{`, "unexpected EOF")
	f(`{"type": "whole"}`, "/type")
	f(`{"$ref": "file:///etc/passwd"}`, "outside of itself")
	f(`{"$ref": "https://example.org/schema"}`, "outside of itself")
}

func BenchmarkParseSchema(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseSchema([]byte(`{"type": "object", "additionalProperties": false, "properties": {"limit": {"type": "integer"}}}`)); err != nil {
			b.Fatal(err)
		}
	}
}
