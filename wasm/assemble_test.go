package wasm

// assembly is a guest put together from bytes: the smallest that speaks ABI v1,
// with one thing changed at a time. No toolchain makes what a hostile one would.
type assembly struct {
	process  []byte            // body of runnel_process (i32, i32) → i64, after its locals
	extra    []function        // further functions; the first has index firstExtra
	imports  [][2]string       // functions of type (i32, i32, i32) → (), or of importAs
	importAs byte              // index of a type; 0: typeThree
	memory   []byte            // limits; default: 32 pages to begin with
	table    []byte            // limits of a table of functions; default: none
	elements []byte            // the element section, whole
	data     []byte            // put at address dataAt
	alloc    []byte            // body of runnel_alloc; default: returns allocAt
	init     []byte            // body of runnel_init; default: returns 0
	start    bool              // a start section naming runnel_abi_v1
	without  string            // an export to leave out
	rename   map[string]string // exports under another name
	globals  []byte            // the global section, whole
	also     map[string]uint32 // further exports of functions
	types    []byte            // further types, each whole; the first has index firstType
	more     byte              // how many those are
	locals   uint32            // variables of each extra function, each an i32
}

type function struct {
	kind byte // index of a type
	body []byte
}

const (
	typeVoid    = 0 // () → ()
	typeAlloc   = 1 // (i32) → i32
	typeInit    = 2 // (i32, i32) → i32
	typeProcess = 3 // (i32, i32) → i64
	typeThree   = 4 // (i32, i32, i32) → ()
	firstType   = 5

	allocAt = 1 << 20
	dataAt  = 4096
)

// own returns the index of the nth function of the module's own: 0
// runnel_abi_v1, 1 runnel_alloc, 2 runnel_init, 3 runnel_process, 4… extra.
func (a assembly) own(n int) uint32 { return uint32(len(a.imports) + n) }

func (a assembly) bytes() []byte {
	or := func(b []byte, fallback ...byte) []byte {
		if b == nil {
			return fallback
		}
		return b
	}
	functions := []function{{typeVoid, nil},
		{typeAlloc, or(a.alloc, appendS32([]byte{opI32Const}, allocAt)...)},
		{typeInit, or(a.init, opI32Const, 0)},
		{typeProcess, or(a.process, 0x42, 0)}}
	functions = append(functions, a.extra...)

	m := []byte("\x00asm\x01\x00\x00\x00")
	m = appendSection(m, secType, append([]byte{firstType + a.more, 0x60, 0, 0, 0x60, 1, typeI32, 1, typeI32, 0x60, 2, typeI32, typeI32, 1, typeI32,
		0x60, 2, typeI32, typeI32, 1, typeI64, 0x60, 3, typeI32, typeI32, typeI32, 0}, a.types...))
	if len(a.imports) > 0 {
		b := appendU32(nil, uint32(len(a.imports)))
		for _, name := range a.imports {
			b = append(appendName(appendName(b, name[0]), name[1]), 0, max(a.importAs, typeThree))
		}
		m = appendSection(m, secImport, b)
	}
	b := appendU32(nil, uint32(len(functions)))
	for _, f := range functions {
		b = append(b, f.kind)
	}
	m = appendSection(m, secFunction, b)
	if a.table != nil {
		m = appendSection(m, secTable, append([]byte{1, 0x70}, a.table...))
	}
	m = appendSection(m, secMemory, append([]byte{1}, or(a.memory, 0, 32)...))
	if a.globals != nil {
		m = appendSection(m, secGlobal, a.globals)
	}
	m = appendSection(m, secExport, a.exports())
	if a.start {
		m = appendSection(m, secStart, appendU32(nil, a.own(0)))
	}
	if a.elements != nil {
		m = appendSection(m, secElement, a.elements)
	}
	b = appendU32(nil, uint32(len(functions)))
	for i, f := range functions {
		body := []byte{0}
		if a.locals > 0 && i >= 4 {
			body = append(appendU32([]byte{1}, a.locals), typeI32)
		}
		body = append(body, f.body...)
		body = append(body, opEnd)
		b = append(appendU32(b, uint32(len(body))), body...)
	}
	m = appendSection(m, secCode, b)
	if a.data != nil {
		b = append(appendS32([]byte{1, 0, opI32Const}, dataAt), opEnd)
		m = appendSection(m, secData, append(appendU32(b, uint32(len(a.data))), a.data...))
	}
	return m
}

func (a assembly) exports() []byte {
	var b []byte
	n := uint32(0)
	add := func(name string, kind byte, index uint32) {
		if name == a.without {
			return
		}
		b = appendU32(append(appendName(b, name), kind), index)
		n++
	}
	add("memory", 2, 0)
	for i, name := range []string{"runnel_abi_v1", "runnel_alloc", "runnel_init", "runnel_process"} {
		if other, ok := a.rename[name]; ok {
			name = other
		}
		add(name, 0, a.own(i))
	}
	for name, index := range a.also {
		add(name, 0, index)
	}
	return append(appendU32(nil, n), b...)
}

// answers is a guest that gives the same output for every batch.
func answers(output []byte) []byte {
	return returns(dataAt, uint32(len(output)), output)
}

// returns is a guest that returns an address and a length.
func returns(at, n uint32, data []byte) []byte {
	body := append([]byte{0x42}, appendS64(nil, int64(uint64(at)<<32|uint64(n)))...)
	return assembly{process: body, data: data}.bytes()
}

func appendS64(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func call1(index uint32) []byte { return appendU32([]byte{opCall}, index) }

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func i32(v int32) []byte { return appendS32([]byte{opI32Const}, v) }
