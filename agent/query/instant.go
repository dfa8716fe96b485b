package query

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// instant reads a time as users write it in from and to: RFC 3339, seconds
// since 1970 with or without a fraction, `now`, or a span from now such as -15m,
// -1h30m, -7d or +5m. It returns nanoseconds since 1970 UTC.
func instant(text string, now time.Time) (int64, error) {
	switch {
	case text == "now":
		return now.UnixNano(), nil
	case text == "":
		return 0, fmt.Errorf("no time given; %s", timeForms)
	case text[0] == '-' || text[0] == '+' || (text[0] == ' ' && len(text) > 1 && text[1] != ' '):
		// A plus sign that was not written %2B arrives as a space.
		span, err := span(text[1:])
		if err != nil {
			return 0, fmt.Errorf("%q: %w", text, err)
		}
		if text[0] == '-' {
			span = -span
		}
		return now.Add(span).UnixNano(), nil
	}
	if seconds, fraction, _ := strings.Cut(text, "."); isDigits(seconds) && (len(seconds) == len(text) || isDigits(fraction)) {
		return unixNanos(text, seconds, fraction)
	}
	t, err := time.Parse(time.RFC3339Nano, strings.Replace(text, " ", "+", 1))
	if err != nil {
		return 0, fmt.Errorf("%q is not a time; %s", text, timeForms)
	}
	if t.Year() < 1678 || t.Year() > 2261 {
		return 0, fmt.Errorf("%q is beyond the years 1678 to 2261", text)
	}
	return t.UnixNano(), nil
}

// maxSeconds is the last year that nanoseconds in an int64 reach, less a margin.
const maxSeconds = 9_200_000_000

const timeForms = "write 2026-11-22T10:07:05Z, seconds since 1970, now, or a span from now such as -15m"

// unixNanos puts seconds and their fraction together; text is both.
func unixNanos(text, seconds, fraction string) (int64, error) {
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || s > maxSeconds {
		return 0, fmt.Errorf("%q is beyond the year 2261; times are in seconds, not milliseconds", text)
	}
	f, _ := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	return s*1e9 + f, nil
}

// maxSpan keeps now plus or minus a span inside what an int64 of nanoseconds holds.
const maxSpan = 100 * 365 * 24 * time.Hour

var errSpan = errors.New("not a span of time of at most 100 years; write 90s, 15m, 1h30m, 7d or 2w")

// span reads a length of time: Go's units, and d and w for days and weeks.
func span(text string) (time.Duration, error) {
	var total float64
	rest := text
	for rest != "" {
		n := 0
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.') {
			n++
		}
		number, err := strconv.ParseFloat(rest[:n], 64)
		rest = rest[n:]
		n = 0
		for n < len(rest) && rest[n] >= 'a' && rest[n] <= 'z' {
			n++
		}
		unit, known := units[rest[:n]]
		if err != nil || !known {
			return 0, errSpan
		}
		total += number * float64(unit)
		rest = rest[n:]
	}
	if text == "" || total > float64(maxSpan) {
		return 0, errSpan
	}
	return time.Duration(total), nil
}

var units = map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
	"d": 24 * time.Hour, "w": 7 * 24 * time.Hour}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
