package record

import (
	"math"
	"time"
	"unsafe"
)

// appendTime appends ns as time.RFC3339Nano in UTC. It is its own because two of
// them would be half the cost of a record's JSON otherwise.
func appendTime(dst []byte, ns int64) []byte {
	dst, fraction := appendClock(dst, ns)
	return appendFraction(dst, fraction)
}

// appendFraction appends the nanoseconds, without zeros at their end, and Z.
func appendFraction(dst []byte, fraction uint32) []byte {
	if fraction == 0 {
		return append(dst, 'Z')
	}
	dst = append(dst, ".000000000Z"...)
	d := dst[len(dst)-11:]
	d[1], d[2], d[3] = threeDigits(fraction / 1e6)
	d[4], d[5], d[6] = threeDigits(fraction / 1e3 % 1e3)
	d[7], d[8], d[9] = threeDigits(fraction % 1e3)
	n := 10
	for d[n-1] == '0' {
		n--
	}
	d[n] = 'Z'
	return dst[:len(dst)-10+n]
}

// appendMillis appends ns as RFC 3339 in UTC with milliseconds, cut, not rounded.
func appendMillis(dst []byte, ns int64) []byte {
	dst, fraction := appendClock(dst, ns)
	a, b, c := threeDigits(fraction / 1e6)
	return append(dst, '.', a, b, c, 'Z')
}

func twoDigits(n uint32) (byte, byte) { return byte('0' + n/10), byte('0' + n%10) }

func threeDigits(n uint32) (byte, byte, byte) {
	return byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)
}

// appendClock appends the date and the time of day and returns the nanoseconds
// that remain. The date is Howard Hinnant's civil_from_days, with years that
// begin in March.
func appendClock(dst []byte, ns int64) (_ []byte, fraction uint32) {
	second, rest := ns/1e9, ns%1e9
	if rest < 0 {
		second, rest = second-1, rest+1e9
	}
	const shift = 719468 * 86400 // seconds from 0000-03-01 to 1970; int64 nanoseconds never come before
	sinceEra := uint64(second + shift)
	z, inDay := uint32(sinceEra/86400), uint32(sinceEra%86400)
	era, inEra := z/146097, z%146097
	year := (inEra - inEra/1460 + inEra/36524 - inEra/146096) / 365
	inYear := inEra - (365*year + year/4 - year/100)
	march := (5*inYear + 2) / 153
	day, month := inYear-(153*march+2)/5+1, march+3
	year += era * 400
	if month > 12 {
		month, year = month-12, year+1
	}
	dst = append(dst, "0000-00-00T00:00:00"...)
	d := dst[len(dst)-19:]
	d[0], d[1] = twoDigits(year / 100)
	d[2], d[3] = twoDigits(year % 100)
	d[5], d[6] = twoDigits(month)
	d[8], d[9] = twoDigits(day)
	d[11], d[12] = twoDigits(inDay / 3600)
	d[14], d[15] = twoDigits(inDay / 60 % 60)
	d[17], d[18] = twoDigits(inDay % 60)
	return dst, uint32(rest)
}

// parseZulu reads the form that appendTime writes, which is what nearly every
// time is; ok is false for all others.
func parseZulu(b []byte) (second int64, fraction int64, ok bool) {
	if len(b) < 20 || len(b) > 30 || b[len(b)-1] != 'Z' {
		return 0, 0, false
	}
	if b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return 0, 0, false
	}
	var bad uint32
	two := func(i int) uint32 {
		high, low := uint32(b[i]-'0'), uint32(b[i+1]-'0')
		if high > 9 || low > 9 {
			bad = 1
		}
		return high*10 + low
	}
	year, month, day := two(0)*100+two(2), two(5), two(8)
	hour, minute, sec := two(11), two(14), two(17)
	// The 29th to the 31st of a month are left to package time.
	if bad != 0 || month-1 > 11 || day-1 > 27 || hour > 23 || minute > 59 || sec > 59 || year == 0 {
		return 0, 0, false
	}
	if month < 3 {
		month, year = month+12, year-1
	}
	era, inEra := year/400, year%400
	days := int64(era)*146097 + int64(inEra*365+inEra/4-inEra/100+(153*(month-3)+2)/5+day-1) - 719468
	if len(b) > 20 {
		if b[19] != '.' || len(b) == 21 {
			return 0, 0, false
		}
		scale := int64(1e9)
		for _, c := range b[20 : len(b)-1] {
			if c-'0' > 9 {
				return 0, 0, false
			}
			fraction, scale = fraction*10+int64(c-'0'), scale/10
		}
		fraction *= scale
	}
	return days*86400 + int64(hour*3600+minute*60+sec), fraction, true
}

// parseTime reads an RFC 3339 time with any offset that int64 nanoseconds hold.
func parseTime(b []byte) (ns int64, ok bool) {
	if second, fraction, ok := parseZulu(b); ok && second > -9e9 && second < 9e9 {
		return second*1e9 + fraction, true
	}
	text := unsafe.String(unsafe.SliceData(b), len(b)) // kept only by the error, which ends here
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Before(time.Unix(0, math.MinInt64+1)) || t.After(time.Unix(0, math.MaxInt64)) {
		return 0, false
	}
	return t.UnixNano(), true
}
