package wasm

import "fmt"

// The compiler's time and memory grow faster than a module does in several ways:
// with the square of the loops in a function, with blocks times variables, with
// what all calls pass. A module of 30 KiB can be made that takes a minute and a
// gigabyte. So these are bounded each, some ten times above what compilers make
// of real programs; TestBombs has one module for each.
const (
	maxBody     = 256 << 10   // bytes of a function; 50 KiB seen
	maxBlocks   = 5000        // in a function; 1 000 seen
	maxLoops    = 500         // in a function; 15 seen
	maxTangle   = 100_000     // blocks times variables of a function; 11 000 seen
	allTangle   = 4_000_000   // of all functions; 900 000 seen
	allBlocks   = 300_000_000 // blocks squared, of all functions; 13 000 000 seen
	allLoops    = 1_000_000   // loops squared, of all functions; 3 000 seen
	allLocals   = 1_000_000   // 21 000 seen
	allLabels   = 500_000     // of branch tables; 130 000 seen
	allOperands = 4_000_000   // that calls pass and return
)

// What the compiler makes several blocks of counts as so many: a jump back, with
// the check of fuel that the rewriter puts before it, and a bulk operation. Calls
// through a table count as more, as each may be of a function that its caller pays
// for, and few should stand between two charges.
const (
	turnJumps     = 3
	bulkJumps     = 3
	indirectJumps = 4
)

// burden is what a module puts on the compiler.
type burden struct{ tangle, blocks, loops, locals, labels, operands int }

// weigh adds a function to the burden, or says why it alone is too much.
func (w *rewriter) weigh(f *body, index int) error {
	blocks, jumps, loops, locals := int(f.blocks), int(f.jumps), int(f.loops), int(f.locals)
	switch {
	case blocks > maxBlocks:
		return fmt.Errorf("function %d has %d blocks, more than the limit of %d; split it", index, blocks, maxBlocks)
	case blocks+jumps > maxBlocks:
		return fmt.Errorf("function %d has %d blocks, jumps and bulk operations, more than the limit of %d; split it", index, blocks+jumps, maxBlocks)
	case loops > maxLoops:
		return fmt.Errorf("function %d has %d loops, more than the limit of %d; split it", index, loops, maxLoops)
	case blocks*locals > maxTangle:
		return fmt.Errorf("function %d has %d blocks and %d variables, whose product is more than the limit of %d; split it, or compile it with optimisation", index, blocks, locals, maxTangle)
	}
	w.burden.tangle += blocks * locals
	w.burden.blocks += (blocks + jumps) * (blocks + jumps)
	w.burden.loops += loops * loops
	w.burden.locals += locals
	return nil
}

// check says why all functions together are too much, or nil.
func (l *burden) check() error {
	for _, c := range [...]struct {
		what    string
		n, most int
	}{
		{"blocks times variables in its functions", l.tangle, allTangle},
		{"blocks, squared and summed up over its functions,", l.blocks, allBlocks},
		{"loops, squared and summed up over its functions,", l.loops, allLoops},
		{"variables in its functions", l.locals, allLocals},
		{"labels in branch tables", l.labels, allLabels},
		{"values passed by calls", l.operands, allOperands},
	} {
		if c.n > c.most {
			return fmt.Errorf("has %d %s, more than the limit of %d; leave out what it does not need", c.n, c.what, c.most)
		}
	}
	return nil
}

// operands returns how many values a call of a function passes and returns.
func (w *rewriter) operands(function uint32) int {
	switch own := int(function) - len(w.imports); {
	case own < 0:
		return w.arity(w.imports[function])
	case own < len(w.functions):
		return w.arity(w.functions[own])
	}
	return 0
}

// arity is that of a type; 0 of one that the validator will refuse.
func (w *rewriter) arity(of uint32) int {
	if int64(of) >= int64(len(w.types)) {
		return 0
	}
	return len(w.types[of].params) + len(w.types[of].results)
}
