package wasm

import (
	"errors"
	"fmt"
)

// What a guest does is charged so that no more than a bound is done between two
// charges, and as seldom as that allows, since a charge costs as much as four
// instructions. A function is paid for when it begins, all its instructions at
// once: by itself, or, if it costs little and cannot come back to itself, by
// whoever calls it. A jump back is paid for where it is made, with what lies
// between here and there. A jump ahead costs nothing. No path through a function
// runs more instructions than that: go through it as along a ruler.

// freeCost is the cost up to which a function is paid for by its callers. A call
// through a table costs as much beside, since it may be of any function.
const freeCost = 2048

// heavyCost is the cost beyond which a function does not pay for those it calls,
// which then do so themselves: between two charges there would be too much.
const heavyCost = 1 << 19

// maxCost bounds one charge, far above the fuel there ever is.
const maxCost = 1 << 26

// body is one function of the module's own.
type body struct {
	raw             []byte
	begin           int    // where its instructions do, in raw
	locals          uint32 // and parameters
	blocks, loops   uint32
	jumps           uint32 // what else the compiler makes blocks of
	cost            uint32 // of running every instruction once, and of its frame
	total           uint32 // the same with the functions it pays for
	edits, editsEnd uint32
	bulk            bool // it uses bulk memory operations
	pays            bool // for itself, at its entry
	state           uint8
}

// turn is a jump back: the instructions it goes over, calls not included, and
// the edits among them.
type turn struct {
	cost            uint32
	edits, editsEnd uint32
}

// open is a block, loop or if whose end has not been read.
type open struct {
	loop     bool
	here     mark      // where a jump to a loop goes
	switched *switched // the loop as a switch, or the one whose case ends with this block
	nth      int       // in the latter case: which block
}

// mark is a place in a function: what was read before it.
type mark struct{ cost, edits uint32 }

// read reads a function and notes what is to be changed in it.
func (w *rewriter) read(f *body, raw []byte, index int) error {
	r := &reader{p: raw}
	if len(raw) > maxBody {
		return fmt.Errorf("function %d has %d bytes of code, more than the limit of %d; split it", index, len(raw), maxBody)
	}
	locals := uint64(0)
	for range r.count() {
		locals += uint64(r.u32())
		r.byte()
	}
	if locals > maxLocals {
		return fmt.Errorf("function %d has %d local variables, more than the limit of %d", index, locals, maxLocals)
	}
	f.raw, f.begin, f.locals = raw, r.at, uint32(locals)+w.params(index)
	f.cost = 2*unit + unit*8/32*f.locals // the frame, at 32 bytes a unit: a guest that recurses pays for stack
	f.edits = uint32(len(w.edits))
	err := w.scan(f, r)
	f.editsEnd = uint32(len(w.edits))
	if err == nil && r.err == nil {
		err = w.weigh(f, index)
	}
	if err == nil && r.err == nil && r.at < len(r.p) {
		r.err = errors.New("has bytes after its end")
	}
	if err == nil && r.err != nil {
		err = fmt.Errorf("is malformed: function %d %w", index, r.err)
	}
	return err
}

