package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// Decode fills into, a pointer, from n and appends to ps whatever does not fit:
// unknown keys, wrong types, missing keys. What it cannot read keeps its
// default. If into is Options it then calls its Check. A nil n decodes as an empty mapping would.
func Decode(n *Node, into any, ps *Problems) { DecodeParts(n, ps, into) }

// DecodeParts is Decode of one mapping into several structs, each of which
// takes the keys that it knows. Check is called on those that are Options.
func DecodeParts(n *Node, ps *Problems, into ...any) {
	d := &decoder{problems: ps}
	values := make([]reflect.Value, len(into))
	for i := range into {
		v := reflect.ValueOf(into[i])
		if v.Kind() != reflect.Pointer || v.IsNil() {
			panic("bug: config.Decode into something that is no pointer")
		}
		values[i] = v.Elem()
	}
	if n == nil {
		n = &Node{doc: newDocument("", ".", nil), kind: Map}
	}
	if len(values) == 1 {
		d.value(n, values[0], field{})
	} else {
		d.structure(n, values...)
	}
	for i := range into {
		if o, ok := into[i].(Options); ok {
			o.Check(n.At(ps))
		}
	}
}

type decoder struct{ problems *Problems }

var (
	typeBytes    = reflect.TypeFor[Bytes]()
	typeDuration = reflect.TypeFor[time.Duration]()
	typeSecret   = reflect.TypeFor[Secret]()
	typeNode     = reflect.TypeFor[*Node]()
	typeText     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// report adds a problem of n, and keeps Check from saying the same again.
func (d *decoder) report(n *Node, format string, args ...any) {
	if n.doc.reported[n.Path] && n.Path != "" {
		return // the value could not be built either, which is already said
	}
	n.doc.reported[n.Path] = true
	d.problems.add(n.doc, n.where(), n.Path, fmt.Sprintf(format, args...))
}

// wrong says that n is not what is wanted.
func (d *decoder) wrong(n *Node, want string) {
	d.report(n, "is %s; write %s", n.kind, want)
}

// value decodes n into v, which can be set. f is the struct field it came from.
func (d *decoder) value(n *Node, v reflect.Value, f field) {
	switch t := v.Type(); {
	case t == typeNode:
		v.Set(reflect.ValueOf(n))
	case n.kind == Null && n.raw == "" && t.Kind() != reflect.Struct:
		if holds := t.Kind(); holds != reflect.Slice && holds != reflect.Map && holds != reflect.Pointer {
			d.report(n, "has no value; write one, or remove the key")
		}
	case t == typeSecret:
		d.decodeSecret(n, v.Addr().Interface().(*Secret), f.literal)
	case t == typeBytes:
		d.bytes(n, v)
	case t == typeDuration:
		d.duration(n, v)
	case t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(typeText):
		d.text(n, v, f)
	default:
		d.kind(n, v, f)
	}
}

// kind decodes what Go's own kinds hold.
func (d *decoder) kind(n *Node, v reflect.Value, f field) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem(), f)
	case reflect.Struct:
		d.structure(n, v)
	case reflect.Map:
		d.mapping(n, v, f)
	case reflect.Slice:
		d.list(n, v, f)
	case reflect.String:
		if s, ok := d.word(n, f); ok {
			v.SetString(s)
		}
	case reflect.Bool:
		if n.kind != Bool {
			d.wrong(n, "true or false"+withoutQuotes(n, "true", "false"))
			return
		}
		v.SetBool(n.text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		d.number(n, v)
	default:
		panic(fmt.Sprintf("bug: config.Decode of a %s", v.Type()))
	}
}

// word reads a text, one of f's choices if there are any. A number is a text
// as well, digit for digit; true and null are not, they are too often meant otherwise.
func (d *decoder) word(n *Node, f field) (string, bool) {
	switch n.kind {
	case Text, Int, Float:
	case Bool:
		d.report(n, "is true or false; write a text, in quotes if %q is meant: %q", n.raw, n.raw)
		return "", false
	default:
		if len(f.choices) > 0 {
			d.wrong(n, Choices(f.choices))
		} else {
			d.wrong(n, "a text")
		}
		return "", false
	}
	for i, c := range f.choices {
		if c == n.text {
			break
		}
		if i == len(f.choices)-1 {
			d.report(n, "%q is not known; %s", n.text, Suggest(n.text, f.choices))
			return "", false
		}
	}
	return n.text, true
}

func (d *decoder) text(n *Node, v reflect.Value, f field) {
	s, ok := d.word(n, f)
	if !ok {
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
		d.report(n, "%v", err)
	}
}

func (d *decoder) bytes(n *Node, v reflect.Value) {
	if n.kind != Int && n.kind != Text && n.kind != Float {
		d.wrong(n, "a size, such as 512KiB")
		return
	}
	b, err := ParseBytes(n.text)
	if err != nil {
		d.report(n, "%v", err)
		return
	}
	v.SetInt(int64(b))
}

func (d *decoder) duration(n *Node, v reflect.Value) {
	switch {
	case n.kind == Int && n.text != "0":
		d.report(n, "%q has no unit; write %ss, or another of ms, s, m, h, d", n.text, n.text)
		return
	case n.kind != Text && n.kind != Int && n.kind != Float:
		d.wrong(n, "a duration, such as 10s")
		return
	}
	t, err := ParseDuration(n.text)
	if err != nil {
		d.report(n, "%v", err)
		return
	}
	v.SetInt(int64(t))
}

func (d *decoder) number(n *Node, v reflect.Value) {
	isFloat := v.Kind() == reflect.Float32 || v.Kind() == reflect.Float64
	switch {
	case n.kind == Text && n.quoted:
		d.wrong(n, "a number without quotes")
	case n.kind != Int && n.kind != Float:
		d.wrong(n, "a number")
	case isFloat:
		f := asFloat(n.number)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			d.report(n, "%s is no number; write one", n.text)
			return
		}
		v.SetFloat(f)
	case n.kind == Float:
		d.report(n, "%s is not whole; write a whole number", n.text)
	case !setInt(v, n.number):
		d.report(n, "%s is out of range; write a number from %s", n.text, rangeOf(v))
	}
}

func asFloat(number any) float64 {
	switch i := number.(type) {
	case int64:
		return float64(i)
	case uint64:
		return float64(i)
	}
	f, _ := number.(float64)
	return f
}

// setInt sets v, of an int or uint kind, unless the number does not fit.
func setInt(v reflect.Value, number any) bool {
	u, positive := number.(uint64)
	i, _ := number.(int64)
	if v.CanUint() {
		if !positive || v.OverflowUint(u) {
			return false
		}
		v.SetUint(u)
		return true
	}
	if positive {
		if i = int64(u); i < 0 {
			return false
		}
	}
	if v.OverflowInt(i) {
		return false
	}
	v.SetInt(i)
	return true
}

func rangeOf(v reflect.Value) string {
	bits := v.Type().Bits()
	if v.CanUint() {
		return fmt.Sprintf("0 to %d", uint64(math.MaxUint64)>>(64-bits))
	}
	return fmt.Sprintf("%d to %d", int64(math.MinInt64)>>(64-bits), int64(math.MaxInt64)>>(64-bits))
}

// withoutQuotes is added to a message where only the quotes are wrong.
func withoutQuotes(n *Node, words ...string) string {
	for _, w := range words {
		if n.quoted && strings.EqualFold(n.text, w) {
			return " without quotes"
		}
	}
	return ""
}
