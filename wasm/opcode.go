package wasm

import "fmt"

// Opcodes the rewriter looks at (WebAssembly core specification §5.4).
const (
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI32LtS       = 0x48
	opI32Sub       = 0x6b
	opI32ShrU      = 0x76
	opRefFunc      = 0xd2
	opPrefix       = 0xfc

	voidBlock = 0x40
	typeI32   = 0x7f
	typeI64   = 0x7e
)

// The 0xfc instructions.
const (
	bulkMemoryInit = 8
	bulkMemoryCopy = 10
	bulkMemoryFill = 11
	bulkTableGrow  = 15
)

// errOpcode refuses an instruction that the rewriter does not know: it could
// hide a way to run on without being counted.
type errOpcode struct{ name string }

func (e errOpcode) Error() string {
	return fmt.Sprintf("uses the instruction %s, which this host cannot bound; build without it (see ABI §2.4)", e.name)
}

// immediates steps over what follows opcode op, other than the structured and
// the renumbered instructions, which the rewriter reads itself.
func (r *reader) immediates(op byte) error {
	switch {
	case op <= 0x01, op == 0x05, op == opEnd, op == opReturn, op == 0x1a, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
	case op == opBr, op == opBrIf, op == opLocalGet, op == opLocalSet, op == opLocalTee, op == 0x25, op == 0x26:
		r.u32()
	case op == opBlock, op == opLoop, op == opIf:
		r.signed(5)
	case op == opBrTable:
		for range r.count() + 1 {
			r.u32()
		}
	case op == opCallIndirect:
		r.u32()
		r.u32()
	case op == 0x1c:
		r.bytes(r.count())
	case op >= 0x28 && op <= 0x3e:
		if align := r.u32(); align > 4 {
			return errOpcode{fmt.Sprintf("0x%02x with alignment 2^%d", op, align)}
		}
		r.u32()
	case op == 0x3f, op == opMemoryGrow, op == 0xd0:
		r.byte()
	case op == opI32Const:
		r.signed(5)
	case op == 0x42:
		r.signed(10)
	case op == 0x43:
		r.bytes(4)
	case op == 0x44:
		r.bytes(8)
	default:
		return errOpcode{opcodeName(op)}
	}
	return nil
}

// prefixed steps over a 0xfc instruction after its prefix and returns which it is.
func (r *reader) prefixed() (uint32, error) {
	op := r.u32()
	switch op {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating truncations
	case bulkMemoryInit, bulkMemoryCopy, 12, 14:
		r.u32()
		r.u32()
	case 9, bulkMemoryFill, 13, 16, 17:
		r.u32()
	case bulkTableGrow:
		return op, errOpcode{"table.grow (0xfc 0x0f)"}
	default:
		return op, errOpcode{fmt.Sprintf("0xfc 0x%02x", op)}
	}
	return op, nil
}

func opcodeName(op byte) string {
	switch op {
	case 0x06, 0x07, 0x08, 0x09, 0x0a, 0x18, 0x19, 0x1f:
		return fmt.Sprintf("0x%02x (exceptions)", op)
	case 0x12, 0x13:
		return fmt.Sprintf("0x%02x (tail call)", op)
	case 0xfd:
		return "0xfd (SIMD)"
	case 0xfe:
		return "0xfe (atomics)"
	}
	return fmt.Sprintf("0x%02x", op)
}
