package wasm

import (
	"strings"
	"testing"
)

// bombs are modules made to be slow, or to take much memory, to compile.
func bombs() map[string]func() assembly {
	one := func(body []byte) assembly { return assembly{extra: []function{{typeVoid, body}}} }
	with := func(locals uint32, a assembly) assembly { a.locals = locals; return a }
	many := func(n int, body []byte) assembly {
		var a assembly
		for range n {
			a.extra = append(a.extra, function{typeVoid, body})
		}
		return a
	}
	nest := func(n int, op byte, inner []byte) []byte {
		return join(repeat(n, op, voidBlock), inner, repeat(n, opEnd))
	}
	add := []byte{opLocalGet, 0, opLocalGet, 1, 0x6a, opLocalSet, 0}
	table := func(n int, label byte) []byte {
		return join(i32(0), appendU32([]byte{opBrTable}, uint32(n)), repeat(n+1, label))
	}
	wide := func(params, results int) []byte { // a type
		b := appendU32([]byte{0x60}, uint32(params))
		b = append(b, repeat(params, typeI32)...)
		return append(appendU32(b, uint32(results)), repeat(results, typeI32)...)
	}
	return map[string]func() assembly{
		"adds": func() assembly { return with(2, one(repeat(maxCode/7-20, add...))) },
		"loads": func() assembly {
			return with(2, one(join(repeat(maxCode/8-20, opLocalGet, 0, 0x28, 2, 0, opLocalSet, 0, 1))))
		},
		"blocks": func() assembly { return one(repeat(maxCode/4-20, opBlock, voidBlock, opEnd, 1)) },
		"branches": func() assembly {
			return with(2, one(repeat(maxCode/7-20, opBlock, voidBlock, opLocalGet, 0, opBrIf, 0, opEnd)))
		},
		"loops": func() assembly {
			return with(2, one(repeat(maxCode/7-20, opLoop, voidBlock, opLocalGet, 0, opBrIf, 0, opEnd)))
		},
		"nested blocks":   func() assembly { return one(nest(100_000, opBlock, nil)) },
		"nested loops":    func() assembly { return with(2, one(nest(20_000, opLoop, add))) },
		"nested loops 1k": func() assembly { return with(2, many(300, nest(1000, opLoop, add))) },
		"nested ifs": func() assembly {
			b := join(repeat(100_000, opLocalGet, 0, opIf, voidBlock), add, repeat(100_000, opEnd))
			return with(2, one(b))
		},
		"locals in loops": func() assembly {
			var sets []byte
			for i := range 2000 {
				sets = join(sets, []byte{opLoop, voidBlock}, i32(1), appendU32([]byte{opLocalSet}, uint32(i)), []byte{opLocalGet, 0, opBrIf, 0, opEnd})
			}
			return with(2000, one(sets))
		},
		"50000 locals live through loops": func() assembly {
			var b []byte
			for range 5000 {
				b = join(b, []byte{opLoop, voidBlock, opLocalGet, 0, opBrIf, 0, opEnd})
			}
			for i := range 50_000 {
				b = join(b, appendU32([]byte{opLocalGet}, uint32(i)), []byte{0x1a})
			}
			return with(50_000, one(b))
		},
		"1000 locals live through loops": func() assembly {
			var b []byte
			for i := range 1000 {
				b = join(b, []byte{opLocalGet, 0, 0x28, 2, 0}, appendU32([]byte{opLocalSet}, uint32(i)))
			}
			for range 2000 {
				b = join(b, []byte{opLoop, voidBlock, opLocalGet, 0, opBrIf, 0, opEnd})
			}
			for i := range 1000 {
				b = join(b, i32(0), appendU32([]byte{opLocalGet}, uint32(i)), []byte{0x36, 2, 0})
			}
			return with(1000, one(b))
		},
		"locals of all functions": func() assembly { return with(maxLocals, many(19_000, nil)) },
		"wide tables":             func() assembly { return one(join(repeat(1, join(table(4_000_000, 0))...))) },
		"many tables": func() assembly {
			return one(repeat(40_000, join([]byte{opBlock, voidBlock}, table(90, 0), []byte{opEnd})...))
		},
		"tables to everywhere": func() assembly {
			const n = 2000
			t := appendU32(join(i32(0), []byte{opBrTable}), n)
			for i := range n + 1 {
				t = appendU32(t, uint32(i))
			}
			return one(nest(n, opBlock, join(repeat(400, join([]byte{opBlock, voidBlock}, t, []byte{opEnd})...))))
		},
		"wide calls": func() assembly {
			a := assembly{types: wide(1000, 1000), more: 1}
			a.extra = []function{{firstType, []byte{0}}, {firstType, join(func() []byte {
				var b []byte
				for i := range 1000 {
					b = append(b, appendU32([]byte{opLocalGet}, uint32(i))...)
				}
				return b
			}(), repeat(20_000, call1(4)...))}}
			return a
		},
		"wide calls 16": func() assembly {
			a := assembly{types: wide(16, 16), more: 1}
			var b []byte
			for i := range 16 {
				b = append(b, appendU32([]byte{opLocalGet}, uint32(i))...)
			}
			a.extra = []function{{firstType, []byte{0}}, {firstType, join(b, repeat(1_000_000, call1(4)...))}}
			return a
		},
		"deep stack": func() assembly {
			return one(join(repeat(1_000_000, opI32Const, 1), repeat(999_999, 0x6a), []byte{0x1a}))
		},
		"deep stack of loads": func() assembly {
			return with(1, one(join(repeat(500_000, opLocalGet, 0, 0x28, 2, 0), repeat(499_999, 0x6a), []byte{0x1a})))
		},
		"calls": func() assembly { return one(repeat(2_000_000, call1(0)...)) },
		"selects": func() assembly {
			return with(2, one(repeat(maxCode/9-20, opLocalGet, 0, opLocalGet, 1, opLocalGet, 0, 0x1b, opLocalSet, 1)))
		},
		"100 locals through 400 loops": func() assembly { return with(100, many(40, through(100, 400))) },
		"bulk": func() assembly {
			return one(repeat(maxCode/9-20, join(i32(0), i32(0), i32(0), []byte{opPrefix, bulkMemoryFill, 0})...))
		},
		"9000 blocks in 44 functions": func() assembly {
			return with(9, many(44, join(through(9, 0), repeat(9000, opBlock, voidBlock, opLocalGet, 0, opBrIf, 0, opEnd))))
		},
		"4900 blocks in 20 functions": func() assembly {
			return with(9, many(20, join(through(9, 0), repeat(4900, opBlock, voidBlock, opLocalGet, 0, opBrIf, 0, opEnd))))
		},
		"globals": func() assembly { return one(repeat(maxCode/4-20, opGlobalGet, 0, opGlobalSet, 0)) },
	}
}

// TestCompileBombsAreRefused: what would take the compiler long, or much memory,
// does not reach it.
func TestCompileBombsAreRefused(t *testing.T) {
	for name, bomb := range bombs() {
		a := bomb()
		if name == "globals" {
			a.globals = []byte{1, typeI32, 1, opI32Const, 0, opEnd}
		}
		got := refusal(t, Options{Code: a.bytes()})
		if !strings.Contains(got, "more than the limit") {
			t.Errorf("%s: got %s, want that a limit is named", name, got)
		}
	}
}

// through is a body in which n variables, each loaded, live through loops.
func through(n, loops int) []byte {
	var b []byte
	for i := range n {
		b = join(b, []byte{opLocalGet, 0, 0x28, 2, 0}, appendU32([]byte{opLocalSet}, uint32(i)))
	}
	b = join(b, repeat(loops, opLoop, voidBlock, opLocalGet, 0, opBrIf, 0, opEnd))
	for i := range n {
		b = join(b, i32(0), appendU32([]byte{opLocalGet}, uint32(i)), []byte{0x36, 2, 0})
	}
	return b
}
