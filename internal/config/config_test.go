package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// options has a field of every type that Decode knows.
type options struct {
	Text     string              `yaml:"text"`
	Word     string              `yaml:"word" oneof:"one two three"`
	Bool     bool                `yaml:"bool"`
	Small    int8                `yaml:"small"`
	Unsigned uint64              `yaml:"unsigned"`
	Float    float64             `yaml:"float"`
	Size     Bytes               `yaml:"size"`
	Wait     Duration            `yaml:"wait"`
	Secret   Secret              `yaml:"secret"`
	Headers  map[string]Secret   `yaml:"headers" literal:"true"`
	Words    []string            `yaml:"words"`
	Nets     []netip.Prefix      `yaml:"nets"`
	Map      map[string]int      `yaml:"map"`
	Lists    map[string][]string `yaml:"lists"`
	Later    *Node               `yaml:"later"`
	Nested   *nested             `yaml:"nested"`
	Several  []nested            `yaml:"several"`
	inlined  `yaml:",inline"`
	Untagged string
}

type nested struct {
	Needed string `yaml:"needed" required:"true"`
	Other  int    `yaml:"other"`
}

type inlined struct {
	Inside string `yaml:"inside"`
}

func (o *options) Check(at *At) {
	if o.Text == "bad" {
		at.Key("text").Problemf("%q is bad; write good", o.Text)
	}
	if o.Small == 0 {
		at.Key("small").Problemf("is zero; write 1")
	}
}

func decode(src string) (*options, Problems) {
	o := &options{Text: "default", Words: []string{"default"}, Small: 1}
	n, ps := Parse("f.yaml", []byte(src))
	if n != nil {
		Decode(n, o, &ps)
	}
	return o, ps
}

func TestDecodeFillsEveryType(t *testing.T) {
	t.Setenv("CONFIG_TEST", "from env")
	t.Setenv("CONFIG_TEST_N", "7")
	o, ps := decode(`
text: 'it''s'
word: two
bool: true
small: ${CONFIG_TEST_N}
unsigned: 18446744073709551615
float: 1e3
size: 512KiB
wait: 1d12h
secret: {env: CONFIG_TEST}
headers: {A: plain, B: {env: CONFIG_TEST}}
words: single
nets: [10.0.0.0/8, "::1/128"]
map: {a: 1, b: 0x10}
lists: {x: [p, q], y: r}
later: {deep: [1, 2]}
nested: {needed: "${CONFIG_TEST} and ${CONFIG_NOPE:-default} and $${THIS}"}
several:
  - needed: a
    other: 1
  - {needed: b}
inside: in
`)
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	f := func(got, want any) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	f(o.Text, "it's")
	f(o.Word, "two")
	f(o.Bool, true)
	f(o.Small, 7)
	f(o.Unsigned, uint64(18446744073709551615))
	f(o.Float, 1000.0)
	f(int64(o.Size), 512<<10)
	f(o.Wait, 36*time.Hour)
	secret, err := o.Secret.Read()
	f([]any{secret, err}, []any{"from env", nil})
	plain, err := o.Headers["A"].Read()
	f([]any{plain, err}, []any{"plain", nil})
	f(o.Words, []string{"single"})
	f(o.Nets, "[10.0.0.0/8 ::1/128]")
	f(o.Map, map[string]int{"a": 1, "b": 16})
	f(o.Lists, map[string][]string{"x": {"p", "q"}, "y": {"r"}})
	b, err := o.Later.JSON()
	f([]any{string(b), err}, []any{`{"deep":[1,2]}`, nil})
	f(o.Nested.Needed, "from env and default and ${THIS}")
	f(o.Several, []nested{{"a", 1}, {"b", 0}})
	f(o.Inside, "in")
}

