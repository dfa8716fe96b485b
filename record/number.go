package record

import (
	"math"
	"strconv"
	"unsafe"
)

// number is a JSON number as read: Int, Float, or String for one that is beyond
// float64's range, which stays as it was written.
type number struct {
	kind Kind
	bits uint64 // the payload of an Int or a Float
	text []byte
}

var powersOfTen = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// number reads a number. One without fraction and exponent is an Int if int64
// holds it, and the nearest Float otherwise.
func (s *scanner) number() (num number, ok bool) {
	text, i := s.text, s.at
	negative := i < len(text) && text[i] == '-'
	if negative {
		i++
	}
	mantissa, digits, n := digitRun(text[i:], 0)
	if n == 0 || n > 1 && text[i] == '0' {
		return num, false
	}
	i += n
	exponent, whole := 0, true
	if i < len(text) && text[i] == '.' {
		m, d, n := digitRun(text[i+1:], mantissa)
		if n == 0 {
			return num, false
		}
		mantissa, digits, exponent, whole = m, digits+d, -n, false
		i += 1 + n
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		e, n := exponentRun(text[i+1:])
		if n == 0 {
			return num, false
		}
		exponent, whole = exponent+e, false
		i += 1 + n
	}
	raw := text[s.at:i:i]
	s.at = i
	if whole && digits <= 18 {
		v := int64(mantissa)
		if negative {
			v = -v
		}
		return number{Int, uint64(v), raw}, true
	}
	if f, exact := smallFloat(mantissa, digits, exponent); exact && !whole {
		if negative {
			f = -f
		}
		return number{Float, math.Float64bits(f), raw}, true
	}
	return slowNumber(raw, whole), true
}

// digitRun reads decimal digits onto the end of m. m means something only as
// long as there are at most 18 of them in all.
func digitRun(b []byte, m uint64) (mantissa uint64, digits, n int) {
	for n < len(b) && b[n]-'0' <= 9 {
		m = m*10 + uint64(b[n]-'0')
		n++
	}
	return m, n, n
}

// exponentRun reads an exponent after its e, sign included.
func exponentRun(b []byte) (e, n int) {
	sign := 0
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		sign = 1
	}
	n = sign
	for n < len(b) && b[n]-'0' <= 9 {
		e = min(e*10+int(b[n]-'0'), 1<<20)
		n++
	}
	if n == sign {
		return 0, 0
	}
	if b[0] == '-' {
		e = -e
	}
	return e, n
}

// smallFloat multiplies or divides two numbers that float64 holds exactly, so
// that the one rounding gives the nearest value (Clinger's fast path).
func smallFloat(mantissa uint64, digits, exponent int) (f float64, exact bool) {
	switch {
	case digits > 15:
		return 0, false
	case exponent >= 0 && exponent < len(powersOfTen):
		return float64(mantissa) * powersOfTen[exponent], true
	case exponent < 0 && -exponent < len(powersOfTen):
		return float64(mantissa) / powersOfTen[-exponent], true
	}
	return 0, false
}

func slowNumber(raw []byte, whole bool) number {
	text := unsafe.String(unsafe.SliceData(raw), len(raw)) // the parsers keep it only in errors, which end here
	if whole {
		if v, err := strconv.ParseInt(text, 10, 64); err == nil {
			return number{Int, uint64(v), raw}
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return number{String, 0, raw}
	}
	return number{Float, math.Float64bits(f), raw}
}
