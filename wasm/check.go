package wasm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds on what is compiled, so that compiling is bounded in time and memory
// (ABI §2.4; docs/rationale.md "Why is a module bounded before it is compiled?").
// Standard Go makes 1 300 to 6 000 functions and 22 000 data segments.
const (
	maxFunctions = 20_000
	maxCode      = 4 << 20
	maxLocals    = 50_000
	maxTable     = 10_000
	maxTables    = 16
	maxTypes     = 10_000
	maxParams    = 100
	maxResults   = 16
	maxImports   = 1000
	maxExports   = 1000
	maxGlobals   = 10_000
	maxElements  = 10_000
	maxData      = 100_000
	maxName      = 1000
	pageSize     = 64 << 10
)

// signature is a function type, a byte for each parameter and result.
type signature struct{ params, results string }

// shape is what the checks and the rewriter need to know of a module.
type shape struct {
	types     []signature
	imports   []uint32 // type of each imported function
	names     [][2]string
	services  []string // names of those that come from the host
	wasi      []string // names of those that come from WASI
	functions []uint32 // type of each function of its own
	code      int      // bytes
	data      int      // bytes
	globals   int
	exports   map[string]export
	order     []string // the exports' names as they come
	memories  int
	memory    [2]uint32 // pages: the least, and the declared greatest
	tables    []uint32  // elements of each
	manifest  *Manifest // nil: none

	refusals []Refusal // in the order found
}

type export struct {
	kind  byte // 0 function, 1 table, 2 memory, 3 global
	index uint32
}

// Refusal is a reason why a host would refuse a module, with what to do about it.
type Refusal struct {
	Key  string // of the module's config, where it can be mended: grant, tables or memory; empty: the module itself
	Text string
}

// refuse notes a reason to refuse the module, with what to do about it.
func (s *shape) refuse(format string, args ...any) { s.refuseFor("", format, args...) }

// refuseFor is refuse for what a key of the module's config can mend.
func (s *shape) refuseFor(key, format string, args ...any) {
	if len(s.refusals) < 64 {
		s.refusals = append(s.refusals, Refusal{key, fmt.Sprintf(format, args...)})
	}
}

// refused returns the first reason to refuse the module, or nil.
func (s *shape) refused() error {
	if len(s.refusals) == 0 {
		return nil
	}
	return errors.New(s.refusals[0].Text)
}

// examine reads everything but the code and notes all that the ABI, or the
// module's config, forbids.
func examine(code []byte, list []section, o *Options) *shape {
	s := &shape{exports: map[string]export{}}
	for _, sec := range list {
		r := &reader{p: sec.body}
		s.readSection(sec.id, r, o)
		if r.err == nil && r.at < len(r.p) {
			r.err = errors.New("has bytes after its last element")
		}
		if r.err != nil {
			s.refuse("is malformed: the %s section %v", sectionName(sec.id), r.err)
		}
	}
	s.bound("functions", len(s.functions), maxFunctions)
	s.checkABI()
	s.checkServices(code, o)
	return s
}

// bound refuses more than most of something.
func (s *shape) bound(what string, n, most int) bool {
	if n > most {
		s.refuse("has %d %s, more than the limit of %d", n, what, most)
	}
	return n <= most
}

func (s *shape) readSection(id byte, r *reader, o *Options) {
	switch id {
	case secType:
		s.readTypes(r)
	case secImport:
		s.readImports(r)
	case secFunction:
		for range r.count() {
			s.functions = append(s.functions, r.u32())
		}
	case secTable:
		s.readTables(r)
	case secMemory:
		s.readMemory(r, o.Memory)
	case secGlobal:
		s.globals = r.count() // the rest is read when it is rewritten
		s.bound("globals", s.globals, maxGlobals)
		r.at = len(r.p)
	case secExport:
		s.readExports(r)
	case secStart:
		s.refuse("has a start section, which would run before it can be bounded; build it as a reactor (-buildmode=c-shared, --no-entry)")
		r.at = len(r.p)
	case secElement:
		s.bound("element segments", r.count(), maxElements)
		r.at = len(r.p)
	case secData:
		s.data = len(r.p)
		s.bound("data segments", r.count(), maxData)
		r.at = len(r.p)
	case secCode:
		s.code = len(r.p)
		r.at = len(r.p)
	default:
		r.at = len(r.p)
	}
}

func (s *shape) readTypes(r *reader) {
	n := r.count()
	if !s.bound("function types", n, maxTypes) {
		r.at = len(r.p)
		return
	}
	for range n {
		if r.byte() != 0x60 {
			r.fail()
			return
		}
		params := string(r.bytes(r.count()))
		s.types = append(s.types, signature{params, string(r.bytes(r.count()))})
		if last := s.types[len(s.types)-1]; len(last.params) > maxParams || len(last.results) > maxResults {
			s.refuse("has a function type of %d parameters and %d results, more than the limit of %d and %d", len(last.params), len(last.results), maxParams, maxResults)
		}
	}
}