// scan reads a function's instructions.
func (w *rewriter) scan(f *body, r *reader) error {
	w.open = append(w.open[:0], open{})
	w.last = recent{}
	for len(w.open) > 0 {
		if !r.more() {
			r.fail()
			return nil
		}
		at := r.at
		op := r.byte()
		w.seen[op] = true
		f.cost++
		here := mark{f.cost, uint32(len(w.edits))}
		switch op {
		case opLoop:
			r.signed(5)
			f.blocks++
			f.loops++
			w.open = append(w.open, open{loop: true, here: here})
			w.last.loop(len(w.open) - 1)
		case opBlock, opIf:
			r.signed(5)
			f.blocks++
			w.open = append(w.open, open{})
			w.last.block(op)
		case opEnd:
			if o := &w.open[len(w.open)-1]; o.switched != nil && !o.loop {
				o.switched.ends[o.nth] = here
			}
			w.open = w.open[:len(w.open)-1]
			w.last = recent{}
		case opBr, opBrIf:
			if op == opBrIf {
				f.jumps++
			}
			if w.jump(op, at, here, r.u32()) {
				f.jumps += turnJumps
			}
			w.last = recent{}
		case opBrTable:
			if w.table(at, here, r) {
				f.jumps += turnJumps
			}
			w.last = recent{}
		default:
			if err := w.other(f, r, op, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// label returns which of the open blocks a label names; -1, which the validator
// refuses, if none.
func (w *rewriter) label(n uint32) int { return max(-1, len(w.open)-1-int(n)) }

// jump notes what a branch costs if it goes back, and reports whether it does.
func (w *rewriter) jump(op byte, at int, here mark, label uint32) bool {
	i := w.label(label)
	if i < 0 || !w.open[i].loop {
		return false
	}
	to := w.open[i].here
	if s := w.open[i].switched; s != nil && op == opBr {
		if end, ahead := s.where(&w.last); ahead {
			return false
		} else if end.cost > 0 {
			to = end
		}
	}
	w.back(at, to, here)
	return true
}

// back notes that the instruction at at may jump back from here to there.
func (w *rewriter) back(at int, to, here mark) {
	w.edits = append(w.edits, edit{at: uint32(at), kind: editTurn, n: uint32(len(w.turns))})
	w.turns = append(w.turns, turn{here.cost - to.cost, to.edits, here.edits})
}

// table notes what a branch table costs if any of its targets is a loop, the
// outermost of which is farthest back, which it reports; and whether it makes a
// loop a switch.
func (w *rewriter) table(at int, here mark, r *reader) bool {
	var s *switched
	if w.last.state == lastRead {
		s = &switched{loop: w.last.at, local: w.last.value, ends: make([]mark, len(w.open)-1-w.last.at)}
	}
	outermost := len(w.open)
	n := r.count()
	w.burden.labels += n
	for range n + 1 {
		i := w.label(r.u32())
		if i >= 0 && w.open[i].loop {
			outermost = min(outermost, i)
		}
		if s != nil {
			s.targets = append(s.targets, i)
		}
	}
	if outermost < len(w.open) {
		w.back(at, w.open[outermost].here, here)
	}
	if s != nil {
		w.open[s.loop].switched = s
		for i := range s.ends {
			w.open[s.loop+1+i].switched, w.open[s.loop+1+i].nth = s, i
		}
	}
	return outermost < len(w.open)
}

// other reads the instructions that do not shape the flow within a function.
func (w *rewriter) other(f *body, r *reader, op byte, at int) error {
	switch op {
	case opI32Const:
		w.last.constant(r.s32())
		return nil
	case opLocalGet:
		w.last.get(r.u32())
		return nil
	case opLocalSet:
		w.last.set(r.u32())
		return nil
	}
	w.last = recent{}
	switch op {
	case opCall, opRefFunc:
		from := r.at
		index := r.u32()
		if int64(index) >= int64(len(w.imports)+len(w.functions)) && r.err == nil {
			return fmt.Errorf("is malformed: it calls function %d of %d", index, len(w.imports)+len(w.functions))
		}
		w.burden.operands += 1 + w.operands(index)
		if n := w.function(index); n != index {
			kind := byte(editCall)
			if op == opRefFunc {
				kind = editIndex
			}
			w.edits = append(w.edits, edit{at: uint32(from), skip: uint8(r.at - from), kind: kind, n: n})
		}
	case opCallIndirect:
		w.burden.operands += 1 + w.arity(r.u32())
		r.u32()
		f.jumps += indirectJumps
		f.cost += freeCost
		f.pays = true // it may be calling itself
	case opGlobalGet, opGlobalSet:
		if index := r.u32(); int64(index) >= int64(w.globals) && r.err == nil {
			return fmt.Errorf("is malformed: it uses global %d of %d", index, w.globals)
		}
	case opPrefix:
		sub, err := r.prefixed()
		if err != nil {
			return err
		}
		w.prefixed[sub] = true
		if sub >= bulkMemoryInit {
			f.jumps += bulkJumps
		}
		if sub == bulkMemoryInit || sub == bulkMemoryCopy || sub == bulkMemoryFill {
			f.bulk = true
			w.edits = append(w.edits, edit{at: uint32(at), kind: editBulk})
		} else if sub >= 12 && sub != 13 && sub != 16 { // table.init, copy, fill: up to maxTable elements
			f.cost += 4 * maxTable
		}
	case opMemoryGrow: // by way of the host
		f.jumps++
		f.cost += 16 * unit
		return r.immediates(op)
	default:
		f.cost += uint32(slow[op])
		return r.immediates(op)
	}
	return nil
}

// slow is what instructions cost beyond one, where they take several times as
// long as most: a load may wait for memory, the others for the arithmetic unit.
var slow = [256]uint8{
	0x28: 3, 0x29: 3, 0x2a: 3, 0x2b: 3, 0x2c: 3, 0x2d: 3, 0x2e: 3, 0x2f: 3, // loads
	0x30: 3, 0x31: 3, 0x32: 3, 0x33: 3, 0x34: 3, 0x35: 3,
	0x36: 1, 0x37: 1, 0x38: 1, 0x39: 1, 0x3a: 1, 0x3b: 1, 0x3c: 1, 0x3d: 1, 0x3e: 1, // stores
	0x6c: 2, 0x7e: 2, // integer multiplications, divisions and remainders
	0x6d: 15, 0x6e: 15, 0x6f: 15, 0x70: 15, 0x7f: 15, 0x80: 15, 0x81: 15, 0x82: 15,
	0x8d: 7, 0x8e: 7, 0x8f: 7, 0x90: 7, 0x9b: 7, 0x9c: 7, 0x9d: 7, 0x9e: 7, // rounding
	0x91: 31, 0x9f: 31, 0x95: 15, 0xa3: 15, // square roots and divisions
}

// The states of a function in share.
const (
	unseen = iota
	entered
	finished
)

// share decides who pays for each function, going through the graph of direct
// calls depth first: what a function calls is known before it is. One that is
// found below itself pays, and so there is one that does in every circle.
func (w *rewriter) share() {
	type frame struct{ function, edit uint32 }
	var path []frame
	for root := range w.bodies {
		if w.bodies[root].state != unseen {
			continue
		}
		w.bodies[root].state = entered
		path = append(path, frame{uint32(root), w.bodies[root].edits})
		for len(path) > 0 {
			top := &path[len(path)-1]
			f := &w.bodies[top.function]
			if top.edit == f.editsEnd {
				w.settle(f)
				path = path[:len(path)-1]
				continue
			}
			e := w.edits[top.edit]
			top.edit++
			if e.kind != editCall {
				continue
			}
			index := w.called(e)
			switch callee := &w.bodies[index]; callee.state {
			case entered:
				callee.pays = true
			case unseen:
				callee.state = entered
				path = append(path, frame{index, callee.edits})
			}
		}
	}
}

// settle sums up what a function costs with those it pays for.
func (w *rewriter) settle(f *body) {
	edits := w.edits[f.edits:f.editsEnd]
	total := uint64(f.cost) + w.sumUp(edits)[len(edits)]
	if total > heavyCost {
		total = uint64(f.cost)
		for _, e := range edits {
			if e.kind == editCall {
				w.bodies[w.called(e)].pays = true
			}
		}
	}
	f.total = uint32(min(total, maxCost))
	f.pays = f.pays || f.total > freeCost
	f.state = finished
}

// sumUp returns, for each edit, what the calls before it cost their caller.
func (w *rewriter) sumUp(edits []edit) []uint64 {
	w.sums = append(w.sums[:0], 0)
	sum := uint64(0)
	for _, e := range edits {
		if e.kind == editCall {
			if callee := &w.bodies[w.called(e)]; !callee.pays {
				sum += uint64(callee.total)
			}
		}
		w.sums = append(w.sums, sum)
	}
	return w.sums
}

// called returns which of the module's own functions an edited call is of.
func (w *rewriter) called(e edit) uint32 { return e.n - w.yield - 1 }
