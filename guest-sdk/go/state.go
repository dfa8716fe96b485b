package runnel

import "unsafe"

// Key returns b as a string without copying it, for the functions that take
// one, such as StateGet, Hold and Lookup: a key made in a []byte, or a record's
// field, then costs no allocation. b must not change while the string is in use.
func Key(b []byte) string { return text(b) }

// What the host answered, each borrowed until it is asked the same again.
var values, keys, holding, rows answer

// answer is memory that the host writes an answer to. It grows to what the
// longest needed and is kept.
type answer []byte

// room returns memory for an answer of any usual length.
func (a *answer) room() []byte {
	if cap(*a) == 0 {
		*a = make(answer, 256)
	}
	return (*a)[:cap(*a)]
}

// short reports whether an answer of n bytes did not fit, and makes room for it.
func (a *answer) short(n int32) bool {
	if n < 0 || int(n) <= cap(*a) {
		return false
	}
	*a = make(answer, n)
	return true
}

// StateGet returns the value of a key in the module's state (ABI §5.3), and
// whether there is one. The value is borrowed until the next StateGet.
//
// A guest that uses state is ordered: it runs as one instance for each pipeline,
// and its config must grant it: grant: [state].
func StateGet(key string) (value []byte, ok bool) {
	n := hostStateGet(key, values.room())
	if values.short(n) {
		n = hostStateGet(key, values.room())
	}
	if n < 0 {
		return nil, false
	}
	return values[:n], true
}

// StateSet sets a key, of 1 to 255 bytes, to a value of up to 64 KiB, which is
// committed with what becomes of the batch, or not at all. It reports false where
// a bound is exceeded, and in Configure, and then changes nothing.
func StateSet(key string, value []byte) bool { return hostStateSet(key, text(value)) == 0 }

// StateDelete removes a key and reports whether it was there.
func StateDelete(key string) bool { return hostStateDelete(key) == 0 }

// StateNext returns the first key behind the given one in the order of bytes,
// and whether there is one; the empty key asks for the first. What it returns is
// borrowed until the next StateNext, which it may be given to.
func StateNext(key string) (next string, ok bool) {
	n := hostStateNext(key, keys.room())
	if n < 0 {
		return "", false
	}
	return text(keys[:n]), true
}

// StateKeys calls yield for each key that begins with the prefix and is longer,
// in the order of bytes, until it returns false. The key is borrowed until
// yield returns, which may delete it and set others.
func StateKeys(prefix string) func(yield func(key string) bool) {
	return func(yield func(key string) bool) {
		key := append(make([]byte, 0, 255), prefix...) // of its own: yield may ask StateNext too
		for {
			next, ok := StateNext(text(key))
			if !ok || len(next) < len(prefix) || next[:len(prefix)] != prefix {
				return
			}
			key = append(key[:0], next...)
			if !yield(text(key)) {
				return
			}
		}
	}
}

// HeldRecords are the records held under a key, borrowed until the next Held.
type HeldRecords struct {
	first unsafe.Pointer
	n     int
}

// Held returns the records held under a key when the call of the guest began:
// a Hold of this call is not among them.
func Held(key string) HeldRecords {
	n := hostHeld(key, holding.room())
	if holding.short(n) {
		n = hostHeld(key, holding.room())
	}
	if n < batchHeader {
		return HeldRecords{}
	}
	p := pointerTo(holding)
	return HeldRecords{unsafe.Add(p, batchHeader), int(load32(p, 8))}
}

// Len returns how many there are.
func (h HeldRecords) Len() int { return h.n }

// All calls yield for each of them, in their order, until it returns false.
func (h HeldRecords) All(yield func(v *View) bool) {
	var v View
	for p := h.first; h.n > 0; h.n-- {
		v.point(p)
		if !yield(&v) {
			return
		}
		p = unsafe.Add(p, uintptr(load32(p, recSize)))
	}
}
