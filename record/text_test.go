package record

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
)

func TestTextIsOneLineForPeople(t *testing.T) {
	r := sample()
	r.Message = []byte("started")
	r.Attrs.SetString("path", "/a b")
	r.Attrs.SetString("empty", "")
	r.Attrs.SetFloat("took", 1.5)
	r.Attrs.SetBool("ok", true)
	r.Attrs.Set("list", JSON, []byte("[1]"))
	want := `2026-11-22T10:07:05.143Z vm nginx[2833] info: started  status=200 path="/a b" empty="" took=1.5 ok=true list=[1]`
	if got := string(AppendText(nil, encode(t, r), Meta{}, TextOptions{Terminal: true})); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var bare Record
	bare.Reset()
	if got, want := string(AppendText(nil, encode(t, &bare), Meta{}, TextOptions{})), "1970-01-01T00:00:00.000Z - -: "; got != want {
		t.Errorf("got %q want %q", got, want)
	}
}

// hostileTexts are what a log line may hold to do something to a terminal or to
// its reader.
func hostileTexts() []string {
	var out []string
	for c := range 0x20 {
		out = append(out, string(rune(c)))
	}
	for c := rune(0x7f); c <= 0xa0; c++ {
		out = append(out, string(c))
	}
	for _, r := range []rune{0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069, 0xfff9, 0xfffa, 0xfffb} {
		out = append(out, "a"+string(r)+"b")
	}
	for c := 0x80; c <= 0xff; c += 3 { // a byte that begins or continues nothing
		out = append(out, string([]byte{'a', byte(c), 'b'}))
	}
	for _, introducer := range []string{"\x1b", "\u009b", "\x9b"} {
		for _, rest := range []string{"[31m", "[2J", "[H", "[1;1H", "[?1049h", "[?25l", "[6n", "[c", "[>c", "[5i", "[4i", "[8;1;1t", "[21t", "[s", "[u", "[1000A", "[K", "[0;5;8m"} {
			out = append(out, introducer+rest)
		}
	}
	for _, end := range []string{"\x07", "\x1b\\", "\u009c"} {
		for _, osc := range []string{"]0;title", "]2;title", "]8;;http://example.org", "]52;c;cm0gLXJmIC8=", "]4;1;rgb:ff/00/00", "]10;?", "]1337;File=name=eA==:eA==", "]777;notify;a;b", "P1$r0m", "P+q544e", "_Gf=100;AAAA", "^private", "Xstring"} {
			out = append(out, "\x1b"+osc+end)
		}
	}
	for _, short := range []string{"c", "7", "8", "D", "E", "M", "Z", "=", ">", "(0", ")B", "#8", "%G", " F", "N", "O", "|"} {
		out = append(out, "\x1b"+short)
	}
	return append(out, "50%\r100%", "a\b\b\bb", "one\ntwo", "col\tcol", "bell\a", "\x0e\x0f", "nul\x00nul", "\xc0\x9b31m", "\xe0\x82\x9b31m", "\xed\xa0\x80", "\xf4\x90\x80\x80",
		"\xc2", "\xe2\x80", "\xf0\x9f\x98", "access \u202elevel\u2066 // check\u2069 \u2066", "Grüße 日本 😀 👩‍👩‍👧", `back\slash "quotes"`, "\ufffd", "\ufeffbom", "e\u0301")
}

// TestTerminalEscapes compares with a file in which a reviewer sees each text and
// what becomes of it; checkShown then judges by Unicode's tables instead of ours.
func TestTerminalEscapes(t *testing.T) {
	texts := hostileTexts()
	if len(texts) < 200 {
		t.Fatalf("%d texts", len(texts))
	}
	var got []byte
	for _, text := range texts {
		shown := appendTerminal(nil, []byte(text))
		checkShown(t, shown)
		got = fmt.Appendf(got, "%-40s %s\n", strconv.QuoteToASCII(text), shown)
	}
	golden(t, filepath.Join("testdata", "terminal.txt"), got)
}

func TestWithoutATerminalTheTextIsAsItCame(t *testing.T) {
	for _, text := range hostileTexts() {
		v := encode(t, message(text, func(*Record) {}))
		if got, want := string(AppendText(nil, v, Meta{}, TextOptions{})), "1970-01-01T00:00:00.000Z - -: "+text; got != want {
			t.Errorf("got %q want %q", got, want)
		}
	}
}

func TestColourFollowsSeverityAndEscapes(t *testing.T) {
	for s := range Severity(8) {
		v := encode(t, message("\x1b[31mred", func(r *Record) { r.Severity = s }))
		got := string(AppendText(nil, v, Meta{}, TextOptions{Colour: true}))
		want := colourDim + "1970-01-01T00:00:00.000Z" + colourReset + " - " + severityColours[s] + SeverityName(s) + colourReset + `: \x1b[31mred`
		if got != want {
			t.Errorf("got %q want %q", got, want)
		}
	}
}
