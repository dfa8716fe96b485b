package record

import (
	"strings"
	"testing"
)

func TestNextJSONTakesOneValue(t *testing.T) {
	f := func(p, value, rest string) {
		t.Helper()
		v, r, err := NextJSON([]byte(p))
		if err != nil || string(v) != value || string(r) != rest {
			t.Errorf("NextJSON(%q): got %q, %q, %v, want %q, %q", p, v, r, err, value, rest)
		}
	}
	f(`{"a":1} {"b":2}`, `{"a":1}`, ` {"b":2}`)
	f("\n\t[1,[2]],3", `[1,[2]]`, `,3`)
	f(`"a\"b"x`, `"a\"b"`, `x`)
	f(`true`, `true`, ``)
	f(" \r\n", "", "")
	f("", "", "")
	f("\"\xff\"", "\"\xff\"", "")
	f(strings.Repeat("[", 64)+strings.Repeat("]", 64), strings.Repeat("[", 64)+strings.Repeat("]", 64), "")
}

func TestNextJSONRefusesWhatIsNone(t *testing.T) {
	for _, p := range []string{"{", `{"a"}`, "nul", "\x00", `"a`, "}", strings.Repeat("[", 65) + strings.Repeat("]", 65)} {
		if v, rest, err := NextJSON([]byte(p)); err == nil {
			t.Errorf("NextJSON(%q): got %q, %q, want an error", p, v, rest)
		}
	}
}

func TestAppendUnquoted(t *testing.T) {
	if got := string(AppendUnquoted(nil, []byte(`"a\n\u00e9\ud83d\ude00\\"`))); got != "a\né😀\\" {
		t.Errorf("got %q", got)
	}
}
