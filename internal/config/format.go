package config

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/token"
)

// Format writes a struct as the YAML that Decode would read it from, every key
// with its value, indented by so many spaces. A secret shows where it comes
// from and never what it is; keys that hold no secret, no pointer, or none of
// the words to choose from are left out.
func Format(w io.Writer, indent int, from any) error {
	f := &formatter{w: w}
	f.structure(indent, reflect.Indirect(reflect.ValueOf(from)))
	return f.err
}

type formatter struct {
	w   io.Writer
	err error
}

func (f *formatter) printf(format string, args ...any) {
	if f.err == nil {
		_, f.err = fmt.Fprintf(f.w, format, args...)
	}
}

func (f *formatter) structure(indent int, v reflect.Value) {
	for _, field := range fieldsOf(v.Type()) {
		value := v.FieldByIndex(field.index)
		switch {
		case value.Kind() == reflect.Pointer && value.IsNil(),
			field.typ == typeSecret && value.IsZero(),
			field.typ == typeNode,
			len(field.choices) > 0 && value.Kind() == reflect.String && value.Len() == 0:
			continue
		}
		f.key(indent, field.key, reflect.Indirect(value))
	}
}

// key writes one key with its value, nested structs and mappings on lines of their own.
func (f *formatter) key(indent int, key string, v reflect.Value) {
	f.printf("%*s%s:", indent, "", Quote(key))
	switch {
	case isStructure(v):
		f.printf("\n")
		f.structure(indent+2, v)
	case v.Kind() == reflect.Map && v.Len() > 0:
		f.printf("\n")
		for _, k := range sorted(v) {
			f.key(indent+2, k.String(), reflect.Indirect(v.MapIndex(k)))
		}
	case v.Kind() == reflect.Slice && v.Len() > 0 && isStructure(v.Index(0)):
		f.printf("\n")
		for i := range v.Len() {
			var b strings.Builder
			inner := &formatter{w: &b}
			inner.structure(indent+4, v.Index(i))
			f.printf("%*s- %s", indent+2, "", strings.TrimLeft(b.String(), " "))
		}
	default:
		f.printf(" %s\n", inline(v))
	}
}

func isStructure(v reflect.Value) bool {
	t := v.Type()
	return t.Kind() == reflect.Struct && t != typeSecret && !reflect.PointerTo(t).Implements(typeText)
}

func sorted(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

// inline writes a value on one line.
func inline(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case Secret:
		switch {
		case x.literal:
			return `"***"`
		case x.Env != "":
			return "{env: " + Quote(x.Env) + "}"
		}
		return "{file: " + Quote(x.File) + "}"
	case Bytes:
		return x.String()
	case time.Duration:
		return FormatDuration(x)
	case encoding.TextMarshaler:
		if b, err := x.MarshalText(); err == nil {
			return Quote(string(b))
		}
	}
	switch v.Kind() {
	case reflect.String:
		return Quote(v.String())
	case reflect.Map:
		return "{}"
	case reflect.Slice:
		words := make([]string, v.Len())
		for i := range words {
			words[i] = inline(v.Index(i))
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

// Quote writes a text so that YAML, and the expansion of variables, read it as itself.
func Quote(s string) string {
	s = strings.ReplaceAll(s, "${", "$${")
	switch {
	case isPlain(s):
		return s
	case !strings.Contains(s, "'") && !strings.ContainsFunc(s, func(r rune) bool { return printableRune(r) != r || r == '\t' }):
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case printableRune(r) != r && r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		case printableRune(r) != r:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// isPlain reports whether YAML reads s as that text without quotes, in a list as well.
func isPlain(s string) bool {
	n := Node{text: s}
	n.resolve()
	return s != "" && n.kind == Null && n.text == s && !token.IsNeedQuoted(s) && !strings.Contains(s, ": ") &&
		!strings.HasSuffix(s, ":") && strings.TrimSpace(s) == s && s[0] != '-' && s[0] != '?' && s[0] != ':' && s[0] != '<' &&
		!strings.ContainsAny(s, "[]{},#&*!|>'\"%@`\\\n\t") && strings.ToValidUTF8(s, "") == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return printableRune(r) != r })
}
