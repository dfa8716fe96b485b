package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// table is rows of text in aligned columns. Columns of numbers are right-aligned.
type table struct {
	title string
	head  []string
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print prints the table, made safe for a terminal; nothing if it has no rows
// and a title.
func (t *table) print(w io.Writer) error {
	if len(t.rows) == 0 && t.title != "" {
		return nil
	}
	width := make([]int, len(t.head))
	right := make([]bool, len(t.head))
	for i, h := range t.head {
		width[i], right[i] = len(h), len(t.rows) > 0
	}
	for _, row := range t.rows {
		for i := range row {
			row[i] = visible(w, row[i])
			width[i] = max(width[i], utf8.RuneCountInString(row[i]))
			right[i] = right[i] && (row[i] == "" || row[i] == "-" || row[i][0] >= '0' && row[i][0] <= '9')
		}
	}
	var b strings.Builder
	if t.title != "" {
		fmt.Fprintf(&b, "\n%s\n", t.title)
	}
	for _, row := range append([][]string{t.head}, t.rows...) {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if right[i] {
				line.WriteString(pad + cell + "  ")
			} else {
				line.WriteString(cell + pad + "  ")
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// num writes a count. Cells have no spaces in them, so that awk finds its columns.
func num(n uint64) string { return strconv.FormatUint(n, 10) }

// zero hides a count that is good to be nothing.
func zero(n uint64) string {
	if n == 0 {
		return "-"
	}
	return num(n)
}

// rate writes records a second.
func rate(r float64) string {
	if r < 10 {
		return fmt.Sprintf("%.1f/s", r)
	}
	return num(uint64(r+0.5)) + "/s"
}

// size writes bytes in the unit that fits.
func size(n int64) string {
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for len(units) > 1 && f >= 1024 {
		f /= 1024
		units = units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.1f%s", f, units[0])
}

// span writes a length of time in seconds as people say it: two units at most.
func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d <= 0:
		return "-"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		if text, whole := strings.CutSuffix(d.Round(time.Second).String(), "m0s"); whole {
			return text + "m"
		}
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	default:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d/time.Hour%24)
	}
}

// ago writes how long ago a time was; a dash for none.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(max(now.Sub(t).Seconds(), 0.1))
}