func TestDefaultsStayWhereNothingIsWritten(t *testing.T) {
	for _, src := range []string{"", "# nothing\n", "{}", "words:\nnested:\n", "---\n", "word: one\n...\n"} {
		o, ps := decode(src)
		if len(ps) > 0 || o.Text != "default" || len(o.Words) != 1 || o.Nested != nil {
			t.Errorf("%q: got %+v, %v; want the defaults", src, o, ps)
		}
	}
}

func TestAliasesAndMergeKeys(t *testing.T) {
	o, ps := decode(`
nested: &base {needed: a, other: 3}
several:
  - *base
  - {<<: *base, needed: b}
`)
	if len(ps) > 0 || len(o.Several) != 2 || o.Several[0] != (nested{"a", 3}) || o.Several[1] != (nested{"b", 3}) {
		t.Errorf("got %+v, %v", o.Several, ps)
	}
}

func TestCheckSaysNothingTwice(t *testing.T) {
	f := func(src string, want ...string) {
		t.Helper()
		_, ps := decode(src)
		ps.sort()
		var got []string
		for _, p := range ps {
			got = append(got, p.String())
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s\ngot:\n%s\nwant:\n%s", src, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	f("small: 0", "f.yaml:1:8: small: is zero; write 1")
	f("small: 1000\ntext: bad", "f.yaml:1:8: small: 1000 is out of range; write a number from -128 to 127",
		`f.yaml:2:7: text: "bad" is bad; write good`)
	f("text: [bad]", "f.yaml:1:7: text: is a list; write a text")
	f("nested: {other: x}", "f.yaml:1:9: nested.needed: is missing; write needed: TEXT",
		"f.yaml:1:17: nested.other: is a text; write a number")
}

func TestNumbersAreTextsDigitForDigit(t *testing.T) {
	o, ps := decode("text: 1.20\nnested: {needed: 0640}")
	if len(ps) > 0 || o.Text != "1.20" || o.Nested.Needed != "0640" {
		t.Errorf("got %q and %q, %v", o.Text, o.Nested.Needed, ps)
	}
}

func TestAddressesInFlowStyle(t *testing.T) {
	const src = `a: {listen: [udp://127.0.0.1:5514, "tcp://[::1]:5514", unix:///run/x.sock, localhost:80], url: https://h:1/p, n: {b: 1}}`
	n, ps := Parse("f.yaml", []byte(src))
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	got, err := n.JSON()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"a":{"listen":["udp://127.0.0.1:5514","tcp://[::1]:5514","unix:///run/x.sock","localhost:80"],"n":{"b":1},"url":"https://h:1/p"}}`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The library reads {a:b: 1} as one long key; what it means is never guessed.
func TestKeysWithColons(t *testing.T) {
	f := func(src, want string) {
		t.Helper()
		n, ps := Parse("f.yaml", []byte(src))
		got := ""
		if len(ps) > 0 {
			got = ps[0].String()
		} else if b, err := n.JSON(); err == nil {
			got = string(b)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", src, got, want)
		}
	}
	f("{k:x: 1}", `f.yaml:1:2: a key with a colon in it; put the key in quotes: {"k:x": …}`)
	f("a: {b: 2, k:1: x}", `f.yaml:1:11: a: a key with a colon in it; put the key in quotes: {"k:1": …}`)
	f("a: {b: {k:x : 1}}", `f.yaml:1:9: a.b: a key with a colon in it; put the key in quotes: {"k:x": …}`)
	f(`{"k:x": 1, 'l: m': 2}`, `{"k:x":1,"l: m":2}`)
	f("k:x: 1\nl: {m: n:o, p: q}", `{"k:x":1,"l":{"m":"n:o","p":"q"}}`)
}

func TestSizes(t *testing.T) {
	f := func(s string, want Bytes) {
		t.Helper()
		if got, err := ParseBytes(s); got != want || err != nil {
			t.Errorf("%q: got %d, %v, want %d", s, got, err, want)
		}
	}
	f("0", 0)
	f("100", 100)
	f("512KiB", 512<<10)
	f("1.5MiB", 3<<19)
	f("8 GiB", 8<<30)
	f("10MB", 10_000_000)
	f("7B", 7)
	for _, s := range []string{"", "MiB", "-1", "1e3", "1 XiB", "9999999TiB", "NaN", "0x10", "1.2.3"} {
		if got, err := ParseBytes(s); err == nil {
			t.Errorf("%q: got %d, want an error", s, got)
		}
	}
	for _, b := range []Bytes{0, 1, 1023, 1 << 10, 1 << 20, 3 << 19, 8 << 30, 1 << 40, 10_000_000} {
		if got, err := ParseBytes(b.String()); got != b || err != nil {
			t.Errorf("%d is written %s and read as %d, %v", b, b, got, err)
		}
	}
}

func TestDurations(t *testing.T) {
	f := func(s string, want time.Duration) {
		t.Helper()
		if got, err := ParseDuration(s); got != want || err != nil {
			t.Errorf("%q: got %s, %v, want %s", s, got, err, want)
		}
	}
	f("250ms", 250*time.Millisecond)
	f("0s", 0)
	f("30d", 720*time.Hour)
	f("1d12h30m", 36*time.Hour+30*time.Minute)
	f("1.5d", 36*time.Hour)
	for _, s := range []string{"", "5", "d", "-1s", "-1d", "1d-2h", "1w", "1d2d", "999999999d", "1e3d"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("%q: got %s, want an error", s, got)
		}
	}
	for _, d := range []time.Duration{0, time.Microsecond, 250 * time.Millisecond, 90 * time.Second, 72 * time.Hour, 720 * time.Hour, 36*time.Hour + time.Second} {
		if got, err := ParseDuration(FormatDuration(d)); got != d || err != nil {
			t.Errorf("%s is written %s and read as %s, %v", d, FormatDuration(d), got, err)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"listen", "max_message", "max_connections", "tls", "allow"}
	f := func(word, want string) {
		t.Helper()
		if got, _ := Nearest(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	f("lsiten", "listen")
	f("Listen", "listen")
	f("maxMessage", "max_message")
	f("max-conections", "max_connections")
	f("max", "max_message")
	f("tsl", "tls")
	f("colour", "")
	f(strings.Repeat("x", 100), "")
}

func TestSecretsNeverPrint(t *testing.T) {
	t.Setenv("CONFIG_TEST", "canary")
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []Secret{{Env: "CONFIG_TEST"}, {File: path}, LiteralSecret("canary")} {
		if got, err := s.Read(); got != "canary" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		b, err := s.MarshalText()
		if said := fmt.Sprintf("%v %s %+v %#v %q %x %d", s, s, s, s, s, s, struct{ S Secret }{s}) + s.String() + string(b); err != nil || strings.Contains(said, "canary") || strings.Contains(said, "63616e") {
			t.Errorf("printed: %s", said)
		}
	}
	for _, s := range []Secret{{Env: "CONFIG_NOPE"}, {File: path + ".gone"}} {
		if _, err := s.Read(); err == nil || !strings.Contains(err.Error(), s.File+s.Env) {
			t.Errorf("got %v, want an error that names %s", err, s.File+s.Env)
		}
	}
	if got, err := (Secret{}).Read(); got != "" || err != nil {
		t.Errorf("the zero Secret: got %q, %v", got, err)
	}
}

func TestExcerptsHideSecrets(t *testing.T) {
	t.Setenv("CONFIG_TEST", "canary-env")
	for _, src := range []string{
		"secret: canary",
		"secret: [canary, {a: canary}]",
		"secret: >-\n  canary\n\n  canary\nwrod: one",
		"secret: 'canary\n  canary'\nwrod: one",
		"{secret: canary, wrod: one}",
		"sercet: canary",
		"secret:\n  fiel: canary\n  env: X",
		"word: ${CONFIG_TEST}",
		"text: a\n  password: canary",
		"x: {api_key: canary",
		"Authorization: \"canary canary\"\n - x",
		"wrod: https://me:canary@host/",
		"{headers: {A: canary}, wrod: x}",
		"wrod: https://host/path?token=canary",
		"{wrod: 'http://host?canary', x: y}",
		"{wrod: 'ftp://host/?mode=7&canary', x: y}",
		"headers: {A: {fil: canary}}",
		"headers: {A: ok, B: [canary]}",
	} {
		_, ps := decode(src)
		if said := ps.Error(); len(ps) == 0 || strings.Contains(said, "canary") {
			t.Errorf("%s\nsaid:\n%s", src, said)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	f := func(name, want string) {
		t.Helper()
		n, ps := ParseFile(filepath.Join(dir, name))
		if n != nil || len(ps) != 1 || !strings.Contains(ps.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, ps, want)
		}
	}
	write := func(name string, mode os.FileMode, size int64) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte("a: 1\n"), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		if size > 0 {
			if err := os.Truncate(path, size); err != nil {
				t.Fatal(err)
			}
		}
	}
	f("gone", "cannot be opened: no such file or directory")
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("pipe", "cannot be opened: it is a pipe, not a regular file")
	f(".", "is a folder")
	write("group", 0o620, 0)
	if os.Getegid() == os.Geteuid() { // a group of the user's own
		if n, ps := ParseFile(filepath.Join(dir, "group")); n == nil || len(ps) > 0 {
			t.Errorf("group: got %v", ps)
		}
	} else {
		f("group", "mode 0620 lets others change it; chmod go-w")
	}
	if os.Geteuid() == 0 {
		write("daemon", 0o620, 0)
		if err := os.Chown(filepath.Join(dir, "daemon"), 0, 1); err != nil {
			t.Fatal(err)
		}
		f("daemon", "mode 0620 lets others change it; chmod go-w")
	}
	write("world", 0o602, 0)
	f("world", "mode 0602 lets others change it")
	write("large", 0o600, 2<<20)
	f("large", "is larger than 1048576 bytes")
	write("good", 0o644, 0)
	if n, ps := ParseFile(filepath.Join(dir, "good")); n == nil || len(ps) > 0 {
		t.Errorf("good: got %v", ps)
	}
}

func TestOffsetsPointIntoTexts(t *testing.T) {
	n, ps := Parse("f.yaml", []byte("plain: ab cd\nsingle: 'a''b cd'\ndouble: \"ü\\\"b cd\"\nblock: |\n  ab\n  x cd\nfolded: >\n  ab\n  cd\nescaped: \"\\u00fc cd\"\n"))
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	f := func(key string, line, col int) {
		t.Helper()
		text, _ := n.Key(key).Text()
		if l, c := n.Key(key).Offset(strings.Index(text, "cd")); l != line || c != col {
			t.Errorf("%s: got %d:%d, want %d:%d", key, l, c, line, col)
		}
	}
	f("plain", 1, 11)
	f("single", 2, 15)
	f("double", 3, 15)
	f("block", 6, 5)
	f("folded", 7, 9)    // not exact: the start
	f("escaped", 10, 11) // likewise, one column in
}

func TestWriteShowsTheLine(t *testing.T) {
	long := strings.Repeat("x", 300)
	_, ps := decode("text: ok\nsmall: x\n" + "lists: {" + long + ": [a], y: {}}\nwrod: \x1b[31m")
	if len(ps) != 1 || !strings.Contains(ps.Error(), "holds a control character (0x1b)") || strings.Contains(ps.Error(), "\x1b") {
		t.Errorf("got %q", ps.Error())
	}
	_, ps = decode("small: x\nlists: {" + long + ": [a], y: {}}")
	var b strings.Builder
	ps.Write(&b, true)
	if !strings.Contains(b.String(), "\x1b[1mf.yaml:1:8:\x1b[0m small: is a text") {
		t.Errorf("got %q", b.String())
	}
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(line)); n > 200 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, src := range []string{"text: a\n", "nested: &a {needed: x}\nseveral: [*a]\n", "secret: {file: x}\nheaders: {a: b}\n",
		"words:\n- a\n- 'b''c'\n- \"d\\\"\"\n", "later: |\n  a\n  b\n", "a: ${X:-y}\n", "? a\n: b\n", "%YAML 1.2\n---\na: 1\n...\n",
		"text: >-\n\n  x\n", "{a: [1, {b: c}], d: !!x y}", "\ufeffa: 1", "<<: {a: b}\n", "map: {a: 0x, b: .inf}", "- - - a", "a: b: c", "\tx", "wait: 1d\nsize: 1KiB\n"} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		o, ps := decode(src)
		said := ps.Error()
		n, _ := Parse("f.yaml", []byte(src))
		if n == nil {
			if len(ps) == 0 {
				t.Error("neither a tree nor a problem")
			}
			return
		}
		lines := strings.Count(strings.ReplaceAll(src, "\r\n", "\n"), "\n") + 1
		for _, p := range ps {
			if p.Line < 0 || p.Line > lines+1 || p.Line > 0 && p.Col < 1 {
				t.Errorf("a problem at %d:%d of %d lines: %s", p.Line, p.Col, lines, said)
			}
		}
		n.JSON()   //nolint:errcheck // only that it returns
		n.Digest() // likewise
		if len(ps) == 0 {
			var b strings.Builder
			if err := Format(&b, 0, o); err != nil {
				t.Error(err)
			}
			if _, again := decode(b.String()); len(again) > 0 && !strings.Contains(b.String(), "needed: ''") {
				t.Errorf("what Format wrote cannot be read:\n%s\n%v", b.String(), again)
			}
		}
	})
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a", "true", "1", "a: b", "${X}", "it's", "\"", "\n", "- x", "a #b", "\u2028", "\U0010ffff", "0x1", "1e3", "~", "<<", "a\\b", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(strings.ReplaceAll(s, "\r", ""), "")
		for _, src := range []string{"text: " + Quote(s), "{text: " + Quote(s) + ", word: one}", "words: [" + Quote(s) + "]"} {
			o, ps := decode(src)
			got := o.Text
			if strings.HasPrefix(src, "words") && len(o.Words) > 0 {
				got = o.Words[0]
			}
			if len(ps) > 0 && s == "bad" {
				return
			}
			if len(ps) > 0 || got != s {
				t.Errorf("%q is written %s and read as %q: %v", s, src, got, ps)
			}
		}
	})
}

func TestHostileFilesTakeLittleTime(t *testing.T) {
	for name, src := range map[string]string{
		"keys":     strings.Repeat("a: 1\n", 1<<17),
		"brackets": strings.Repeat("[", 1<<20-10),
		"dashes":   strings.Repeat("- ", 1<<19-10),
		"colons":   strings.Repeat("a: ", 1<<18),
		"quotes":   strings.Repeat("'", 1<<20-10),
		"anchors":  strings.Repeat("&a ", 1<<18),
		"aliases":  "a: [" + strings.Repeat("*a,", 1<<18) + "]",
		"words":    strings.Repeat("x ", 1<<19-10),
		"items":    "a: [" + strings.Repeat("1,", 1<<18) + "]",
		"entries":  strings.Repeat("- x\n", 1<<18-10),
		"marks":    strings.Repeat("? ", 1<<18-10),
	} {
		began := time.Now()
		_, ps := decode(src)
		// It is well below a second; the bound only tells apart what grows by the square.
		if took := time.Since(began); len(ps) == 0 || took > 20*time.Second {
			t.Errorf("%s: %d problems after %s", name, len(ps), took)
		}
	}
}
