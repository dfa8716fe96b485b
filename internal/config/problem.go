package config

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// Problem is one thing wrong with a config file.
type Problem struct {
	File      string
	Line, Col int    // 1-based; 0 where the file as a whole is meant
	Width     int    // columns to underline; 0 to the end of the line
	Path      string // key path
	Text      string // what is wrong; what to write

	doc *document // the source, for the excerpt; nil if there is none
}

// String is the problem on one line, without the excerpt.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Col)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems are all of them, in file order. A nil or empty Problems is no error;
// return it as one through Err.
type Problems []Problem

// Err returns ps in file order as an error, or nil if there are none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	ps.sort()
	return ps
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.File != b.File {
			return 0
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
}

// Error returns every problem with its excerpt, without colour.
func (ps Problems) Error() string {
	var b strings.Builder
	ps.Write(&b, false)
	return strings.TrimSuffix(b.String(), "\n")
}

// maxShown is how many problems Write prints; a file with more has one cause.
const maxShown = 100

// Write prints the problems in file order, each with the line it is in and a caret under it.
func (ps Problems) Write(w io.Writer, colour bool) {
	ps.sort()
	bold, red, off := "", "", ""
	if colour {
		bold, red, off = "\x1b[1m", "\x1b[31m", "\x1b[0m"
	}
	for i, p := range ps {
		if i == maxShown {
			fmt.Fprintf(w, "and %d more\n", len(ps)-i)
			return
		}
		head, text, _ := strings.Cut(p.String(), ": ")
		fmt.Fprintf(w, "%s%s:%s %s\n", bold, printable(head), off, printable(text))
		if line, caret, ok := p.excerpt(); ok {
			fmt.Fprintf(w, "%5d | %s\n%5s | %s%s%s\n", p.Line, line, "", red, caret, off)
		}
	}
}

// At is where Options.Check reports problems: a node and the list they go to.
type At struct {
	node     *Node
	path     string // of the key asked for, also where it is absent
	problems *Problems
}

// At returns where to report problems of n.
func (n *Node) At(ps *Problems) *At { return &At{n, n.Path, ps} }

// Node returns the node that problems are reported at.
func (a *At) Node() *Node { return a.node }

// Path returns the key path that problems are reported under.
func (a *At) Path() string { return a.path }

// Root returns the whole file.
func (a *At) Root() *Node { return a.node.doc.root }

// To returns the same place with another list to report to.
func (a *At) To(ps *Problems) *At { return &At{a.node, a.path, ps} }

// KeyAt returns where to report problems of a key itself, rather than of its value.
func (n *Node) KeyAt(ps *Problems, name string) *At {
	for i := range n.entries {
		if e := &n.entries[i]; n.kind == Map && e.key == name {
			key := &Node{File: n.File, Path: joinPath(n.Path, name), doc: n.doc, place: e.place, kind: Text, raw: name, text: name}
			return key.At(ps)
		}
	}
	return n.At(ps).Key(name)
}

// MissingFile is Problemf of a file that is not there, whose name the error has. The value of
// an environment variable in that name is shown, since the mistake is likely there:
// where the name is absolute, and so no secret that stands there by mistake.
func (a *At) MissingFile(err error) {
	text, _ := a.node.Text()
	if !strings.HasPrefix(text, "/") || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		a.Problemf("%v", err)
		return
	}
	if !a.node.doc.alreadyReported(a.path) {
		at := a.node.where()
		*a.problems = append(*a.problems, Problem{File: a.node.doc.name, Line: at.line, Col: at.col, Width: at.width, Path: a.path, Text: err.Error(), doc: a.node.doc})
	}
}

// Key returns the value under key, or the node itself where the key is absent.
func (a *At) Key(name string) *At {
	if n := a.node.Key(name); n != nil && a.path == a.node.Path {
		return &At{n, n.Path, a.problems}
	}
	return &At{a.node, joinPath(a.path, name), a.problems}
}

// Index returns the ith item of a list, or the node itself where there is none
// (a single value written instead of a list, for one).
func (a *At) Index(i int) *At {
	if a.node.kind == List && a.path == a.node.Path && i >= 0 && i < len(a.node.entries) {
		n := a.node.entries[i].value
		return &At{n, n.Path, a.problems}
	}
	return a
}

// Problemf reports a problem here: what is wrong; what to write. Nothing is
// added where decoding has already reported this value, or one that holds it.
func (a *At) Problemf(format string, args ...any) {
	if a.node.doc.alreadyReported(a.path) {
		return
	}
	a.problems.add(a.node.doc, a.node.where(), a.path, fmt.Sprintf(format, args...))
}

// ProblemAt reports a problem at the ith byte of a text, width bytes long; the
// text of an expression, for one.
func (a *At) ProblemAt(i, width int, format string, args ...any) {
	if a.node.doc.alreadyReported(a.path) {
		return
	}
	line, col := a.node.Offset(i)
	p := place{line, col, max(width, 1)}
	if col == a.node.place.col && line == a.node.place.line && i > 0 {
		p.width = a.node.place.width
	}
	a.problems.add(a.node.doc, p, a.path, fmt.Sprintf(format, args...))
}

// File resolves a path relative to the config file's folder.
func (a *At) File(rel string) string {
	if rel == "" || filepath.IsAbs(rel) {
		return rel
	}
	return filepath.Join(a.node.doc.dir, rel)
}

// add appends one problem, with the values of environment variables put back to their names.
func (ps *Problems) add(d *document, at place, path, text string) {
	*ps = append(*ps, Problem{File: d.name, Line: at.line, Col: at.col, Width: at.width,
		Path: path, Text: d.unexpand(text), doc: d})
}

// joinPath appends a key to a key path.
func joinPath(path, key string) string {
	if key == "" || strings.ContainsAny(key, ".[]: ") || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' }) {
		key = fmt.Sprintf("%q", key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
