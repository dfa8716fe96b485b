package record

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// TextOptions say how AppendText writes. The zero value escapes nothing.
type TextOptions struct {
	// Terminal escapes what could move a cursor, hide or turn text around: all
	// control characters, bidirectional controls, line and paragraph separators,
	// and bytes that are not UTF-8.
	Terminal bool
	// Colour colours by severity. It implies Terminal.
	Colour bool
}

// The colours, as ECMA-48 SGR sequences; the only control characters that
// AppendText itself writes.
const (
	colourReset = "\x1b[0m"
	colourDim   = "\x1b[2m"
)

var severityColours = [8]string{"\x1b[1;31m", "\x1b[1;31m", "\x1b[1;31m", "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[32m", "\x1b[2m"}

// AppendText appends v as a line for people, without a line end:
//
//	2026-11-22T10:07:05.143Z host app[procid] info: message  key=value key="two words"
//
// The time is UTC, cut to milliseconds; the receive time where none was stated.
// What is absent is a dash, an absent app and procid nothing. Nothing of m is
// shown so far.
func AppendText(dst []byte, v View, m Meta, o TextOptions) []byte {
	w := textWriter{dst: dst, escape: o.Terminal || o.Colour, colour: o.Colour}
	w.paint(colourDim)
	w.dst = appendMillis(w.dst, v.When())
	w.paint(colourReset)
	w.dst = append(w.dst, ' ')
	w.orDash(v.Host())
	w.tag(v.App(), v.ProcID())
	w.dst = append(w.dst, ' ')
	w.severity(v.Severity())
	w.dst = append(w.dst, ": "...)
	w.text(v.Message())
	sep := "  "
	for b := v.Attrs().buf; len(b) > 0; {
		key, value, n := nextAttr(b)
		b = b[n:]
		w.dst = append(w.dst, sep...)
		w.paint(colourDim)
		w.text(key)
		w.dst = append(w.dst, '=')
		w.paint(colourReset)
		w.value(value)
		sep = " "
	}
	return w.dst
}

type textWriter struct {
	dst            []byte
	escape, colour bool
}

func (w *textWriter) paint(colour string) {
	if w.colour {
		w.dst = append(w.dst, colour...)
	}
}

func (w *textWriter) orDash(b []byte) {
	if len(b) == 0 {
		w.dst = append(w.dst, '-')
		return
	}
	w.text(b)
}

func (w *textWriter) tag(app, procID []byte) {
	if len(app) == 0 && len(procID) == 0 {
		return
	}
	w.dst = append(w.dst, ' ')
	w.orDash(app)
	if len(procID) > 0 {
		w.dst = append(w.dst, '[')
		w.text(procID)
		w.dst = append(w.dst, ']')
	}
}

func (w *textWriter) severity(s Severity) {
	if int(s) >= len(severityColours) {
		w.dst = append(w.dst, '-')
		return
	}
	w.paint(severityColours[s])
	w.dst = append(w.dst, severityNames[s]...)
	w.paint(colourReset)
}

// value writes an attribute's value; a text is quoted where it would not read as one word.
func (w *textWriter) value(v Value) {
	switch v.Kind {
	case Int:
		w.dst = strconv.AppendInt(w.dst, v.Int(), 10)
	case Float:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			w.dst = strconv.AppendFloat(w.dst, f, 'g', -1, 64)
		} else {
			w.dst = appendFloat(w.dst, f)
		}
	case Bool:
		w.dst = strconv.AppendBool(w.dst, v.Bool())
	case JSON:
		w.text(v.Data)
	default:
		w.quoted(v.Data)
	}
}

func (w *textWriter) quoted(b []byte) {
	plain := len(b) > 0
	for _, c := range b {
		plain = plain && c > ' ' && c != '"' && c != '='
	}
	if plain {
		w.text(b)
		return
	}
	w.dst = append(w.dst, '"')
	from := 0
	for i, c := range b {
		if c == '"' || c == '\\' {
			w.text(b[from:i])
			w.dst = append(w.dst, '\\')
			from = i
		}
	}
	w.text(b[from:])
	w.dst = append(w.dst, '"')
}

// text writes b, escaped for a terminal if need be.
func (w *textWriter) text(b []byte) {
	if w.escape {
		w.dst = appendTerminal(w.dst, b)
		return
	}
	w.dst = append(w.dst, b...)
}

// appendTerminal appends b so that a terminal shows it and does nothing else:
// control characters below U+0080 and bytes that are not UTF-8 become \xNN,
// other controls of the terminal, of direction and of lines \u{N}.
func appendTerminal(dst, b []byte) []byte {
	from := 0
	for i := 0; i < len(b); {
		c := b[i]
		if c >= ' ' && c < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if c >= utf8.RuneSelf && (r != utf8.RuneError || n > 1) && !moves(r) {
			i += n
			continue
		}
		dst = append(dst, b[from:i]...)
		if n == 1 {
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		} else {
			dst = strconv.AppendUint(append(dst, `\u{`...), uint64(r), 16)
			dst = append(dst, '}')
		}
		i += n
		from = i
	}
	return append(dst, b[from:]...)
}

// moves reports whether r, which is not ASCII, does something to a terminal or to
// the text around it: a C1 control, a line or paragraph separator, Unicode's
// Bidi_Control, or an interlinear annotation.
func moves(r rune) bool {
	switch {
	case r <= 0x9f, r == 0x061c, r == 0x200e, r == 0x200f, 0x2028 <= r && r <= 0x202e,
		0x2066 <= r && r <= 0x2069, 0xfff9 <= r && r <= 0xfffb:
		return true
	}
	return false
}
