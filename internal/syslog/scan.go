package syslog

import (
	"encoding/binary"
	"math/bits"
)

// Eight bytes at a time: a field is five to twenty bytes, too short for
// bytes.IndexByte to earn its call and too long for a loop over bytes.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// graphic returns where the run of PRINTUSASCII (33 to 126, RFC 5424 §6) that
// begins at at ends. In each word only the lowest mark is exact, which is the
// one that is used: borrow and carry only run upwards.
func graphic(b []byte, at int) int {
	for at+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[at:])
		if other := ((x - 0x21*ones) | (x + ones) | x) & highs; other != 0 {
			return at + bits.TrailingZeros64(other)>>3
		}
		at += 8
	}
	for at < len(b) && b[at]-0x21 < 0x5e {
		at++
	}
	return at
}

// allGraphic reports whether b is nothing but PRINTUSASCII.
func allGraphic(b []byte) bool {
	le, n := binary.LittleEndian, len(b)
	other := func(x uint64) bool { return ((x-0x21*ones)|(x+ones)|x)&highs != 0 }
	switch {
	case n >= 8:
		for at := 0; at+8 <= n; at += 8 {
			if other(le.Uint64(b[at:])) {
				return false
			}
		}
		return !other(le.Uint64(b[n-8:]))
	case n >= 4:
		return !other(uint64(le.Uint32(b)) | uint64(le.Uint32(b[n-4:]))<<32)
	}
	for _, c := range b {
		if c-0x21 >= 0x5e {
			return false
		}
	}
	return true
}

// special returns where the first '"', '\' or ']' at or after at stands, or
// len(b): the three that mean something in a PARAM-VALUE (RFC 5424 §6.3.3).
func special(b []byte, at int) int {
	for at+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[at:])
		quote, slash, bracket := x^('"'*ones), x^('\\'*ones), x^(']'*ones)
		found := ((quote-ones)&^quote | (slash-ones)&^slash | (bracket-ones)&^bracket) & highs
		if found != 0 {
			return at + bits.TrailingZeros64(found)>>3
		}
		at += 8
	}
	for at < len(b) && b[at] != '"' && b[at] != '\\' && b[at] != ']' {
		at++
	}
	return at
}

// name returns where an SD-NAME that begins at at ends: PRINTUSASCII except
// '=', ']' and '"' (RFC 5424 §6.3.2), of any length.
func name(b []byte, at int) int {
	for at+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[at:])
		equal, bracket, quote := x^('='*ones), x^(']'*ones), x^('"'*ones)
		ends := ((x - 0x21*ones) | (x + ones) | x | (equal-ones)&^equal | (bracket-ones)&^bracket | (quote-ones)&^quote) & highs
		if ends != 0 {
			return at + bits.TrailingZeros64(ends)>>3
		}
		at += 8
	}
	for at < len(b) && b[at]-0x21 < 0x5e && b[at] != '=' && b[at] != ']' && b[at] != '"' {
		at++
	}
	return at
}

// structured returns where the well-formed STRUCTURED-DATA elements that begin
// at at end (RFC 5424 §6.3), or -1.
func structured(b []byte, at int) int {
	for at < len(b) && b[at] == '[' {
		end := name(b, at+1)
		if end == at+1 {
			return -1
		}
		for at = end; ; {
			if at >= len(b) {
				return -1
			}
			if b[at] == ']' {
				at++
				break
			}
			if at = parameter(b, at); at < 0 {
				return -1
			}
		}
	}
	return at
}

// parameter reads SP PARAM-NAME = " PARAM-VALUE " and returns its end, or -1.
func parameter(b []byte, at int) int {
	if b[at] != ' ' {
		return -1
	}
	end := name(b, at+1)
	if end == at+1 || end+1 >= len(b) || b[end] != '=' || b[end+1] != '"' {
		return -1
	}
	for at = special(b, end+2); at < len(b); at = special(b, at) {
		switch b[at] {
		case '"':
			return at + 1
		case ']':
			return -1
		}
		at += 2 // a backslash and what it escapes; before any other character it stands for itself
	}
	return -1
}

// ValidSD reports whether b is nothing but well-formed STRUCTURED-DATA
// elements, so that it may stand in an RFC 5424 header as it is.
func ValidSD(b []byte) bool { return len(b) > 0 && b[0] == '[' && structured(b, 0) == len(b) }

// looseStructured is structured for what real senders write: ']' unescaped in
// a value, blanks around '=' and before ']', values without quotes, an empty
// element. Quotes still have to balance, so the end is certain. It returns -1
// otherwise.
func looseStructured(b []byte, at int) int {
	for at < len(b) && b[at] == '[' {
		for at++; ; at++ {
			if at >= len(b) {
				return -1
			}
			if b[at] == ']' {
				at++
				break
			}
			if b[at] == '"' {
				if at = quoted(b, at+1); at < 0 {
					return -1
				}
				// after the closing quote: the next parameter or the end, or the quote was not the closing one
				if at+1 < len(b) && b[at+1] != ' ' && b[at+1] != ']' {
					return -1
				}
			}
		}
	}
	return at
}

// quoted returns where the quote that ends a value stands, or -1.
func quoted(b []byte, at int) int {
	for ; at < len(b); at++ {
		switch b[at] {
		case '"':
			return at
		case '\\':
			at++
		}
	}
	return -1
}