func (s *shape) readImports(r *reader) {
	n := r.count()
	if !s.bound("imports", n, maxImports) {
		r.at = len(r.p)
		return
	}
	for range n {
		module, name := r.name(), r.name()
		kind := r.byte()
		if r.err != nil {
			return
		}
		if kind != 0 {
			s.refuse("imports %q.%q, which is not a function; a guest brings its own memory, tables and globals", module, name)
			r.at = len(r.p) // what follows depends on the kind
			return
		}
		s.imports = append(s.imports, r.u32())
		s.names = append(s.names, [2]string{module, name})
		if why := forbidden(module, name); why != "" {
			s.refuse("%s", why)
			continue
		}
		if module == wasiModule && !slices.Contains(s.wasi, name) {
			s.wasi = append(s.wasi, name)
		}
		if module == fuelModule && !slices.Contains(s.services, name) {
			s.services = append(s.services, name)
		}
	}
}

// forbidden says why an import is refused whatever is granted, or nothing.
func forbidden(module, name string) string {
	switch module {
	case fuelModule:
		if s, known := services[name]; !known {
			return fmt.Sprintf("imports runnel.%s, which ABI v1 does not have", name)
		} else if s.call == nil {
			return fmt.Sprintf("imports runnel.%s, a host service that this host does not offer (ABI §5)", name)
		}
		return ""
	case wasiModule:
		if _, ok := wasiSignatures[name]; !ok {
			return fmt.Sprintf("imports %s.%s, which WASI preview 1 does not have", module, name)
		}
		return ""
	case "gojs", "go":
		return fmt.Sprintf("imports %q.%q: it was built for a browser; build it with GOOS=wasip1", module, name)
	case "env":
		return fmt.Sprintf("imports env.%s: a function was declared but not linked; a guest may import from \"runnel\" and %q only", name, wasiModule)
	}
	return fmt.Sprintf("imports %q.%q; a guest may import from \"runnel\" and %q only", module, name, wasiModule)
}

func (s *shape) readTables(r *reader) {
	n := r.count()
	if !s.bound("tables", n, maxTables) {
		r.at = len(r.p)
		return
	}
	for range n {
		r.byte()                  // element type; the compiler checks it
		_, least, _ := r.limits() // table.grow is refused, so the greatest size does not matter
		if least > maxTable {
			s.refuse("has a table of %d elements, more than the limit of %d", least, maxTable)
		}
		s.tables = append(s.tables, least)
	}
}

func (s *shape) readMemory(r *reader, limit int64) {
	for range r.count() {
		flags, least, most := r.limits()
		switch {
		case r.err != nil:
			return
		case flags > 1:
			s.refuse("has a shared or 64-bit memory; build it without threads, for wasm32")
		case int64(least)*pageSize > limit:
			s.refuseFor("memory", "needs %s of memory to begin with, more than its limit of %s; raise memory in its config", mebibytes(int64(least)*pageSize), mebibytes(limit))
		case flags == 1 && int64(most)*pageSize > limit:
			s.refuseFor("memory", "declares up to %s of memory, more than its limit of %s; raise memory in its config or link it with a lower maximum", mebibytes(int64(most)*pageSize), mebibytes(limit))
		}
		s.memories++
		s.memory = [2]uint32{least, most}
	}
}

