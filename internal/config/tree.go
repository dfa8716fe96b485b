package config

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// builder turns the library's tree into Nodes: aliases and merge keys
// resolved, duplicates reported, values expanded.
type builder struct {
	doc      *document
	problems *Problems
	lookup   func(string) (string, bool)
	anchors  map[string]ast.Node
	open     map[string]bool // aliases being resolved, against circles
	full     bool            // maxNodes was reached and reported
	depth    int
}

// root builds the whole document; an empty one is an empty mapping.
func (b *builder) root(body ast.Node) *Node {
	if body == nil {
		return &Node{File: b.doc.name, doc: b.doc, kind: Map}
	}
	n := b.node(body, "", place{})
	if n.kind == Null {
		n.kind, n.text = Map, ""
	}
	n.holder = place{}
	if n.kind == Map {
		n.place = place{} // a problem of the root is one of the file as a whole
	}
	return n
}

// node builds one value; holder is the place of the key that holds it.
func (b *builder) node(y ast.Node, path string, holder place) *Node {
	n := &Node{File: b.doc.name, Path: path, doc: b.doc, place: placeOf(y, holder)}
	b.doc.nodes++
	if b.doc.nodes > maxNodes || b.depth > maxDepth {
		if !b.full {
			b.report(n.place, path, "the file holds more than %d values or %d levels, aliases counted each time; write less", maxNodes, maxDepth)
		}
		b.full = true
		return n
	}
	b.depth++
	defer func() { b.depth-- }()
	switch y := y.(type) {
	case *ast.MappingNode:
		n.kind = Map
		b.mapping(n, y.Values, !y.IsFlowStyle, holder)
	case *ast.MappingValueNode:
		n.kind = Map
		b.mapping(n, []*ast.MappingValueNode{y}, true, holder)
	case *ast.SequenceNode:
		n.kind = List
		if !y.IsFlowStyle {
			n.holder = holder
		}
		for i, v := range y.Values {
			n.entries = append(n.entries, entry{value: b.node(v, fmt.Sprintf("%s[%d]", path, i), place{})})
		}
	case *ast.AnchorNode:
		b.anchors[y.Name.GetToken().Value] = y.Value
		return b.node(y.Value, path, holder)
	case *ast.AliasNode:
		return b.alias(n, y)
	default:
		b.scalar(n, y)
	}
	return n
}

// alias builds the value that an alias stands for, in the alias's place.
func (b *builder) alias(n *Node, y *ast.AliasNode) *Node {
	name := y.Value.GetToken().Value
	target, ok := b.anchors[name]
	if !ok || b.open[name] {
		b.report(n.place, n.Path, "*%s names no anchor above it; write &%s before the value it stands for", name, name)
		return n
	}
	b.open[name] = true
	defer delete(b.open, name)
	return b.node(target, n.Path, n.holder)
}

// mapping builds the entries of n.
func (b *builder) mapping(n *Node, values []*ast.MappingValueNode, block bool, holder place) {
	if block {
		n.holder = holder
		if holder.line == 0 && len(values) > 0 {
			n.holder = placeOf(values[0].Key, place{})
		}
	}
	first := map[string]place{}
	var merged []*Node
	for _, v := range values {
		key, at, ok := b.key(v.Key, n.Path)
		if !ok {
			continue
		}
		if _, isMerge := v.Key.(*ast.MergeKeyNode); isMerge {
			merged = append(merged, b.node(v.Value, n.Path, at))
			continue
		}
		path := joinPath(n.Path, key)
		if before, twice := first[key]; twice {
			b.report(at, path, "is written twice, first on line %d; remove one", before.line)
			continue
		}
		first[key] = at
		n.entries = append(n.entries, entry{key, at, b.node(v.Value, path, at)})
	}
	for _, m := range merged {
		b.merge(n, m)
	}
}

// merge adds to n what a merge key (<<) brings and n does not have.
func (b *builder) merge(n, from *Node) {
	switch from.kind {
	case List:
		for _, item := range from.Items() {
			b.merge(n, item)
		}
	case Map:
		for _, e := range from.entries {
			if n.Key(e.key) == nil {
				n.entries = append(n.entries, e)
			}
		}
	default:
		b.report(from.where(), n.Path, "<< merges %s; write a mapping or an alias of one", from.kind)
	}
}

