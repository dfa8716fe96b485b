// Package config reads strict YAML with positions: it decodes a tree into Go
// structs, reports every problem at once as file:line:col with an excerpt, and
// names the nearest known key for one it does not know. It hides the YAML
// library. It knows nothing of inputs, modules or forwarders: each room brings its
// own Options. A secret's value must never appear in anything printed here.
package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// Options is what one part of the agent reads from its section of the config:
// a pointer to a struct with `yaml:"key"` tags, holding the defaults. Field types: string, bool, ints,
// floats, Bytes, Duration, Secret, slices, maps with string keys, pointers to structs, nested structs (inlined
// with `yaml:",inline"`), *Node for a subtree decoded later, and whatever reads itself with UnmarshalText. Required
// keys are tagged `required:"true"`, words to choose from `oneof:"a b c"`, and a Secret that may
// also be written out, because it often is none, `literal:"true"`.
type Options interface {
	// Check reports what decoding alone cannot see, after Decode has filled the
	// struct: contradictions, files that do not exist, addresses that do not parse.
	Check(at *At)
}

// A Warner is Options that may be good and yet not what was meant. Warn reports that, to
// `runnel check` alone; agent is the name of the agent that they are of.
type Warner interface {
	Warn(at *At, agent string)
}

// Bytes is a size, written 512KiB, 1MiB, 8GiB, 10MB or as a plain number of bytes.
type Bytes int64

// Duration is a time.Duration, written 250ms, 10s, 15m, 72h, 30d.
type Duration = time.Duration

// Kind is what a Node holds.
type Kind uint8

// The kinds of Node.
const (
	Null Kind = iota
	Bool
	Int
	Float
	Text
	List
	Map
)

// String names the kind as an error message does, article included.
func (k Kind) String() string {
	return [...]string{"empty", "true or false", "a number", "a number", "a text", "a list", "a mapping"}[k]
}

// Node is one place in a config file: a YAML value, its key path and its
// position. Nodes are read only; a mapping's keys are in file order.
type Node struct {
	File string // as the user named it
	Path string // inputs.docker.listen[0]

	doc     *document
	place   place // of the value
	holder  place // of the key that holds a block mapping or list; zero otherwise
	kind    Kind
	raw     string // a scalar as written, without its quotes, before expansion
	text    string // a scalar after expansion
	quoted  bool
	style   byte // how a scalar was quoted: 0, ', ", | or >
	number  any  // int64, uint64 or float64 of an Int or Float
	entries []entry
}

// place is where something stands: lines and columns from 1, columns in
// characters; width is 0 where the rest of the line is meant.
type place struct{ line, col, width int }

// entry is one key of a mapping, or one item of a list.
type entry struct {
	key   string
	place place // of the key
	value *Node
}

// Kind returns what the node holds.
func (n *Node) Kind() Kind { return n.kind }

// Text returns a scalar's text after expansion; false if n is no scalar.
func (n *Node) Text() (string, bool) { return n.text, n.kind != List && n.kind != Map }

// Key returns the value under a key, or nil if n is no mapping or has no such key.
func (n *Node) Key(name string) *Node {
	if n == nil || n.kind != Map {
		return nil
	}
	for i := range n.entries {
		if n.entries[i].key == name {
			return n.entries[i].value
		}
	}
	return nil
}

// Keys returns a mapping's keys in file order.
func (n *Node) Keys() []string {
	if n == nil || n.kind != Map {
		return nil
	}
	keys := make([]string, len(n.entries))
	for i := range n.entries {
		keys[i] = n.entries[i].key
	}
	return keys
}

// Items returns a list's items, or the values of a mapping in file order.
func (n *Node) Items() []*Node {
	if n == nil {
		return nil
	}
	items := make([]*Node, len(n.entries))
	for i := range n.entries {
		items[i] = n.entries[i].value
	}
	return items
}

// Position returns where the node stands, from 1: the value, or the key that
// holds it where the value is a block on the lines below.
func (n *Node) Position() (line, col int) {
	p := n.where()
	return p.line, p.col
}

func (n *Node) where() place {
	if n.holder.line > 0 {
		return n.holder
	}
	return n.place
}

// KeyPosition returns where the key named so stands, or n's own position if there is none.
func (n *Node) KeyPosition(name string) (line, col int) {
	for i := range n.entries {
		if n.kind == Map && n.entries[i].key == name {
			return n.entries[i].place.line, n.entries[i].place.col
		}
	}
	return n.Position()
}

// Offset returns the line and column of the ith byte of a scalar's text. It is exact for a scalar
// on one line; for others, and where expansion or escapes have changed the text, it is the scalar's start.
func (n *Node) Offset(i int) (line, col int) {
	line, col = n.place.line, n.place.col
	switch {
	case n.text != n.raw || i < 0 || i > len(n.text):
	case n.style == 0 && !strings.Contains(n.text, "\n"):
		col += len([]rune(n.text[:i]))
	case n.style == '\'' || n.style == '"':
		col += 1 + n.doc.quotedColumns(n.place, n.text, i)
	case n.style == '|':
		before := n.text[:i]
		line += 1 + strings.Count(before, "\n")
		before = before[strings.LastIndexByte(before, '\n')+1:]
		col = n.doc.indentOf(line) + 1 + len([]rune(before))
	}
	return line, col
}

// JSON returns the subtree as JSON, mappings with their keys sorted: equal
// trees give equal bytes. A number that JSON cannot write is an error.
func (n *Node) JSON() ([]byte, error) {
	v, err := n.plain(n.Path)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Digest changes when the subtree does, or a secret that was decoded from it.
func (n *Node) Digest() string {
	h := sha256.New()
	b, err := n.JSON()
	if err != nil {
		b = []byte(err.Error()) // it has the number that JSON cannot write
	}
	h.Write(b)
	for _, s := range n.doc.secrets {
		if strings.HasPrefix(s.path, n.Path) {
			h.Write(s.hash[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// plain turns the subtree into what encoding/json writes; errors say where below root.
func (n *Node) plain(root string) (any, error) {
	if n == nil {
		return nil, nil
	}
	switch n.kind {
	case Null:
		return nil, nil
	case Bool:
		return n.text == "true", nil
	case Int, Float:
		if f, ok := n.number.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return nil, fmt.Errorf("%sJSON has no number %s; write another, or a text in quotes", strings.TrimLeft(strings.TrimPrefix(n.Path, root)+": ", ".: "), n.text)
		}
		return n.number, nil
	case List:
		list := make([]any, len(n.entries))
		for i := range n.entries {
			v, err := n.entries[i].value.plain(root)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case Map:
		m := make(map[string]any, len(n.entries))
		for i := range n.entries {
			v, err := n.entries[i].value.plain(root)
			if err != nil {
				return nil, err
			}
			m[n.entries[i].key] = v
		}
		return m, nil
	}
	return n.text, nil
}
