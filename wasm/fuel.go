package wasm

import (
	"errors"
	"fmt"
)

// The rewriter gives a module a counter, its fuel, that is charged at function
// entries, at loop heads and by bulk memory operations, and that calls the host
// when it is used up. Native code cannot be interrupted by the Go scheduler, and
// so a guest that ran on would hold up the collector, and with it the whole
// agent; a call of the host is where it yields, and where it is stopped.
// docs/rationale.md "Why is a module rewritten at load?" has the alternatives.
//
// What is inserted is neutral to the operand stack and closed in itself, so an
// invalid module stays invalid, and the engine's validator still sees it.

// quantum is the fuel between two calls of the host. A unit is about 32
// instructions at most, so this is at most about 2 M instructions.
const quantum = 1 << 16

// unit is how many instructions, or 64-byte lines of memory, cost one more.
const unit = 32

// The import the rewriter adds.
const (
	fuelModule = "runnel"
	fuelName   = "fuel"
)

type rewriter struct {
	*shape
	fuel  uint32 // index of the global
	yield uint32 // index of the imported function
	edits []edit // of the function at hand, in order
	pays  []int  // for each open block, the edit that pays for what is in it
}

// edit is one change to a function's body.
type edit struct {
	at   int  // where in the body
	skip int  // how many bytes it takes the place of
	kind byte // what comes in
	n    uint32
}

const (
	editNone  = 0
	editCheck = 'c' // charge n instructions
	editBulk  = 'b' // charge the length on top of the stack
	editIndex = 'i' // write n in place of the number that is there
)

// rewrite returns the module with fuel. The same module gives the same bytes,
// which is what makes them the key of the cache of compiled code.
func rewrite(list []section, s *shape) ([]byte, error) {
	w := &rewriter{shape: s, fuel: uint32(s.globals), yield: uint32(len(s.imports))}
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
		b = appendU32(b, uint32(n))
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
	b = appendU32(b, uint32(n))
	var body []byte
	for i := range n {
		raw := r.bytes(int(r.u32()))
		if r.err != nil {
			return b, nil
		}
		var err error
		if body, err = w.body(body[:0], raw, i); err != nil {
			return nil, err
		}
		b = append(appendU32(b, uint32(len(body))), body...)
	}
	return b, nil
}

// body rewrites one function.
func (w *rewriter) body(b, raw []byte, index int) ([]byte, error) {
	r := &reader{p: raw}
	groups := r.count()
	afterCount := r.at
	locals := uint64(0)
	for range groups {
		locals += uint64(r.u32())
		r.byte()
	}
	if locals > maxLocals {
		return nil, fmt.Errorf("function %d has %d local variables, more than the limit of %d", index, locals, maxLocals)
	}
	begin := r.at
	bulk, err := w.scan(r)
	if err == nil && r.err != nil {
		err = fmt.Errorf("is malformed: function %d %w", index, r.err)
	}
	if err != nil {
		return nil, err
	}
	spare := uint32(locals) + w.params(index)
	if bulk { // a variable of our own, to look at the length a bulk operation takes
		b = append(appendU32(b, uint32(groups)+1), raw[afterCount:begin]...)
		b = append(b, 1, typeI32)
	} else {
		b = append(b, raw[:begin]...)
	}
	at := begin
	for _, e := range w.edits {
		b = append(b, raw[at:e.at]...)
		at = e.at + e.skip
		switch e.kind {
		case editIndex:
			b = appendU32(b, e.n)
		case editCheck:
			b = w.check(b, e.n)
		case editBulk:
			b = w.checkBulk(b, spare)
		}
	}
	return append(b, raw[at:]...), nil
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
// 64 bytes a unit; the length stays there.
func (w *rewriter) checkBulk(b []byte, spare uint32) []byte {
	b = appendU32(append(b, opLocalTee), spare)
	b = appendU32(append(b, opGlobalGet), w.fuel)
	b = appendU32(append(b, opLocalGet), spare)
	b = append(b, opI32Const, 6, opI32ShrU, opI32Sub)
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

// smallLeaf is the size in bytes of a function without calls and loops that is
// left uncounted; its caller pays for the call.
const smallLeaf = 64

// scan reads a function's instructions, fills w.edits, and reports whether it
// uses bulk memory operations. A loop or a function costs the instructions in it
// outside any loop within: no turn runs more.
func (w *rewriter) scan(r *reader) (bulk bool, err error) {
	begin := r.at
	w.edits = append(w.edits[:0], edit{at: begin, kind: editCheck})
	w.pays = append(w.pays[:0], 0)
	charge := 0      // the edit that pays for what is read now
	straight := true // nothing but plain instructions so far
	entered := 0     // a loop that is surely entered; it pays for the function's entry too
	calls, loops := 0, 0
	for len(w.pays) > 0 {
		if !r.more() {
			r.fail()
			return bulk, nil
		}
		at := r.at
		op := r.byte()
		w.edits[charge].n++
		switch op {
		case opLoop:
			r.signed(5)
			loops++
			w.edits = append(w.edits, edit{at: r.at, kind: editCheck})
			charge = len(w.edits) - 1
			w.pays = append(w.pays, charge)
			if straight {
				entered, straight = charge, false
			}
		case opBlock, opIf:
			r.signed(5)
			straight = false
			w.pays = append(w.pays, charge)
		case opEnd:
			w.pays = w.pays[:len(w.pays)-1]
			if n := len(w.pays); n > 0 {
				charge = w.pays[n-1]
			}
		case opCall, opRefFunc:
			if op == opCall {
				calls++
				straight = false
			}
			from := r.at
			index := r.u32()
			if int64(index) >= int64(len(w.imports)+len(w.functions)) && r.err == nil {
				return bulk, fmt.Errorf("is malformed: it calls function %d of %d", index, len(w.imports)+len(w.functions))
			}
			if n := w.function(index); n != index {
				w.edits = append(w.edits, edit{from, r.at - from, editIndex, n})
			}
		case opGlobalGet, opGlobalSet:
			if index := r.u32(); int64(index) >= int64(w.globals) && r.err == nil {
				return bulk, fmt.Errorf("is malformed: it uses global %d of %d", index, w.globals)
			}
		case opPrefix:
			sub, err := r.prefixed()
			if err != nil {
				return bulk, err
			}
			if sub == bulkMemoryInit || sub == bulkMemoryCopy || sub == bulkMemoryFill {
				bulk = true
				w.edits = append(w.edits, edit{at: at, kind: editBulk})
			} else if sub >= 12 && sub != 13 && sub != 16 { // table.init, copy, fill: up to maxTable elements
				w.edits[charge].n += maxTable / 8
			}
		default:
			if op == opCallIndirect {
				calls++
			}
			if op >= opBr && op <= opCallIndirect || op == 0x05 || op == 0x00 {
				straight = false
			}
			if err := r.immediates(op); err != nil {
				return bulk, err
			}
		}
	}
	if r.at < len(r.p) && r.err == nil {
		r.err = errors.New("has bytes after its end")
	}
	switch {
	case entered > 0:
		w.edits[entered].n += w.edits[0].n
		w.edits[0].kind = editNone
	case calls == 0 && loops == 0 && !bulk && r.at-begin <= smallLeaf:
		w.edits[0].kind = editNone
	}
	return bulk, nil
}
