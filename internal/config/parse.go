package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/runnel-log/runnel/internal/plainfile"
)

// What a config file may be at most. They stop a hostile or mistaken file from
// taking the agent's memory; no honest one comes near.
const (
	maxFile  = 1 << 20
	maxDepth = 64
	maxNodes = 20_000 // aliases counted as often as they are used
	// The library's parser takes time by the square of a mapping's size: 2 s for as many as this.
	maxTokens = 40_000
)

// ParseFile reads the config file at path and expands ${ENV} and
// ${ENV:-default} in its values. The Node is nil if the file could not be read
// as YAML at all.
func ParseFile(path string) (*Node, Problems) {
	whole := func(format string, args ...any) (*Node, Problems) {
		return nil, Problems{{File: path, Text: fmt.Sprintf(format, args...)}}
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return whole("is a folder; name the file in it")
	}
	f, err := plainfile.Open(path)
	if err != nil {
		return whole("cannot be opened: %v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return whole("cannot be read: %v", err)
	case othersMayWrite(info):
		return whole("mode %#o lets others change it; chmod go-w %s", info.Mode().Perm(), path)
	}
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return whole("cannot be read: %v", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		dir = filepath.Dir(path)
	}
	return parse(path, dir, src, os.LookupEnv)
}

// othersMayWrite reports whether somebody else may change the file. A group of
// the user's own is nobody else: many systems give each user one, and make new
// files writable to it (umask 002).
func othersMayWrite(info os.FileInfo) bool {
	mode := info.Mode().Perm()
	if mode&0o020 != 0 {
		s, ok := info.Sys().(*syscall.Stat_t)
		if !ok || int(s.Uid) != os.Geteuid() || s.Gid != s.Uid {
			return true
		}
	}
	return mode&0o002 != 0
}

// Parse reads src as ParseFile reads a file; name is what problems call it, and
// its folder is what relative paths in it start from.
func Parse(name string, src []byte) (*Node, Problems) {
	return parse(name, filepath.Dir(name), src, os.LookupEnv)
}

// ParseIn is Parse with relative paths starting from dir.
func ParseIn(name, dir string, src []byte) (*Node, Problems) {
	return parse(name, dir, src, os.LookupEnv)
}

// ParseLiteral is ParseIn for files in which ${NAME} is text like any other, as
// in a record that a test case holds.
func ParseLiteral(name, dir string, src []byte) (*Node, Problems) { return parse(name, dir, src, nil) }

func parse(name, dir string, src []byte, lookup func(string) (string, bool)) (root *Node, ps Problems) {
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	d := newDocument(name, dir, src)
	syntax := func(p place, format string, args ...any) (*Node, Problems) {
		ps.add(d, p, "", fmt.Sprintf(format, args...))
		return nil, ps
	}
	if len(src) > maxFile {
		return syntax(place{}, "is larger than %d bytes; a config file is at most 1 MiB", maxFile)
	}
	if p, bad := d.firstBadByte(); bad != "" {
		return syntax(p, "%s", bad)
	}
	// The library is given nothing that is known to hurt it; still, a file must
	// never be able to end the process.
	defer func() {
		if r := recover(); r != nil {
			root, ps = syntax(place{}, "cannot be read as YAML (%v); simplify it", r)
		}
	}()
	tokens := joinPorts(lexer.Tokenize(strings.Join(d.lines, "\n")))
	if p, bad := refuseTokens(tokens); bad != "" {
		return syntax(p, "%s", bad)
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		p, text := d.syntaxError(err)
		return syntax(p, "%s", text)
	}
	b := &builder{doc: d, problems: &ps, lookup: lookup, anchors: map[string]ast.Node{}, open: map[string]bool{}}
	body, extra := documents(file)
	if extra != nil {
		at := extra.GetToken().Position
		return syntax(place{at.Line, at.Column, 1}, "a second document begins here; write one document, without ---")
	}
	root = b.root(body)
	d.root = root
	ps.sort()
	return root, ps
}

// joinPorts makes one text of udp://HOST:PORT again where the library's lexer,
// in a flow list inside a flow mapping, takes the host for a key: a colon with no
// blank after it ends no plain key (YAML 1.2.2 §7.3.3).
func joinPorts(tokens token.Tokens) token.Tokens {
	joined := tokens[:0]
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		for i+2 < len(tokens) && t.Type == token.StringType && touching(tokens[i+1], tokens[i+2]) {
			rest := tokens[i+2]
			t.Value += ":" + rest.Value
			t.Origin += ":" + rest.Origin
			if t.Next = rest.Next; t.Next != nil {
				t.Next.Prev = t
			}
			i += 2
		}
		joined = append(joined, t)
	}
	return joined
}

// touching reports whether a plain scalar follows a colon with nothing between.
func touching(colon, rest *token.Token) bool {
	switch rest.Type {
	case token.StringType, token.IntegerType, token.FloatType:
		return colon.Type == token.MappingValueType && rest.Position.Line == colon.Position.Line &&
			rest.Position.Column == colon.Position.Column+1
	}
	return false
}

