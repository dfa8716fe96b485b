package record

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth bounds how deep JSON may nest; one bit of a word stands for each level.
const maxDepth = 64

// scanner reads JSON strictly (RFC 8259), save that it lets bytes that are not
// UTF-8 pass in strings: senders write them, and a log keeps what was sent.
// Every method that reads leaves at behind what it read, or returns false.
type scanner struct {
	text []byte
	at   int
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// zeros marks the bytes of w that are zero. Like the masks built from it, it is
// exact up to and including the lowest mark, and only that one is looked at.
func zeros(w uint64) uint64 { return (w - ones) &^ w & highs }

// stringEnds marks the bytes a JSON string cannot hold plainly: controls, quote, backslash.
func stringEnds(w uint64) uint64 {
	return (w-ones*0x20)&^w&highs | zeros(w^ones*'"') | zeros(w^ones*'\\')
}

// space skips white space and returns the byte after it, or 0 at the end.
func (s *scanner) space() byte {
	for s.at < len(s.text) {
		c := s.text[s.at]
		if c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		s.at++
	}
	return 0
}

// next skips white space and then c.
func (s *scanner) next(c byte) bool {
	if s.space() != c || s.at == len(s.text) {
		return false
	}
	s.at++
	return true
}

// str reads a string, at its opening quote, and returns what is between the
// quotes, escapes and all.
func (s *scanner) str() (raw []byte, escaped, ok bool) {
	text, i := s.text, s.at+1
	from := i
	for {
		for i+8 <= len(text) {
			if m := stringEnds(binary.LittleEndian.Uint64(text[i:])); m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i >= len(text) {
			return nil, false, false
		}
		switch c := text[i]; {
		case c == '"':
			s.at = i + 1
			return text[from:i:i], escaped, true
		case c == '\\':
			n := escapeLen(text[i:])
			if n == 0 {
				return nil, false, false
			}
			escaped = true
			i += n
		case c < ' ':
			return nil, false, false
		default:
			i++
		}
	}
}

// escapeLen returns the length of the escape that b begins with, 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if hex4(b[2:]) >= 0 {
			return 6
		}
	}
	return 0
}

// hex4 returns the value of the four hex digits b begins with, or -1.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		d := hexDigit(c)
		if d < 0 {
			return -1
		}
		r = r<<4 | d
	}
	return r
}

func hexDigit(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c - 'a' + 10)
	case 'A' <= c && c <= 'F':
		return rune(c - 'A' + 10)
	}
	return -1
}

// appendUnescaped appends what raw, a string that str returned, stands for. A
// surrogate without its other half becomes U+FFFD.
func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			from := i
			for i < len(raw) && raw[i] != '\\' {
				i++
			}
			dst = append(dst, raw[from:i]...)
			continue
		}
		c := raw[i+1]
		i += 2
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, n := unescapeRune(raw[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// unescapeRune reads what follows \u: four digits, or a pair of surrogates.
func unescapeRune(b []byte) (r rune, n int) {
	r = hex4(b)
	if r < 0xd800 || r > 0xdfff {
		return r, 4
	}
	if r < 0xdc00 && len(b) >= 10 && b[4] == '\\' && b[5] == 'u' {
		if low := hex4(b[6:]); low >= 0xdc00 && low <= 0xdfff {
			return (r-0xd800)<<10 | (low - 0xdc00) + 0x10000, 10
		}
	}
	return utf8.RuneError, 4
}

// word reads one of the three literals.
func (s *scanner) word(w string) bool {
	if len(s.text)-s.at < len(w) || string(s.text[s.at:s.at+len(w)]) != w {
		return false
	}
	s.at += len(w)
	return true
}

// scalar reads a value that is neither array nor object.
func (s *scanner) scalar(c byte) (ok bool) {
	switch c {
	case '"':
		_, _, ok = s.str()
	case 't':
		ok = s.word("true")
	case 'f':
		ok = s.word("false")
	case 'n':
		ok = s.word("null")
	default:
		_, ok = s.number()
	}
	return ok
}

// value reads any value that stands inside depth arrays and objects. It does not
// recurse: a level is a bit of stack, 1 for an object.
func (s *scanner) value(depth int) bool {
	var stack uint64
	for outer := depth; ; {
		switch c := s.space(); c {
		case '{', '[':
			if depth++; depth > maxDepth {
				return false
			}
			s.at++
			stack <<= 1
			if s.space() == c+2 { // ] and } come two after [ and {
				s.at++
				depth, stack = depth-1, stack>>1
				break
			}
			if c == '{' {
				stack |= 1
				if !s.key() {
					return false
				}
			}
			continue
		default:
			if !s.scalar(c) {
				return false
			}
		}
		for {
			if depth == outer {
				return true
			}
			c := s.space()
			if c == ',' {
				break
			}
			if c != ']'+byte(stack&1)*('}'-']') {
				return false
			}
			s.at++
			depth, stack = depth-1, stack>>1
		}
		s.at++
		if stack&1 == 1 && !s.key() {
			return false
		}
	}
}

// key reads a member's name and the colon.
func (s *scanner) key() bool {
	if s.space() != '"' {
		return false
	}
	_, _, ok := s.str()
	return ok && s.next(':')
}

// end reports whether only white space is left.
func (s *scanner) end() bool {
	s.space()
	return s.at == len(s.text)
}
