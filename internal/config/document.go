package config

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// document is one config file while it is being read.
type document struct {
	name, dir string
	lines     []string
	root      *Node
	reported  map[string]bool // key paths that decoding has reported
	hidden    []place         // secrets written out, kept out of excerpts
	expanded  []expansion     // what came from the environment
	secrets   []found         // what was read while decoding
	nodes     int             // built so far, aliases counted each time
}

// found is a secret that was read, so that Digest sees when it changes.
type found struct {
	path string
	hash [32]byte
}

// expansion is one ${NAME} and what it stood for.
type expansion struct{ reference, value string }

func newDocument(name, dir string, src []byte) *document {
	text := strings.ReplaceAll(string(src), "\r\n", "\n")
	return &document{name: name, dir: dir, lines: strings.Split(text, "\n"), reported: map[string]bool{}}
}

// alreadyReported reports whether path or a value that holds it was reported.
func (d *document) alreadyReported(path string) bool {
	for path != "" {
		if d.reported[path] {
			return true
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return false
}

// unexpand puts ${NAME} back where a text shows what the environment held.
func (d *document) unexpand(text string) string {
	for _, e := range d.expanded {
		// Shorter values are ports and the like; replacing them would garble the text.
		if len(e.value) >= 4 {
			text = strings.ReplaceAll(text, e.value, e.reference)
		}
	}
	return text
}

// hide keeps every scalar of a subtree out of excerpts.
func (d *document) hide(n *Node) {
	if n.kind == Map || n.kind == List {
		for i := range n.entries {
			d.hide(n.entries[i].value)
		}
		return
	}
	p := n.place
	d.hidden = append(d.hidden, p)
	if n.style != '|' && n.style != '>' && p.width > 0 {
		return
	}
	// The text goes on for as long as lines are blank, or indented further than its key's.
	for line := p.line + 1; line <= len(d.lines); line++ {
		if s, _ := d.line(line); strings.TrimSpace(s) != "" && d.indentOf(line) <= d.indentOf(p.line) {
			return
		}
		d.hidden = append(d.hidden, place{line, 1, 0})
	}
}

func (d *document) line(n int) (string, bool) {
	if n < 1 || n > len(d.lines) {
		return "", false
	}
	return d.lines[n-1], true
}

func (d *document) indentOf(n int) int {
	s, _ := d.line(n)
	return len(s) - len(strings.TrimLeft(s, " "))
}

// quotedColumns returns how many columns into its quotes the ith byte of a
// quoted scalar's text stands; 0 if the scalar is not written on one line.
func (d *document) quotedColumns(p place, text string, i int) int {
	s, _ := d.line(p.line)
	runes := []rune(s)
	if p.col > len(runes) {
		return 0
	}
	quote, at, col := string(runes[p.col-1]), 0, 0
	for rest := string(runes[p.col:]); at < i; {
		step, size := rest, 1
		switch {
		case quote == "'" && strings.HasPrefix(rest, "''"), quote == `"` && (strings.HasPrefix(rest, `\"`) || strings.HasPrefix(rest, `\\`)):
			step = rest[1:]
			col++
		case rest == "" || strings.HasPrefix(rest, quote) || strings.HasPrefix(rest, `\`) && quote == `"`:
			return 0
		}
		_, size = utf8.DecodeRuneInString(step)
		if at+size > len(text) || text[at:at+size] != step[:size] {
			return 0
		}
		rest, at, col = step[size:], at+size, col+1
	}
	return col
}

// secretKeys finds what is probably a secret written out, on a line that did not even parse.
var secretKeys = regexp.MustCompile(`(?i)(?:token|passw(?:or)?d|passphrase|secret|api_?key|authorization|bearer)["']?\s*:\s*["']?([^\s"',{}\[\]#][^"',{}#]*)`)

// userinfo finds the password in a URL.
var userinfo = regexp.MustCompile(`://[^\s/@:]*:([^\s@/]+)@`)

// queries finds the query of a URL, where receivers want their tokens, and modes
// the one that a socket's file has, which everybody may see.
var (
	queries = regexp.MustCompile(`://[^\s"'?]*\?([^\s"']+)`)
	modes   = regexp.MustCompile(`^mode=[0-7]+[\]},;)]*$`)
)

// hiddenIn returns the columns of line n that must not be shown, as pairs from
// and to (exclusive) from 0, in order.
func (d *document) hiddenIn(n int, line string) [][2]int {
	var spans [][2]int
	count := utf8.RuneCountInString(line)
	for _, p := range d.hidden {
		if p.line != n || p.col > count {
			continue
		}
		to := p.col - 1 + p.width
		if p.width == 0 || to > count {
			to = count
		}
		spans = append(spans, [2]int{p.col - 1, to})
	}
	for _, re := range []*regexp.Regexp{secretKeys, userinfo, queries} {
		for _, m := range re.FindAllStringSubmatchIndex(line, -1) {
			if re == queries && modes.MatchString(line[m[2]:m[3]]) {
				continue
			}
			from := utf8.RuneCountInString(line[:m[2]])
			spans = append(spans, [2]int{from, from + utf8.RuneCountInString(line[m[2]:m[3]])})
		}
	}
	slices.SortFunc(spans, func(a, b [2]int) int { return a[0] - b[0] })
	return spans
}

// excerptColumns is how much of a long line an excerpt shows.
const excerptColumns = 160

// excerpt returns the line of a problem and the carets under it.
func (p Problem) excerpt() (line, caret string, ok bool) {
	if p.doc == nil || p.Line == 0 {
		return "", "", false
	}
	source, ok := p.doc.line(p.Line)
	if !ok {
		return "", "", false
	}
	runes := []rune(source)
	from, to := min(max(p.Col-1, 0), len(runes)), p.Col-1+p.Width
	if p.Width == 0 || to > len(runes) {
		to = len(runes)
	}
	shown, under := make([]rune, 0, len(runes)), make([]rune, 0, len(runes))
	put := func(r rune, at int) {
		shown = append(shown, printableRune(r))
		switch {
		case at >= from && at < to:
			under = append(under, '^')
		case r == '\t':
			under = append(under, '\t')
		default:
			under = append(under, ' ')
		}
	}
	spans := p.doc.hiddenIn(p.Line, source)
	for i := 0; i < len(runes); {
		for len(spans) > 0 && spans[0][1] <= i {
			spans = spans[1:]
		}
		if len(spans) > 0 && i >= spans[0][0] {
			for range 3 {
				put('*', i)
			}
			i = spans[0][1]
			continue
		}
		put(runes[i], i)
		i++
	}
	if from >= len(runes) {
		under = append(under, '^')
	}
	return cutExcerpt(shown, under)
}

// cutExcerpt keeps the part of a long line that has the carets.
func cutExcerpt(shown, under []rune) (line, caret string, ok bool) {
	first := slices.Index(under, '^')
	if start := first - excerptColumns/2; start > 0 && len(shown) > excerptColumns {
		start = min(start, len(shown))
		shown = append([]rune{'…'}, shown[start:]...)
		under = append([]rune{' '}, under[start:]...)
	}
	if len(shown) > excerptColumns {
		shown = append(shown[:excerptColumns:excerptColumns], '…')
	}
	if len(under) > excerptColumns {
		under = under[:excerptColumns]
	}
	return string(shown), strings.TrimRight(string(under), " \t"), true
}

// printable replaces what could drive a terminal.
func printable(s string) string { return strings.Map(printableRune, s) }

func printableRune(r rune) rune {
	if r != '\t' && !unicode.IsPrint(r) {
		return '\uFFFD'
	}
	return r
}
