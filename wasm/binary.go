package wasm

import (
	"errors"
	"fmt"
)

// Section ids (WebAssembly core specification §5.5.2).
const (
	secCustom    = 0
	secType      = 1
	secImport    = 2
	secFunction  = 3
	secTable     = 4
	secMemory    = 5
	secGlobal    = 6
	secExport    = 7
	secStart     = 8
	secElement   = 9
	secCode      = 10
	secData      = 11
	secDataCount = 12
)

var sectionNames = [...]string{"custom", "type", "import", "function", "table", "memory", "global",
	"export", "start", "element", "code", "data", "data count"}

// place gives a section's rank in the order the specification demands; the
// data count stands between element and code.
func place(id byte) int {
	switch id {
	case secDataCount:
		return 2*secElement + 1
	default:
		return 2 * int(id)
	}
}

// section is one section of a module, its payload borrowed from the file.
type section struct {
	id   byte
	body []byte
}

// errTruncated: a number, name or body runs beyond what holds it.
var errTruncated = errors.New("ends in the middle of a value")

// reader reads the binary format and remembers the first fault; after one,
// every read gives zero.
type reader struct {
	p   []byte
	at  int
	err error
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = errTruncated
	}
	r.at = len(r.p)
}

func (r *reader) more() bool { return r.err == nil && r.at < len(r.p) }

func (r *reader) byte() byte {
	if r.at >= len(r.p) {
		r.fail()
		return 0
	}
	r.at++
	return r.p[r.at-1]
}

// u32 reads an unsigned LEB128 of at most five bytes (§5.2.2).
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > 0xffffffff {
				break
			}
			return uint32(v)
		}
	}
	r.fail()
	return 0
}

// signed steps over a signed LEB128 of at most n bytes.
func (r *reader) signed(n int) {
	for range n {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail()
}

// s32 reads a signed LEB128 of at most five bytes.
func (r *reader) s32() uint32 {
	v := uint32(0)
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			if b&0x40 != 0 && shift < 28 {
				v |= ^uint32(0) << (shift + 7)
			}
			return v
		}
	}
	r.fail()
	return 0
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.p)-r.at {
		r.fail()
		return nil
	}
	r.at += n
	return r.p[r.at-n : r.at]
}

func (r *reader) name() string { return string(r.bytes(int(r.u32()))) }

// count reads the length of a vector whose elements take at least one byte each.
func (r *reader) count() int {
	n := int(r.u32())
	if n > len(r.p)-r.at {
		r.fail()
		return 0
	}
	return n
}

// limits reads the limits of a table or memory (§5.3.9).
func (r *reader) limits() (flags byte, least, most uint32) {
	flags = r.byte()
	least, most = r.u32(), 0xffffffff
	if flags&1 != 0 {
		most = r.u32()
	}
	return flags, least, most
}

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendS32(b []byte, v int32) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendName(b []byte, name string) []byte {
	return append(appendU32(b, uint32(len(name))), name...)
}

func appendSection(b []byte, id byte, body []byte) []byte {
	return append(appendU32(append(b, id), uint32(len(body))), body...)
}

// maxFile is the greatest module file the host reads. Standard Go makes guests
// of 2 to 4 MiB; beyond this something was linked by mistake.
const maxFile = 8 << 20

// maxCustoms bounds the custom sections of a module, of which compilers make ten or
// so: eight megabytes of empty ones would be millions.
const maxCustoms = 1000

// sections splits a module file, saying what is wrong with one that is none.
func sections(code []byte) ([]section, error) {
	if len(code) > maxFile {
		return nil, fmt.Errorf("is %d bytes, more than the limit of %d; strip it (go build -ldflags='-s -w', wasm-strip)", len(code), maxFile)
	}
	if len(code) == 0 {
		return nil, errors.New("is empty; build the module again")
	}
	if len(code) < 4 || string(code[:4]) != "\x00asm" {
		return nil, fmt.Errorf("is not WebAssembly: it begins with %q, not with \"\\x00asm\"; name the file the compiler made", code[:min(len(code), 16)])
	}
	if len(code) < 8 {
		return nil, fmt.Errorf("is truncated: it ends within the header, after %d bytes; build or copy it again", len(code))
	}
	if v := code[4:8]; string(v) != "\x01\x00\x00\x00" {
		if v[2] == 1 {
			return nil, errors.New("is a WebAssembly component; build it as a core module (wasm32-wasip1, not wasip2)")
		}
		return nil, fmt.Errorf("has WebAssembly version % x; this host reads version 1", v)
	}
	var list []section
	last, customs := -1, 0
	for at := 8; at < len(code); {
		r := reader{p: code, at: at + 1}
		id, size := code[at], int(r.u32())
		if r.err != nil || size > len(code)-r.at {
			return nil, fmt.Errorf("is truncated: the %s section at byte %d is cut off by the end of the file at byte %d; build or copy it again", sectionName(id), at, len(code))
		}
		if id == secCustom {
			if customs++; customs > maxCustoms {
				return nil, fmt.Errorf("has more than %d custom sections; strip it (wasm-strip)", maxCustoms)
			}
		} else {
			if int(id) >= len(sectionNames) {
				return nil, fmt.Errorf("has a section of unknown kind %d at byte %d; build it without exceptions, threads and other proposals", id, at)
			}
			if place(id) <= last {
				return nil, fmt.Errorf("is malformed: the %s section at byte %d is out of order", sectionName(id), at)
			}
			last = place(id)
			list = append(list, section{id, code[r.at : r.at+size]})
		}
		at = r.at + size
	}
	return list, nil
}

func sectionName(id byte) string {
	if int(id) < len(sectionNames) {
		return sectionNames[id]
	}
	return fmt.Sprintf("kind %d", id)
}
