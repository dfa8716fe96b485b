// Package config reads strict YAML with positions: it decodes a tree into Go
// structs, reports every problem at once as file:line:col with an excerpt, and
// names the nearest known key for one it does not know. It hides the YAML
// library. It knows nothing of inputs, modules or forwarders: each room brings its
// own Options. A secret's value must never appear in anything printed here.
package config

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Options is what one part of the agent reads from its section of the config:
// a pointer to a struct with `yaml:"key"` tags, holding the defaults. Field types: string, bool, ints,
// floats, Bytes, Duration, Secret, slices, maps with string keys, pointers to structs, nested structs (inlined
// with `yaml:",inline"`), *Node for a subtree decoded later. Required keys are tagged `required:"true"`.
type Options interface {
	// Check reports what decoding alone cannot see, after Decode has filled the
	// struct: contradictions, files that do not exist, addresses that do not parse.
	Check(at *At)
}

// Bytes is a size, written 512KiB, 1MiB, 8GiB, 10MB or as a plain number of bytes.
type Bytes int64

// Duration is a time.Duration, written 250ms, 10s, 15m, 72h, 30d.
type Duration = time.Duration

// Secret is a value that is read from a file or the environment, and that
// nothing prints: {file: PATH} or {env: NAME}. The zero value is no secret.
type Secret struct {
	File, Env string
}

// Node is one place in a config file: a YAML value, its key path and its position.
type Node struct {
	File string // as the user named it
	Path string // inputs.docker.listen[0]
	src  []byte // the whole file, for excerpts
	yaml ast.Node
}

// At is where Options.Check reports problems: a node and the list they go to.
type At struct {
	node     *Node
	problems *Problems
}

// Problem is one thing wrong with a config file.
type Problem struct {
	File      string
	Line, Col int    // 1-based; 0 where the file as a whole is meant
	Width     int    // columns to underline
	Path      string // key path
	Text      string // what is wrong; what to write
	source    string // the line, secrets masked
}

// Problems are all of them, in file order.
type Problems []Problem
