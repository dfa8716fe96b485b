package wasm

import (
	"errors"
	"fmt"
	"slices"
)

// The rewriter gives a module a counter, its fuel, that is charged where a
// function begins, where a loop turns and by bulk memory operations (cost.go
// says how much and by whom), and that calls the host when it is used up.
// Native code cannot be interrupted by the Go scheduler, and so a guest that ran
// on would hold up the collector, and with it the whole agent; a call of the host
// is where it yields, and where it is stopped.
// docs/rationale.md "Why is a module rewritten at load?" has the alternatives.
//
// What is inserted is neutral to the operand stack and closed in itself, so an
// invalid module stays invalid, and the engine's validator still sees it.

// quantum is the fuel between two calls of the host. A unit is at most about 32
// instructions, 32 bytes of stack or 8 bytes of memory copied, so this is at most
// some 1 M instructions, 1 MiB of stack and 256 KiB copied: ten microseconds of
// what guests usually do, and a few milliseconds of the slowest there is, loads
// from nowhere near (BenchmarkQuantum).
const quantum = 1 << 15

// unit is how many instructions cost one more.
const unit = 32

// The import the rewriter adds.
const (
	fuelModule = "runnel"
	fuelName   = "fuel"
)

// The export by which the host sets and reads what is left. No compiler makes
// such a name, and a module that has it is refused as exporting it twice.
const fuelExport = "runnel fuel"

type rewriter struct {
	*shape
	fuel     uint32 // index of the global
	yield    uint32 // index of the imported function
	bodies   []body
	edits    []edit    // of all functions, in order
	turns    []turn    // of all functions
	open     []open    // while scanning a function
	last     recent    // while scanning a function
	sums     []uint64  // scratch of sumUp
	burden   burden    // on the compiler
	seen     [256]bool // instructions
	prefixed [18]bool  // instructions behind 0xfc
	wrong    []error   // with functions, each kind once
}

// edit is one change to a function's body.
type edit struct {
	at   uint32 // where in the body
	n    uint32
	skip uint8 // how many bytes it takes the place of
	kind byte  // what comes in
}

const (
	editTurn  = 't' // charge turn n
	editBulk  = 'b' // charge the length on top of the stack
	editCall  = 'c' // write n in place of the function called there
	editIndex = 'i' // write n in place of the function named there
)

// rewrite returns the module with fuel. The same module gives the same bytes,
// which is what makes them the key of the cache of compiled code.
func rewrite(list []section, s *shape) ([]byte, error) {
	return newRewriter(s).module(list)
}

func newRewriter(s *shape) *rewriter {
	return &rewriter{shape: s, fuel: uint32(s.globals), yield: uint32(len(s.imports))}
}

// module returns the module with fuel, or the first of what is wrong with it.
func (w *rewriter) module(list []section) ([]byte, error) {
	size := 256
	for _, sec := range list {
		size += len(sec.body) + len(sec.body)/4
	}
	out := append(make([]byte, 0, size), "\x00asm\x01\x00\x00\x00"...)
	done := 0
	for _, sec := range list {
		out = w.missing(out, &done, place(sec.id))
		r := &reader{p: sec.body}
		body, err := w.section(sec.id, r)
		if err == nil && r.err == nil && r.at < len(r.p) && sec.id != secData {
			r.err = errors.New("has bytes after its last element")
		}
		if err == nil && r.err != nil {
			err = fmt.Errorf("is malformed: the %s section %w", sectionName(sec.id), r.err)
		}
		if err != nil {
			return nil, err
		}
		out = appendSection(out, sec.id, body)
		done = place(sec.id)
	}
	return out, nil
}

// missing writes the sections the rewriter adds to where the module has none.
func (w *rewriter) missing(out []byte, done *int, before int) []byte {
	for _, id := range []byte{secImport, secGlobal} {
		if *done < place(id) && before > place(id) {
			body, _ := w.section(id, &reader{p: []byte{0}})
			out = appendSection(out, id, body)
			*done = place(id)
		}
	}
	return out
}

func (w *rewriter) section(id byte, r *reader) ([]byte, error) {
	b := make([]byte, 0, len(r.p)+len(r.p)/4+64)
	switch id {
	case secType:
		b = appendU32(b, r.u32()+1)
		b = append(b, r.bytes(len(r.p)-r.at)...)
		return append(b, 0x60, 0, 1, typeI32), nil
	case secImport:
		b = appendU32(b, r.u32()+1)
		b = append(b, r.bytes(len(r.p)-r.at)...)
		b = appendName(appendName(b, fuelModule), fuelName)
		return appendU32(append(b, 0), uint32(len(w.types))), nil
	case secGlobal:
		n := r.u32()
		b = appendU32(b, n+1)
		for range n {
			b = append(b, r.bytes(2)...)
			b = w.constant(b, r)
		}
		b = append(b, typeI32, 1, opI32Const)
		return append(appendS32(b, quantum), opEnd), nil
	case secExport:
		n := r.count()
		b = appendU32(b, uint32(n+1))
		b = appendU32(append(appendName(b, fuelExport), 3), w.fuel)
		for range n {
			b = appendName(b, r.name())
			kind, index := r.byte(), r.u32()
			if kind == 0 {
				index = w.function(index)
			}
			b = appendU32(append(b, kind), index)
		}
		return b, nil
	case secElement:
		return w.elements(b, r), nil
	case secCode:
		return w.code(b, r)
	}
	r.at = len(r.p)
	return r.p, nil
}

// function renumbers a function: the added import shifts the module's own.
func (w *rewriter) function(index uint32) uint32 {
	if index >= w.yield {
		return index + 1
	}
	return index
}

