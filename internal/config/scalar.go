package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var byteUnits = []struct {
	name string
	size float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// ParseBytes reads a size as the config writes it.
func ParseBytes(s string) (Bytes, error) {
	number, unit := strings.TrimSpace(s), 1.0
	for _, u := range byteUnits {
		if digits, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(digits), u.size
			break
		}
	}
	if i, err := strconv.ParseInt(number, 10, 64); err == nil && i >= 0 && float64(i)*unit < math.MaxInt64 {
		return Bytes(i) * Bytes(unit), nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, "0123456789.") != "" || f*unit >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size; write a number and KiB, MiB or GiB, such as 512KiB", s)
	}
	return Bytes(f * unit), nil
}

// String writes the size with the greatest unit that loses nothing.
func (b Bytes) String() string {
	for i := 3; i >= 0; i-- {
		if size := Bytes(byteUnits[i].size); b != 0 && b%size == 0 {
			return strconv.FormatInt(int64(b/size), 10) + byteUnits[i].name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// ParseDuration reads a duration as the config writes it: time.ParseDuration's
// units and d for 24 hours, first and once. It is never negative.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is no duration; write a number and a unit: 250ms, 10s, 15m, 72h, 30d", s)
	rest, days := strings.TrimSpace(s), time.Duration(0)
	if number, after, ok := strings.Cut(rest, "d"); ok {
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || strings.Trim(number, "0123456789.") != "" || n > 100_000 {
			return 0, bad
		}
		days, rest = time.Duration(n*24*float64(time.Hour)), after
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || days+d < 0 {
		return 0, bad
	}
	return days + d, nil
}

// FormatDuration writes a duration as the config does, in the greatest unit that loses nothing.
func FormatDuration(d time.Duration) string {
	units := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}, {"us", time.Microsecond}}
	for _, u := range units {
		if d >= u.size && d%u.size == 0 && (u.name != "d" || d > 7*u.size) {
			return strconv.FormatInt(int64(d/u.size), 10) + u.name
		}
	}
	return d.String()
}
