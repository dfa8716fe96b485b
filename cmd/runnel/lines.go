package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/runnel-log/runnel/record"
)

// maxLine bounds one record as JSON: the largest record, every byte escaped.
const maxLine = 6*record.MaxSize + 1<<20

// lines prints records that come as NDJSON the way -o asks for. What a record
// holds never reaches a terminal as it is: it could rewrite the screen, or what the
// user types next.
type lines struct {
	out      *bufio.Writer
	mode     string // text, json or raw
	terminal bool
	colour   bool
	record   record.Record
	batch    record.Batch
	buf      []byte
}

func (g *globals) lines() *lines {
	return &lines{out: bufio.NewWriterSize(g.Stdout, 64<<10), mode: g.Output,
		terminal: isTerminal(g.Stdout), colour: g.colour(g.Stdout)}
}

// each prints every record of r, at most limit of them unless that is 0, and
// returns how many there were. live prints each as soon as it is there.
func (l *lines) each(r io.Reader, limit int, live bool) (n int, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	for limit == 0 || n < limit {
		line, err := readLine(in)
		if len(line) > 0 {
			if err := l.print(line); err != nil {
				return n, err
			}
			n++
		}
		if err != nil {
			return n, notEOF(err)
		}
		if live && in.Buffered() == 0 {
			if err := l.out.Flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// readLine returns the next line without its end.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		whole := bytes.Clone(line)
		for err == bufio.ErrBufferFull && len(whole) < maxLine {
			line, err = in.ReadSlice('\n')
			whole = append(whole, line...)
		}
		line = whole
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// print prints one record.
func (l *lines) print(line []byte) error {
	l.buf = l.buf[:0]
	switch l.mode {
	case "json":
		if l.terminal {
			l.buf = appendVisibleJSON(l.buf, line)
		} else {
			l.buf = append(l.buf, line...)
		}
	default:
		l.record.Reset()
		if err := record.ParseJSON(line, &l.record); err != nil {
			return fmt.Errorf("the agent sent something that is no record: %w", err)
		}
		l.batch.Reset()
		if err := l.batch.Append(&l.record); err != nil {
			return err
		}
		v := l.batch.At(0)
		switch {
		case l.mode != "raw": // escaped into a pipe too: `less -R` ends at a terminal, and a record is one line
			l.buf = record.AppendText(l.buf, v, record.Meta{}, record.TextOptions{Terminal: true, Colour: l.colour})
		case l.terminal:
			l.buf = appendVisible(l.buf, v.Message())
		default:
			l.buf = append(l.buf, v.Message()...)
		}
	}
	l.buf = append(l.buf, '\n')
	_, err := l.out.Write(l.buf)
	return err
}

// isHidden reports whether a character may do anything to a terminal but
// stand there: controls, and what turns text around or breaks lines.
func isHidden(r rune) bool {
	return r < ' ' || r >= 0x7f && r <= 0x9f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 ||
		r == 0x2028 || r == 0x2029 || r == 0x200e || r == 0x200f || r == 0x061c
}

// appendVisible appends text with everything hidden shown as \x1b or \u202e.
// Tabs stay.
func appendVisible(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = fmt.Appendf(dst, `\x%02x`, text[0])
		case r == '\t' || !isHidden(r):
			dst = append(dst, text[:n]...)
		case r < 0x100:
			dst = fmt.Appendf(dst, `\x%02x`, r)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
		text = text[n:]
	}
	return dst
}

// appendVisibleJSON is appendVisible for JSON, which it leaves the same JSON.
func appendVisibleJSON(dst, text []byte) []byte {
	for _, r := range string(text) {
		if isHidden(r) {
			dst = fmt.Appendf(dst, `\u%04x`, r)
		} else {
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// visible makes text safe to print on w.
func visible(w io.Writer, text string) string {
	if !isTerminal(w) {
		return text
	}
	return string(appendVisible(nil, []byte(text)))
}

// printJSON prints v as the API gave it, indented.
func printJSON(w io.Writer, v json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(v), "", "  "); err != nil {
		return fmt.Errorf("the agent sent something that is no JSON: %w", err)
	}
	text := b.String()
	if isTerminal(w) {
		rows := strings.Split(text, "\n")
		for i, row := range rows {
			rows[i] = string(appendVisibleJSON(nil, []byte(row)))
		}
		text = strings.Join(rows, "\n")
	}
	_, err := fmt.Fprintln(w, text)
	return err
}