// constant copies a constant expression with its functions renumbered (§3.3.10).
func (w *rewriter) constant(b []byte, r *reader) []byte {
	for r.err == nil {
		from := r.at
		op := r.byte()
		switch op {
		case opRefFunc:
			b = appendU32(append(b, op), w.function(r.u32()))
			continue
		case opGlobalGet:
			r.u32()
		default:
			if err := r.immediates(op); err != nil && r.err == nil {
				r.err = err
			}
		}
		b = append(b, r.p[from:r.at]...)
		if op == opEnd {
			break
		}
	}
	return b
}

// elements copies the element segments of every form with their functions
// renumbered (§5.5.12).
func (w *rewriter) elements(b []byte, r *reader) []byte {
	n := r.count()
	b = appendU32(b, uint32(n))
	for range n {
		form := r.u32()
		if form > 7 {
			r.fail()
			return b
		}
		b = appendU32(b, form)
		if form&1 == 0 { // active
			if form&2 != 0 {
				b = appendU32(b, r.u32())
			}
			b = w.constant(b, r)
		}
		if form&3 != 0 {
			b = append(b, r.byte()) // element kind or type
		}
		count := r.count()
		b = appendU32(b, uint32(count))
		for range count {
			if form&4 != 0 {
				b = w.constant(b, r)
			} else {
				b = appendU32(b, w.function(r.u32()))
			}
		}
	}
	return b
}

func (w *rewriter) code(b []byte, r *reader) ([]byte, error) {
	if len(r.p) > maxCode {
		return nil, fmt.Errorf("has %d bytes of code, more than the limit of %d; strip it or leave out what it does not need", len(r.p), maxCode)
	}
	n := r.count()
	if n != len(w.functions) {
		return nil, fmt.Errorf("is malformed: it declares %d functions and holds %d", len(w.functions), n)
	}
	w.bodies = make([]body, n)
	w.edits, w.turns = make([]edit, 0, len(r.p)/64), make([]turn, 0, len(r.p)/512)
	for i := range n {
		raw := r.bytes(int(r.u32()))
		if r.err != nil {
			return b, nil
		}
		if err := w.read(&w.bodies[i], raw, i); err != nil {
			w.note(err)
		}
	}
	if err := w.burden.check(); err != nil {
		w.note(err)
	}
	if len(w.wrong) > 0 {
		return nil, w.wrong[0]
	}
	w.share()
	b = appendU32(b, uint32(n))
	var rewritten []byte
	for i := range w.bodies {
		rewritten = w.body(rewritten[:0], &w.bodies[i])
		b = append(appendU32(b, uint32(len(rewritten))), rewritten...)
	}
	return b, nil
}

// note keeps what is wrong with a function; the others are read all the same, so
// that all can be told at once.
func (w *rewriter) note(err error) {
	same := func(other error) bool { return other.Error() == err.Error() }
	if len(w.wrong) < 16 && !slices.ContainsFunc(w.wrong, same) {
		w.wrong = append(w.wrong, err)
	}
}

// body writes one function with its edits.
func (w *rewriter) body(b []byte, f *body) []byte {
	if f.bulk { // a variable of our own, to look at the length a bulk operation takes
		r := &reader{p: f.raw}
		b = appendU32(b, r.u32()+1)
		b = append(b, f.raw[r.at:f.begin]...)
		b = append(b, 1, typeI32)
	} else {
		b = append(b, f.raw[:f.begin]...)
	}
	if f.pays {
		b = w.check(b, f.total)
	}
	edits := w.edits[f.edits:f.editsEnd]
	sums := w.sumUp(edits)
	at := uint32(f.begin)
	for _, e := range edits {
		b = append(b, f.raw[at:e.at]...)
		at = e.at + uint32(e.skip)
		switch e.kind {
		case editIndex, editCall:
			b = appendU32(b, e.n)
		case editTurn:
			t := &w.turns[e.n]
			calls := sums[t.editsEnd-f.edits] - sums[t.edits-f.edits]
			b = w.check(b, uint32(min(uint64(t.cost)+calls, maxCost)))
		case editBulk:
			b = w.checkBulk(b, f.locals)
		}
	}
	return append(b, f.raw[at:]...)
}

// params returns how many parameters a function of the module's own has.
func (w *rewriter) params(index int) uint32 {
	of := w.functions[index]
	if int(of) >= len(w.types) {
		return 0 // the validator refuses it
	}
	return uint32(len(w.types[of].params))
}

// check appends: fuel -= cost; if fuel < 0 { fuel = yield() }.
func (w *rewriter) check(b []byte, instructions uint32) []byte {
	b = appendU32(append(b, opGlobalGet), w.fuel)
	b = appendS32(append(b, opI32Const), int32(1+instructions/unit))
	b = append(b, opI32Sub)
	return w.test(b)
}

// checkBulk appends the same at the cost of the length on top of the stack,
// 8 bytes a unit; the length stays there.
func (w *rewriter) checkBulk(b []byte, spare uint32) []byte {
	b = appendU32(append(b, opLocalTee), spare)
	b = appendU32(append(b, opGlobalGet), w.fuel)
	b = appendU32(append(b, opLocalGet), spare)
	b = append(b, opI32Const, 3, opI32ShrU, opI32Sub)
	b = append(b, opI32Const, 1, opI32Sub)
	return w.test(b)
}

// test appends the second half: store what is on the stack as fuel, and ask the
// host for more once it is below zero.
func (w *rewriter) test(b []byte) []byte {
	b = appendU32(append(b, opGlobalSet), w.fuel)
	b = appendU32(append(b, opGlobalGet), w.fuel)
	b = append(b, opI32Const, 0, opI32LtS, opIf, voidBlock)
	b = appendU32(append(b, opCall), w.yield)
	b = appendU32(append(b, opGlobalSet), w.fuel)
	return append(b, opEnd)
}
