package wasm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds on what is compiled, so that compiling is bounded (ABI §2.4).
const (
	maxFunctions = 20_000
	maxCode      = 4 << 20
	maxLocals    = 50_000
	maxTable     = 10_000
	pageSize     = 64 << 10
)

// signature is a function type, a byte for each parameter and result.
type signature struct{ params, results string }

// shape is what the checks and the rewriter need to know of a module.
type shape struct {
	types     []signature
	imports   []uint32 // type of each imported function
	wasi      []string // names of those that come from WASI
	functions []uint32 // type of each function of its own
	globals   int
	exports   map[string]export
	order     []string // the exports' names as they come
	memories  int
	tables    int
}

type export struct {
	kind  byte // 0 function, 1 table, 2 memory, 3 global
	index uint32
}

// granted lists the host services a guest may import from "runnel" (ABI §5);
// false: specified, but not offered by this version of the host.
var granted = map[string]bool{
	"log": true, "now": true,
	"state_get": false, "state_set": false, "state_delete": false,
	"metric_add": false, "lookup": false, "scan": false,
}

// examine reads everything but the code and refuses what the ABI forbids,
// saying what to do. memory is the module's limit in bytes.
func examine(list []section, memory int64) (*shape, error) {
	s := &shape{exports: map[string]export{}}
	for _, sec := range list {
		r := &reader{p: sec.body}
		var err error
		switch sec.id {
		case secType:
			s.readTypes(r)
		case secImport:
			err = s.readImports(r)
		case secFunction:
			for range r.count() {
				s.functions = append(s.functions, r.u32())
			}
		case secTable:
			err = s.readTables(r)
		case secMemory:
			err = s.readMemory(r, memory)
		case secGlobal:
			s.globals = r.count() // the rest is read when it is rewritten
			r.at = len(r.p)
		case secExport:
			s.readExports(r)
		case secStart:
			err = errors.New("has a start section, which would run before it can be bounded; build it as a reactor (-buildmode=c-shared, --no-entry)")
		default:
			continue
		}
		if err == nil && r.err == nil && r.at < len(r.p) {
			r.err = errors.New("has bytes after its last element")
		}
		if err == nil && r.err != nil {
			err = fmt.Errorf("is malformed: the %s section %w", sectionName(sec.id), r.err)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(s.functions) > maxFunctions {
		return nil, fmt.Errorf("has %d functions, more than the limit of %d", len(s.functions), maxFunctions)
	}
	return s, s.checkABI()
}

func (s *shape) readTypes(r *reader) {
	for range r.count() {
		if r.byte() != 0x60 {
			r.fail()
			return
		}
		params := string(r.bytes(r.count()))
		s.types = append(s.types, signature{params, string(r.bytes(r.count()))})
	}
}

func (s *shape) readImports(r *reader) error {
	for range r.count() {
		module, name := r.name(), r.name()
		kind := r.byte()
		if kind != 0 && r.err == nil {
			return fmt.Errorf("imports %q.%q, which is not a function; a guest brings its own memory, tables and globals", module, name)
		}
		s.imports = append(s.imports, r.u32())
		if r.err != nil {
			return nil
		}
		if err := allowed(module, name); err != nil {
			return err
		}
		if module == wasiModule && !slices.Contains(s.wasi, name) {
			s.wasi = append(s.wasi, name)
		}
	}
	return nil
}

// allowed says why an import is refused, or nil.
func allowed(module, name string) error {
	switch module {
	case "runnel":
		offered, known := granted[name]
		if !known {
			return fmt.Errorf("imports runnel.%s, which ABI v1 does not have", name)
		}
		if !offered {
			return fmt.Errorf("imports runnel.%s, a host service that this host does not grant (ABI §5)", name)
		}
		return nil
	case wasiModule:
		if _, ok := wasiSignatures[name]; !ok {
			return fmt.Errorf("imports %s.%s, which WASI preview 1 does not have", module, name)
		}
		return nil
	case "gojs", "go":
		return fmt.Errorf("imports %q.%q: it was built for a browser; build it with GOOS=wasip1", module, name)
	case "env":
		return fmt.Errorf("imports env.%s: a function was declared but not linked; a guest may import from \"runnel\" and %q only", name, wasiModule)
	}
	return fmt.Errorf("imports %q.%q; a guest may import from \"runnel\" and %q only", module, name, wasiModule)
}

func (s *shape) readTables(r *reader) error {
	for range r.count() {
		r.byte() // element type; the compiler checks it
		_, least, most := r.limits()
		if least > maxTable {
			return fmt.Errorf("has a table of %d elements, more than the limit of %d", least, maxTable)
		}
		_ = most // table.grow is refused, so the greatest size does not matter
		s.tables++
	}
	return nil
}

func (s *shape) readMemory(r *reader, limit int64) error {
	for range r.count() {
		flags, least, most := r.limits()
		switch {
		case r.err != nil:
			return nil
		case flags > 1:
			return errors.New("has a shared or 64-bit memory; build it without threads, for wasm32")
		case int64(least)*pageSize > limit:
			return fmt.Errorf("needs %s of memory to begin with, more than its limit of %s; raise memory in its config", mebibytes(int64(least)*pageSize), mebibytes(limit))
		case flags == 1 && int64(most)*pageSize > limit:
			return fmt.Errorf("declares up to %s of memory, more than its limit of %s; raise memory in its config or link it with a lower maximum", mebibytes(int64(most)*pageSize), mebibytes(limit))
		}
		s.memories++
	}
	return nil
}

func mebibytes(n int64) string {
	if n%(1<<20) != 0 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func (s *shape) readExports(r *reader) {
	for range r.count() {
		name := r.name()
		s.exports[name] = export{r.byte(), r.u32()}
		s.order = append(s.order, name)
	}
}

// checkABI checks the exports that ABI §2 demands.
func (s *shape) checkABI() error {
	_, program := s.exports["_start"]
	if _, ok := s.exports["runnel_abi_v1"]; !ok {
		if i := slices.IndexFunc(s.order, func(n string) bool { return strings.HasPrefix(n, "runnel_abi_") }); i >= 0 {
			return fmt.Errorf("speaks %s; this host speaks runnel_abi_v1; build it with the SDK of this version", s.order[i])
		}
		if program {
			return fmt.Errorf("is a program, not a reactor: it exports %s but not runnel_abi_v1; build it with -buildmode=c-shared (Go), --no-entry (clang) or crate-type cdylib (Rust), with the SDK", list(s.order))
		}
		return fmt.Errorf("is not a runnel module: it exports %s but not runnel_abi_v1; build it with a guest SDK (guest-sdk/ABI.md §2)", list(s.order))
	}
	if _, reactor := s.exports["_initialize"]; program && !reactor {
		return errors.New("is a program, not a reactor: it exports _start; build it with -buildmode=c-shared (Go), --no-entry (clang) or crate-type cdylib (Rust)")
	}
	if s.memories != 1 {
		return fmt.Errorf("has %d memories; a guest has exactly one (ABI §2.1)", s.memories)
	}
	if e, ok := s.exports["memory"]; !ok || e.kind != 2 {
		return errors.New("does not export its memory as \"memory\" (ABI §2.1)")
	}
	for _, want := range []struct {
		name string
		sig  signature
		text string
	}{
		{"runnel_alloc", signature{"\x7f", "\x7f"}, "(i32) → i32"},
		{"runnel_init", signature{"\x7f\x7f", "\x7f"}, "(i32, i32) → i32"},
		{"runnel_process", signature{"\x7f\x7f", "\x7e"}, "(i32, i32) → i64"},
	} {
		e, ok := s.exports[want.name]
		if !ok {
			return fmt.Errorf("speaks runnel_abi_v1 but does not export %s; it exports %s (ABI §2.1)", want.name, list(s.order))
		}
		if got, ok := s.signatureOf(e); !ok || got != want.sig {
			return fmt.Errorf("exports %s, but not as a function %s (ABI §2.1)", want.name, want.text)
		}
	}
	if e, ok := s.exports["_initialize"]; ok {
		if got, ok := s.signatureOf(e); !ok || got != (signature{}) {
			return errors.New("exports _initialize, but not as a function () → () (ABI §2.1)")
		}
	}
	return nil
}

func (s *shape) signatureOf(e export) (signature, bool) {
	index := int(e.index)
	if e.kind != 0 || index >= len(s.imports)+len(s.functions) {
		return signature{}, false
	}
	of := uint32(0)
	if index < len(s.imports) {
		of = s.imports[index]
	} else {
		of = s.functions[index-len(s.imports)]
	}
	if int(of) >= len(s.types) {
		return signature{}, false
	}
	return s.types[of], true
}

// list names the first few of names, or says that there are none.
func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	quoted := make([]string, 0, 8)
	for i, name := range names {
		if i == 8 {
			return strings.Join(quoted, ", ") + fmt.Sprintf(" and %d more", len(names)-8)
		}
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	return strings.Join(quoted, ", ")
}
