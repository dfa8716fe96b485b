// Command container is what the tests run inside a container: it writes known
// lines to stdout and stderr. `container lines N` numbers them, and with a third
// word writes about so many a second; `container steady N RATE` does so a line a write and
// says at the end how long the longest write took; `container shapes` writes the shapes of
// line that have broken log shippers before. It must stay free of
// dependencies, for its image has no other file.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Shapes are the lines that `shapes` writes; the test holds them against what
// arrives. A line feed ends each; Docker drops empty lines.
var shapes = []struct {
	stderr bool
	text   string
}{
	{false, "01 plain stdout line"},
	{true, "02 plain stderr line"},
	{false, "   "},
	{false, "05 line ending CRLF\r"},
	{false, "06 progress 10%\rprogress 50%\rprogress 100%"},
	{false, "07 nul\x00inside\x00\x00 twice"},
	{false, "08 \x1b[31mred\x1b[0m \x1b]0;title\x07"},
	{false, "09 invalid utf8 \xff\xfe \xc3( \xe2\x82 \xf0\x9f\x98 end"},
	{false, "10 \U0001F600 emoji and 日本語"},
	{false, `{"level":"warn","msg":"json line","status":503}`},
	{true, "\tat com.example.Main.run(Main.java:42)"},
	{false, "<13>1 2026-11-22T10:00:00Z h app 1 - - looks like RFC 5424"},
	{false, "<0>Nov 22 10:00:00 h app: looks like RFC 3164"},
	{false, "84 <30>1 looks like an octet count"},
	{false, "\xef\xbb\xbfBOM first"},
	{false, "15 trailing blanks   "},
	{false, `16 quotes " and ] brackets [x y="z"]`},
	{false, "17 last"},
}

func main() {
	if len(os.Args) >= 3 && os.Args[1] == "lines" {
		rate := 0 // as fast as it can
		if len(os.Args) > 3 {
			rate = number(os.Args[3])
		}
		lines(number(os.Args[2]), rate)
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "steady" {
		steady(number(os.Args[2]), number(os.Args[3]))
		return
	}
	for _, s := range shapes {
		if s.stderr {
			fmt.Fprintf(os.Stderr, "%s\n", s.text)
		} else {
			fmt.Fprintf(os.Stdout, "%s\n", s.text)
		}
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return n
}

// lines writes n numbered lines; with a rate, a hundredth of it every 10 ms.
func lines(n, rate int) {
	w := bufio.NewWriterSize(os.Stdout, 64<<10)
	defer w.Flush()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for i := range n {
		if rate > 0 && i%(rate/100) == 0 {
			w.Flush()
			<-ticker.C
		}
		fmt.Fprintf(w, "line %07d of a container that writes and writes\n", i)
	}
}

// steady writes n numbered lines at a rate, a line a write, as a program does that
// does not buffer: it waits for as long as its log does.
func steady(n, rate int) {
	began, longest := time.Now(), time.Duration(0)
	for i := range n {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		at := time.Now()
		fmt.Printf("line %07d of a container that writes and writes\n", i)
		longest = max(longest, time.Since(at))
	}
	fmt.Printf("longest write %d us\n", longest.Microseconds())
}