// key reads a mapping's key.
func (b *builder) key(y ast.Node, path string) (string, place, bool) {
	at := placeOf(y, place{})
	switch y := y.(type) {
	case *ast.StringNode:
		if name, swallowed := swallows(y); swallowed {
			b.report(at, path, "a key with a colon in it; put the key in quotes: {%q: …}", name)
			return "", at, false
		}
		return y.Value, at, true
	case *ast.MergeKeyNode:
		return "<<", at, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return y.GetToken().Value, at, true
	}
	b.report(at, path, "a key must be a word; write \"key: value\"")
	return "", at, false
}

// swallows reports whether the library took {a:b: 1} for a key "a:b: 1" without a
// value, and returns what the key was meant to be.
func swallows(y *ast.StringNode) (key string, yes bool) {
	if y.Token == nil || y.Token.Type != token.StringType {
		return "", false
	}
	key, _, yes = strings.Cut(y.Value, ": ")
	return strings.TrimSpace(key), yes
}

// scalar fills n from a scalar and expands it.
func (b *builder) scalar(n *Node, y ast.Node) {
	t := y.GetToken()
	switch s := y.(type) {
	case *ast.LiteralNode:
		n.raw, n.style = s.Value.Value, '|'
		if t.Type == token.FoldedType {
			n.style = '>'
		}
	case *ast.StringNode:
		n.raw = s.Value
		switch t.Type {
		case token.SingleQuoteType:
			n.style = '\''
		case token.DoubleQuoteType:
			n.style = '"'
		}
	case *ast.NullNode:
		return
	default:
		n.raw = t.Value
	}
	n.quoted = n.style != 0
	n.kind, n.text = Text, b.expand(n)
	if !n.quoted {
		n.resolve()
	}
}

// resolve finds out what a plain scalar's text is.
func (n *Node) resolve() {
	switch n.text {
	case "", "~", "null", "Null", "NULL":
		n.kind, n.text = Null, ""
		return
	case "true", "True", "TRUE":
		n.kind, n.text = Bool, "true"
		return
	case "false", "False", "FALSE":
		n.kind, n.text = Bool, "false"
		return
	}
	if num := token.ToNumber(n.text); num != nil {
		n.kind, n.number = Int, num.Value
		if num.Type == token.NumberTypeFloat {
			n.kind = Float
		}
		return
	}
	if f, ok := exponent(n.text); ok {
		n.kind, n.number = Float, f
	}
}

func (b *builder) report(at place, path, format string, args ...any) {
	b.doc.reported[path] = true
	b.problems.add(b.doc, at, path, fmt.Sprintf(format, args...))
}

// placeOf finds where a value is written.
func placeOf(y ast.Node, holder place) place {
	var t *token.Token
	switch y := y.(type) {
	case *ast.MappingNode:
		if !y.IsFlowStyle && len(y.Values) > 0 {
			return placeOf(y.Values[0].Key, holder)
		}
		t = y.Start
	case *ast.MappingValueNode:
		return placeOf(y.Key, holder)
	case *ast.SequenceNode:
		t = y.Start
	case *ast.NullNode:
		if y.Token != nil && y.Token.Type == token.ImplicitNullType && holder.line > 0 {
			return holder
		}
		t = y.Token
	default:
		t = y.GetToken()
	}
	if t == nil || t.Position == nil {
		return holder
	}
	p := place{t.Position.Line, t.Position.Column, 1}
	switch t.Type {
	case token.SequenceStartType, token.MappingStartType, token.SequenceEntryType, token.LiteralType, token.FoldedType:
		return p
	case token.AliasType:
		p.width = 1 + utf8.RuneCountInString(t.Next.Value)
		return p
	}
	written := strings.TrimSpace(t.Origin)
	if p.width = utf8.RuneCountInString(written); p.width == 0 || strings.Contains(written, "\n") {
		p.width = 0
		if written == "" {
			p.width = max(1, utf8.RuneCountInString(t.Value))
		}
	}
	return p
}
