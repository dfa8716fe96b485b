package config

import (
	"reflect"
	"strings"
)

// field is one key that a struct knows.
type field struct {
	key      string
	part     int // which of several structs has it
	index    []int
	typ      reflect.Type
	required bool
	literal  bool     // a Secret that may be written out
	choices  []string // the words a string may be
}

// fieldsOf lists the keys of a struct type, in the order of its fields.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		if options == "inline" {
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				fields = append(fields, f)
			}
			continue
		}
		if name == "" || name == "-" || !sf.IsExported() {
			continue
		}
		fields = append(fields, field{key: name, index: []int{i}, typ: sf.Type,
			required: sf.Tag.Get("required") == "true", literal: sf.Tag.Get("literal") == "true",
			choices: strings.Fields(sf.Tag.Get("oneof"))})
	}
	return fields
}

// structure decodes a mapping into a struct, or into several that share it.
func (d *decoder) structure(n *Node, parts ...reflect.Value) {
	var fields []field
	for i, part := range parts {
		for _, f := range fieldsOf(part.Type()) {
			f.part = i
			fields = append(fields, f)
		}
	}
	if n.kind == Null {
		n = &Node{File: n.File, Path: n.Path, doc: n.doc, place: n.place, holder: n.holder, kind: Map}
	}
	if n.kind != Map {
		d.wrong(n, "a mapping with the keys "+strings.Join(keysOf(fields), ", "))
		return
	}
	for i := range n.entries {
		e := &n.entries[i]
		f := lookup(fields, e.key)
		if f == nil {
			d.unknown(n, e, fields)
			continue
		}
		d.value(e.value, parts[f.part].FieldByIndex(f.index), *f)
	}
	for _, f := range fields {
		if !f.required {
			continue
		}
		if given := n.Key(f.key); given == nil || given.kind == Null {
			path := joinPath(n.Path, f.key)
			if !n.doc.reported[path] {
				n.doc.reported[path] = true
				d.problems.add(n.doc, n.where(), path, "is missing; write "+f.key+": "+exampleOf(f.typ))
			}
		}
	}
}

// unknown reports a key that the struct does not have.
func (d *decoder) unknown(n *Node, e *entry, fields []field) {
	known := keysOf(fields)
	text := "is not a key here; write one of " + strings.Join(known, ", ")
	if len(known) == 0 {
		text = "is not a key here; nothing can be written here"
	}
	if near, ok := Nearest(e.key, known); ok {
		text = "is not a key here; did you mean " + near + "?"
		if lookup(fields, near).typ == typeSecret {
			n.doc.hide(e.value)
		}
	}
	path := joinPath(n.Path, e.key)
	n.doc.reported[path] = true
	d.problems.add(n.doc, e.place, path, text)
}

func lookup(fields []field, key string) *field {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i]
		}
	}
	return nil
}

func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i := range fields {
		keys[i] = fields[i].key
	}
	return keys
}

// exampleOf shows what a value of the type looks like.
func exampleOf(t reflect.Type) string {
	switch {
	case t == typeBytes:
		return "1MiB"
	case t == typeDuration:
		return "10s"
	case t == typeSecret:
		return "{file: PATH}"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "[…]"
	case reflect.Map, reflect.Struct, reflect.Pointer:
		return "{…}"
	case reflect.Bool:
		return "true"
	case reflect.String:
		return "TEXT"
	}
	return "NUMBER"
}

// mapping decodes into a Go map with string keys; keys that are there stay.
func (d *decoder) mapping(n *Node, v reflect.Value, f field) {
	if n.kind != Map {
		d.wrong(n, "a mapping: {name: value}")
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(v.Type(), len(n.entries)))
	}
	for i := range n.entries {
		e := &n.entries[i]
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(e.value, value, f)
		v.SetMapIndex(reflect.ValueOf(e.key).Convert(v.Type().Key()), value)
	}
}

// list decodes a list, or a single value where a list of scalars is wanted.
// What was in the slice before is a default, and is replaced.
func (d *decoder) list(n *Node, v reflect.Value, f field) {
	items := n.Items()
	switch n.kind {
	case List:
	case Null:
		return
	default:
		elem := v.Type().Elem()
		isMapping := elem.Kind() == reflect.Struct && !reflect.PointerTo(elem).Implements(typeText)
		if isMapping && elem != typeSecret && n.kind != Map || n.kind == Map && elem.Kind() != reflect.Struct {
			d.wrong(n, "a list: [a, b]")
			return
		}
		items = []*Node{n}
	}
	slice := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.value(item, slice.Index(i), f)
	}
	v.Set(slice)
}
