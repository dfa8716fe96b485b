package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
)

// Description is what a module is, and what this host makes of it.
type Description struct {
	Hash     string    // SHA-256, hexadecimal
	Size     int       // bytes
	Manifest *Manifest // nil: it carries none

	Ordered   bool     // ABI §1.3
	Needs     []string // what its config must grant: state, metrics, lookup
	Imports   []Import
	Exports   []string
	Features  []string // of WebAssembly beyond 1.0, as it uses them
	Functions int      // its own
	CodeBytes int
	Data      int // bytes of its data sections
	Tables    []int
	MemoryMin int64 // bytes to begin with
	MemoryMax int64 // bytes, as declared; -1: up to what its config allows

	// Refusals say why a host would refuse it whatever its config grants and
	// however much memory that gives, each with what to do about it.
	Refusals []string

	code []byte
}

// Import is a function a module imports.
type Import struct {
	Module, Name string
	Need         string // what grants it: state, metrics, lookup; empty: always there
}

// Inspect describes a module without running any of it. An error means that it
// is no module at all, and says what to do.
func Inspect(code []byte) (*Description, error) {
	list, err := sections(code)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(code)
	d := &Description{Hash: hex.EncodeToString(sum[:]), Size: len(code), code: code}
	all := &Options{Memory: maxMemory, Grant: Grants{State: true, Metrics: true}, Tables: map[string]*Table{"": nil}}
	s := examine(code, list, all)
	rewritten, w := weigh(list, s)
	d.Manifest, d.Ordered, d.Needs = s.manifest, s.ordered(), s.needs()
	for _, name := range s.names {
		im := Import{Module: name[0], Name: name[1]}
		if name[0] == fuelModule {
			im.Need = services[name[1]].need
		}
		d.Imports = append(d.Imports, im)
	}
	d.Exports, d.Functions, d.CodeBytes, d.Data = s.order, len(s.functions), s.code, s.data
	d.MemoryMin, d.MemoryMax = int64(s.memory[0])*pageSize, -1
	if s.memory[1] != noLimit {
		d.MemoryMax = int64(s.memory[1]) * pageSize
	}
	for _, n := range s.tables {
		d.Tables = append(d.Tables, int(n))
	}
	if w != nil {
		d.Features = w.features()
	}
	if len(s.refusals) == 0 {
		if err := validate(rewritten); err != nil {
			s.refuse("does not validate: %v; build it again", err)
		}
	}
	d.Refusals = refusalTexts(s.refusals)
	return d, nil
}

func refusalTexts(refusals []Refusal) (all []string) {
	for _, r := range refusals {
		all = append(all, r.Text)
	}
	return all
}

// Refusals returns why a host would refuse a module with these options, all that
// can be said without compiling it. Only Memory, Grant and Tables matter.
func Refusals(code []byte, o Options) []Refusal {
	o.complete()
	list, err := sections(code)
	if err != nil {
		return []Refusal{{Text: err.Error()}}
	}
	s := examine(code, list, &o)
	weigh(list, s)
	return s.refusals
}

// Against returns why a host would refuse the module with these options, each
// with what to do: its Refusals, and what the config does not grant or leaves too
// small. Only Memory, Grant and Tables matter.
func (d *Description) Against(o Options) []string {
	refusals := refusalTexts(Refusals(d.code, o))
	for _, why := range d.Refusals {
		if !slices.Contains(refusals, why) {
			refusals = append(refusals, why)
		}
	}
	return refusals
}

// maxMemory is all that a 32-bit memory can have.
const maxMemory = 4 << 30

// noLimit is the greatest size of a memory that declares none.
const noLimit = 0xffffffff

// weigh rewrites a module as far as it can be, and notes in s what is wrong.
func weigh(list []section, s *shape) ([]byte, *rewriter) {
	if slices.ContainsFunc(s.refusals, func(why Refusal) bool { return strings.HasPrefix(why.Text, "is malformed") }) {
		return nil, nil
	}
	w := newRewriter(s)
	code, err := w.module(list)
	if err != nil {
		s.refuse("%v", err)
	}
	for _, why := range w.wrong {
		if err != why {
			s.refuse("%v", why)
		}
	}
	return code, w
}

// validate asks the engine's validator, by way of the interpreter, which has
// less to do than the compiler.
func validate(code []byte) error {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features).WithDebugInfoEnabled(false))
	defer rt.Close(ctx)
	if _, err := rt.CompileModule(ctx, code); err != nil {
		return firstLine(err)
	}
	return nil
}

// features names what the module uses of WebAssembly beyond 1.0 (ABI §2.4).
func (w *rewriter) features() []string {
	uses := func(from, to byte) bool { return slices.Contains(w.seen[from:to+1], true) }
	prefixed := func(from, to uint32) bool { return slices.Contains(w.prefixed[from:to+1], true) }
	var list []string
	add := func(name string, used bool) {
		if used {
			list = append(list, name)
		}
	}
	add("sign extension", uses(0xc0, 0xc4))
	add("saturating conversion", prefixed(0, 7))
	add("multiple values", slices.ContainsFunc(w.types, func(t signature) bool { return len(t.results) > 1 }))
	add("bulk memory", prefixed(8, 14))
	add("reference types", uses(0x1c, 0x1c) || uses(0x25, 0x26) || uses(0xd0, 0xd2) || prefixed(16, 17))
	return list
}
