package expression

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

// parse reads the text into expr's tree.
func parse(src string) (tree *parser.Tree, err error) {
	all := utf8.RuneCountInString(src)
	switch {
	case strings.TrimSpace(src) == "":
		return nil, errorAt(src, 0, 1, `is empty; write an expression, such as severity <= "err"`)
	case len(src) > maxSource:
		return nil, errorAt(src, 0, 1, fmt.Sprintf("is longer than %d bytes; write a module instead", maxSource))
	case !utf8.ValidString(src):
		return nil, errorAt(src, 0, all, "is not UTF-8")
	}
	if at := nested(src); at >= 0 {
		return nil, errorAt(src, at, at+1, fmt.Sprintf("is nested deeper than %d levels; write a module instead", maxNested))
	}
	// An expression may come over the API; nothing in it may end the process.
	defer func() {
		if r := recover(); r != nil {
			tree, err = nil, errorAt(src, 0, all, fmt.Sprintf("cannot be read (%v); write it another way", r))
		}
	}()
	config := conf.CreateNew()
	config.MaxNodes = maxNodes
	tree, err = parser.ParseWithConfig(src, config)
	if err != nil {
		return nil, syntaxError(src, err)
	}
	return tree, nil
}

// nested returns where brackets or unary operators nest too deeply for the
// parser's stack, in characters, or -1. What stands in quotes does not count.
func nested(src string) int {
	depth, unary := 0, 0
	var quote, last rune
	for i, r := range []rune(src) {
		switch {
		case quote != 0:
			if r == quote && last != '\\' {
				quote = 0
			}
			if last == '\\' {
				r = 0 // an escaped backslash escapes nothing
			}
		case r == '"' || r == '\'' || r == '`':
			quote, unary = r, 0
		case strings.ContainsRune("([{?", r):
			depth++
		case strings.ContainsRune(")]}", r):
			depth--
		case strings.ContainsRune("!-+not", r):
			unary++
		case r != ' ' && r != '\t' && r != '\n':
			unary = 0
		}
		last = r
		if depth > maxNested || unary > 3*maxNested {
			return i
		}
	}
	return -1
}

var unexpectedToken = regexp.MustCompile(`^unexpected token (\w+)(?:\("(.*)"\))?`)

// syntaxError says in our words what expr's parser says in its own.
func syntaxError(src string, err error) *Error {
	var fe *file.Error
	if !errors.As(err, &fe) {
		return errorAt(src, 0, utf8.RuneCountInString(src), err.Error())
	}
	said := fe.Message
	if m := unexpectedToken.FindStringSubmatch(said); m != nil {
		switch {
		case m[1] == "EOF":
			said = "ends too early; something is missing here"
		case m[2] == "=":
			said = `"=" compares nothing; write ==`
		case m[2] == "&" || m[2] == "|" || m[2] == "AND" || m[2] == "OR":
			said = fmt.Sprintf("%q is no operator; write and, or", m[2])
		default:
			said = fmt.Sprintf("%q is not expected here; an operator (==, <=, and, or, contains, …) or a bracket may be missing before it", m[2])
		}
	}
	switch {
	case strings.HasPrefix(said, "unrecognized character"):
		said += "; texts are written in quotes: \"…\""
	case strings.HasPrefix(said, "literal not terminated"):
		said = "a text is not closed; write the quote that ends it"
	case strings.Contains(said, "exceeds maximum allowed nodes"):
		said = "is too large; write a module instead"
	}
	return errorAt(src, fe.From, max(fe.To, fe.From+1), said)
}