// documents returns the body of the one document of a file, and that of the second if there is one.
func documents(file *ast.File) (body, extra ast.Node) {
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.DirectiveType || doc.Body.Type() == ast.CommentType:
		case body == nil:
			body = doc.Body
		default:
			return body, doc.Body
		}
	}
	return body, nil
}

// firstBadByte finds bytes that no editor means to write: broken UTF-8, NUL, tabs before a key.
func (d *document) firstBadByte() (place, string) {
	for i, line := range d.lines {
		if !utf8.ValidString(line) {
			valid := 0
			for r, size := utf8.DecodeRuneInString(line[valid:]); r != utf8.RuneError || size != 1; r, size = utf8.DecodeRuneInString(line[valid:]) {
				valid += size
			}
			return place{i + 1, utf8.RuneCountInString(line[:valid]) + 1, 1}, "is not UTF-8 here; save the file as UTF-8"
		}
		if at := strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); at >= 0 {
			return place{i + 1, utf8.RuneCountInString(line[:at]) + 1, 1}, fmt.Sprintf("holds a control character (%#02x); remove it", line[at])
		}
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if indent < len(line) && line[indent] == '\t' && strings.TrimSpace(line) != "" {
			return place{i + 1, indent + 1, 1}, "is indented with a tab; YAML wants spaces"
		}
		if indent > 4*maxDepth {
			return place{i + 1, indent + 1, 1}, "is indented too far"
		}
	}
	return place{}, ""
}

// refuseTokens keeps nesting that would exhaust the parser's stack, and tags, away from it.
func refuseTokens(tokens token.Tokens) (place, string) {
	if len(tokens) > maxTokens {
		p := tokens[maxTokens].Position
		return place{p.Line, p.Column, 1}, fmt.Sprintf("the file holds more than %d words and signs; write less", maxTokens)
	}
	flow, line, opened := 0, 0, 0
	for i, t := range tokens {
		at := place{t.Position.Line, t.Position.Column, utf8.RuneCountInString(t.Value)}
		if t.Position.Line != line {
			line, opened = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			opened++
		case token.TagType:
			return at, fmt.Sprintf("the tag %s is not understood; write the value without it", t.Value)
		case token.AnchorType:
			if i >= 2 && tokens[i-2].Type == token.AnchorType {
				return at, "a second anchor on one value; write one"
			}
		}
		if flow > maxDepth || opened > maxDepth {
			return at, fmt.Sprintf("is nested deeper than %d levels", maxDepth)
		}
	}
	return place{}, ""
}

// remedies say what to write for the parser's commonest complaints.
var remedies = []struct{ complaint, remedy string }{
	{"mapping value is not allowed", `a ": " inside a value; put the value in quotes`},
	{"found character '\t'", "is indented with a tab; YAML wants spaces"},
	{"',' or ']' must be specified", `a list that began with "[" is not closed; write "," or "]"`},
	{"sequence end token ']' not found", `a list that began with "[" is not closed; write "]"`},
	{"',' or '}' must be specified", `a mapping that began with "{" is not closed; write "," or "}"`},
	{"could not find flow mapping end", `a mapping that began with "{" is not closed; write "}"`},
	{"could not find end character of double-quoted", `a text that began with " is not closed; write "`},
	{"could not find end character of single-quoted", "a text that began with ' is not closed; write '"},
	{"unexpected key name", `a key without its ":"; write "key: value"`},
	{"non-map value is specified", `neither a key nor part of the value above; write "key: value"`},
	{"is a reserved character", "a value begins with a character that YAML reserves; put the value in quotes"},
	{"value is not allowed in this context", "does not belong here; check the indentation against the lines above"},
	{"block sequence entries are not allowed", "a list begins on the line of its key; begin it on the next"},
	{"found reserved character", "a value begins with a character that YAML reserves; put the value in quotes"},
	{"found invalid token", "cannot be read; put the value in quotes"},
}

// syntaxError places what the parser says.
func (d *document) syntaxError(err error) (place, string) {
	var se yaml.Error
	if !errors.As(err, &se) || se.GetToken() == nil || se.GetToken().Position == nil {
		return place{}, "is not YAML: " + err.Error()
	}
	t := se.GetToken()
	at := place{t.Position.Line, t.Position.Column, max(1, utf8.RuneCountInString(strings.TrimSpace(t.Value)))}
	if strings.Contains(t.Value, "\n") {
		at.width = 0
	}
	line, _ := d.line(at.line)
	after := string([]rune(line)[min(at.col-1, utf8.RuneCountInString(line)):])
	switch {
	case strings.Contains(se.GetMessage(), "mapping value is not allowed") && !strings.Contains(after, ": "):
		at.line, at.col, at.width = at.line+1, d.indentOf(at.line+1)+1, 0
		return at, "is indented further than the key above it, whose value is already written; indent keys of one mapping alike"
	case t.Type == token.MappingEndType:
		return at, `a list that began with "[" is not closed; write "]"`
	case t.Type == token.SequenceEndType:
		return at, `a mapping that began with "{" is not closed; write "}"`
	}
	for _, r := range remedies {
		if strings.Contains(se.GetMessage(), r.complaint) {
			return at, r.remedy
		}
	}
	return at, se.GetMessage()
}