func mebibytes(n int64) string {
	if n%(1<<20) != 0 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func (s *shape) readExports(r *reader) {
	n := r.count()
	if !s.bound("exports", n, maxExports) {
		r.at = len(r.p)
		return
	}
	for range n {
		name := r.name()
		if len(name) > maxName {
			s.refuse("exports a name of %d bytes, more than the limit of %d", len(name), maxName)
		}
		s.exports[name] = export{r.byte(), r.u32()}
		s.order = append(s.order, name)
	}
}

// abiExports are the functions of ABI §2.1 that the host calls.
var abiExports = [...]struct {
	name string
	sig  signature
	text string
	must bool
}{
	{"runnel_alloc", signature{"\x7f", "\x7f"}, "(i32) → i32", true},
	{"runnel_init", signature{"\x7f\x7f", "\x7f"}, "(i32, i32) → i32", true},
	{"runnel_process", signature{"\x7f\x7f", "\x7e"}, "(i32, i32) → i64", true},
	{"_initialize", signature{}, "() → ()", false},
	{"runnel_tick", signature{"\x7e", "\x7e"}, "(i64) → i64", false},
	{"runnel_flush", signature{"", "\x7e"}, "() → i64", false},
}

// checkABI checks the exports that ABI §2 demands.
func (s *shape) checkABI() {
	_, program := s.exports["_start"]
	_, reactor := s.exports["_initialize"]
	speaks, ok := s.exports["runnel_abi_v1"]
	if !ok {
		s.refuse("%s", s.foreign(program))
		return // what else is missing would be said of a module that is not meant for us
	}
	if speaks.kind != 0 {
		s.refuse("exports runnel_abi_v1, but not as a function (ABI §2.1)")
	}
	if program && !reactor {
		s.refuse("is a program, not a reactor: it exports _start; build it with -buildmode=c-shared (Go), --no-entry (clang) or crate-type cdylib (Rust)")
	}
	if s.memories != 1 {
		s.refuse("has %d memories; a guest has exactly one (ABI §2.1)", s.memories)
	}
	if e, ok := s.exports["memory"]; !ok || e.kind != 2 {
		s.refuse("does not export its memory as \"memory\" (ABI §2.1)")
	}
	for _, want := range abiExports {
		e, ok := s.exports[want.name]
		if !ok {
			if want.must {
				s.refuse("speaks runnel_abi_v1 but does not export %s; it exports %s (ABI §2.1)", want.name, list(s.order))
			}
			continue
		}
		if got, ok := s.signatureOf(e); !ok || got != want.sig {
			s.refuse("exports %s, but not as a function %s (ABI §2.1)", want.name, want.text)
		}
	}
}

// foreign says what a module is that does not speak this ABI.
func (s *shape) foreign(program bool) string {
	if i := slices.IndexFunc(s.order, func(n string) bool { return strings.HasPrefix(n, "runnel_abi_") }); i >= 0 {
		return fmt.Sprintf("speaks %s; this host speaks runnel_abi_v1; build it with the SDK of this version", s.order[i])
	}
	if program {
		return fmt.Sprintf("is a program, not a reactor: it exports %s but not runnel_abi_v1; build it with -buildmode=c-shared (Go), --no-entry (clang) or crate-type cdylib (Rust), with the SDK", list(s.order))
	}
	return fmt.Sprintf("is not a runnel module: it exports %s but not runnel_abi_v1; build it with a guest SDK (guest-sdk/ABI.md §2)", list(s.order))
}

// checkServices checks the services the module imports against its manifest and
// what the config grants.
func (s *shape) checkServices(code []byte, o *Options) {
	var err error
	if s.manifest, err = readManifest(code); err != nil {
		s.refuse("%v", err)
	}
	var unlisted, denied, lookup wanting
	for _, name := range s.services {
		need := services[name].need
		if need == "" {
			continue
		}
		if s.manifest != nil && !slices.Contains(s.manifest.Needs, need) {
			unlisted.add(name, need)
		}
		switch {
		case o.grants(need):
		case need == needLookup:
			lookup.add(name, need)
		default:
			denied.add(name, need)
		}
	}
	if len(unlisted.needs) > 0 {
		s.refuse("%s, but its manifest does not list that; write needs: [%s] in its module.yaml and build it again",
			unlisted, strings.Join(slices.Concat(s.manifest.Needs, unlisted.needs), ", "))
	}
	if len(denied.needs) > 0 {
		s.refuseFor("grant", "%s; %s", denied, howToGrant(o, denied.needs))
	}
	if len(lookup.needs) > 0 {
		s.refuseFor("tables", "%s; write tables: {NAME: {file: FILE}} in the module's config, of the tables it may look into", lookup)
	}
}

// wanting are needs that are not met, each with the first service that has it.
type wanting struct{ services, needs []string }

func (w *wanting) add(service, need string) {
	if !slices.Contains(w.needs, need) {
		w.services, w.needs = append(w.services, fuelModule+"."+service), append(w.needs, need)
	}
}

// String says what is imported, and what that needs.
func (w wanting) String() string {
	verb := "needs"
	if len(w.needs) > 1 {
		verb = "need"
	}
	return fmt.Sprintf("imports %s, which %s %s", and(w.services), verb, and(w.needs))
}

func and(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// needs lists what the services need that the module imports, each once.
func (s *shape) needs() []string {
	var needs []string
	for _, name := range s.services {
		needs = appendNeed(needs, services[name].need)
	}
	return needs
}

// ordered reports whether the module is ordered (ABI §1.3).
func (s *shape) ordered() bool {
	_, tick := s.exports["runnel_tick"]
	_, flush := s.exports["runnel_flush"]
	return tick || flush || slices.Contains(s.needs(), needState)
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
