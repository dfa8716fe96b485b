package main

import (
	"math"
	"strconv"

	runnel "github.com/runnel-log/runnel/guest-sdk/go"
)

// A field's value in a key is its kind, u8, its length, u8, and its bytes; of
// kind 0, and empty, where the record has none.

// appendField appends the value that a record has in a field.
func appendField(k []byte, r *runnel.Record, field string) []byte {
	switch field {
	case "severity":
		return appendValue(k, runnel.Bytes, []byte{r.Severity()})
	case "facility":
		return appendValue(k, runnel.Bytes, []byte{r.Facility()})
	case "host":
		return appendValue(k, runnel.Bytes, r.Host())
	case "app":
		return appendValue(k, runnel.Bytes, r.App())
	case "procid":
		return appendValue(k, runnel.Bytes, r.ProcID())
	case "msgid":
		return appendValue(k, runnel.Bytes, r.MsgID())
	}
	v := r.Attr(field[len("attrs."):])
	if v.Kind == runnel.JSON { // cut short it would be none
		return appendValue(k, runnel.String, v.Data)
	}
	return appendValue(k, v.Kind, v.Data)
}

func appendValue(k []byte, kind runnel.Kind, data []byte) []byte {
	if len(data) > maxField {
		data = data[:maxField]
	}
	return append(append(k, byte(kind), byte(len(data))), data...)
}

// describe gives a summary the fields of its group's key, and returns them as text.
func (g *group) describe(n *runnel.New) string {
	text := ""
	rest := []byte(g.key[keyStart:])
	for _, field := range g.layout.by {
		kind, data := runnel.Kind(rest[0]), rest[2:2+rest[1]]
		rest = rest[2+len(data):]
		if said := set(n, field, kind, data); said != "" {
			text += " " + field + "=" + said
		}
	}
	return text
}

// set sets one field and returns its value as text, "" if there is none.
func set(n *runnel.New, field string, kind runnel.Kind, data []byte) string {
	switch field {
	case "severity":
		n.Severity(data[0])
		return level(data[0])
	case "facility":
		n.Facility(data[0])
		return level(data[0])
	case "host":
		n.Host(data)
	case "app":
		n.App(data)
	case "procid":
		n.ProcID(data)
	case "msgid":
		n.MsgID(data)
	default:
		return setAttr(n, field[len("attrs."):], runnel.Value{Kind: kind, Data: data})
	}
	return string(data)
}

func level(b byte) string {
	if b == runnel.Absent {
		return ""
	}
	return strconv.Itoa(int(b))
}

func setAttr(n *runnel.New, key string, v runnel.Value) string {
	switch v.Kind {
	case runnel.String, runnel.Bytes:
		n.Set(key, string(v.Data))
		return string(v.Data)
	case runnel.Int:
		n.SetInt(key, v.Int())
		return strconv.FormatInt(v.Int(), 10)
	case runnel.Float:
		n.SetFloat(key, v.Float())
		return number(v.Float())
	case runnel.Bool:
		n.SetBool(key, v.Bool())
		return strconv.FormatBool(v.Bool())
	}
	return ""
}

// number writes a number as short as it goes.
func number(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}
