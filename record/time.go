package record

import (
	"math"
	"time"
	"unsafe"
)

// appendTime appends ns as time.RFC3339Nano in UTC. It is its own because it is
// half the cost of a record's JSON otherwise.
func appendTime(dst []byte, ns int64) []byte {
	dst, fraction := appendSeconds(dst, ns)
	if fraction == 0 {
		return append(dst, 'Z')
	}
	digits := 9
	for fraction%10 == 0 {
		fraction /= 10
		digits--
	}
	return append(appendDigits(append(dst, '.'), fraction, digits), 'Z')
}

// appendMillis appends ns as RFC 3339 in UTC with milliseconds, cut, not rounded.
func appendMillis(dst []byte, ns int64) []byte {
	dst, fraction := appendSeconds(dst, ns)
	return append(appendDigits(append(dst, '.'), fraction/1e6, 3), 'Z')
}

// appendSeconds appends the date and the time of day and returns the nanoseconds
// that remain. The date is Howard Hinnant's civil_from_days, years from March.
func appendSeconds(dst []byte, ns int64) ([]byte, int) {
	second, fraction := ns/1e9, int(ns%1e9)
	if fraction < 0 {
		second, fraction = second-1, fraction+1e9
	}
	day, inDay := second/86400, int(second%86400)
	if inDay < 0 {
		day, inDay = day-1, inDay+86400
	}
	z := int(day) + 719468 // days since 0000-03-01; never negative for int64 nanoseconds
	era, inEra := z/146097, z%146097
	year := (inEra - inEra/1460 + inEra/36524 - inEra/146096) / 365
	inYear := inEra - (365*year + year/4 - year/100)
	march := (5*inYear + 2) / 153
	dayOfMonth, month := inYear-(153*march+2)/5+1, march+3
	year += era * 400
	if month > 12 {
		month, year = month-12, year+1
	}
	dst = append(appendDigits(dst, year, 4), '-')
	dst = append(appendDigits(dst, month, 2), '-')
	dst = append(appendDigits(dst, dayOfMonth, 2), 'T')
	dst = append(appendDigits(dst, inDay/3600, 2), ':')
	dst = append(appendDigits(dst, inDay/60%60, 2), ':')
	return appendDigits(dst, inDay%60, 2), fraction
}

// appendDigits appends n in exactly width digits, at most nine.
func appendDigits(dst []byte, n, width int) []byte {
	var d [9]byte
	for i := width - 1; i >= 0; i-- {
		d[i] = byte('0' + n%10)
		n /= 10
	}
	return append(dst, d[:width]...)
}

// parseTime reads an RFC 3339 time with any offset that int64 nanoseconds hold.
func parseTime(b []byte) (ns int64, ok bool) {
	text := unsafe.String(unsafe.SliceData(b), len(b)) // kept only by the error, which ends here
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Before(time.Unix(0, math.MinInt64+1)) || t.After(time.Unix(0, math.MaxInt64)) {
		return 0, false
	}
	return t.UnixNano(), true
}
