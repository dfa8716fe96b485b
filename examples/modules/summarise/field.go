package main

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"

	runnel "github.com/runnel-log/runnel/guest-sdk/go"
)

// A field's value in a key is its kind, u8, its length, u8, and its bytes; of
// kind 0, and empty, where the record has none.

// field is one that tells keys apart.
type field struct {
	name string // as in the config
	what byte
	attr string // of ofAttr: its key
}

const (
	ofSeverity = iota
	ofFacility
	ofHost
	ofApp
	ofProcID
	ofMsgID
	ofAttr
)

var fieldNames = []string{"severity", "facility", "host", "app", "procid", "msgid"}

func newField(name string) field {
	if i := slices.Index(fieldNames, name); i >= 0 {
		return field{name: name, what: byte(i)}
	}
	return field{name: name, what: ofAttr, attr: strings.TrimPrefix(name, "attrs.")}
}

// appendTo appends the value that a record has in the field.
func (f *field) appendTo(k []byte, r *runnel.Record) []byte {
	switch f.what {
	case ofSeverity:
		return append(k, byte(runnel.Bytes), 1, r.Severity())
	case ofFacility:
		return append(k, byte(runnel.Bytes), 1, r.Facility())
	case ofHost:
		return appendValue(k, runnel.Bytes, r.Host())
	case ofApp:
		return appendValue(k, runnel.Bytes, r.App())
	case ofProcID:
		return appendValue(k, runnel.Bytes, r.ProcID())
	case ofMsgID:
		return appendValue(k, runnel.Bytes, r.MsgID())
	}
	return appendAttr(k, r.Attr(f.attr))
}

// appendAttr appends an attribute's value so that what reads alike is one key,
// of whichever kind it came: the number 200, 200.0 and the text "200".
func appendAttr(k []byte, v runnel.Value) []byte {
	switch v.Kind {
	case runnel.Float:
		if f := v.Float(); f == math.Trunc(f) && math.Abs(f) < 1e15 {
			return appendInt(k, int64(f))
		}
	case runnel.JSON: // cut short it would be none
		return appendValue(k, runnel.String, v.Data)
	case runnel.String, runnel.Bytes:
		return appendText(k, v.Data)
	}
	return appendValue(k, v.Kind, v.Data)
}

func appendInt(k []byte, n int64) []byte {
	return binary.LittleEndian.AppendUint64(append(k, byte(runnel.Int), 8), uint64(n))
}

// appendText appends a text: as a number or a truth value if that is written just so.
func appendText(k, text []byte) []byte {
	switch string(text) {
	case "true":
		return append(k, byte(runnel.Bool), 1, 1)
	case "false":
		return append(k, byte(runnel.Bool), 1, 0)
	}
	if f, ok := numeric(text); ok {
		n, err := strconv.ParseInt(runnel.Key(text), 10, 64)
		var room [32]byte
		if err == nil && string(strconv.AppendInt(room[:0], n, 10)) == string(text) {
			return appendInt(k, n)
		}
		if number(f) == string(text) {
			return binary.LittleEndian.AppendUint64(append(k, byte(runnel.Float), 8), math.Float64bits(f))
		}
	}
	return appendValue(k, runnel.String, text)
}

// numeric reads a text that is a decimal number and nothing else.
func numeric(text []byte) (f float64, ok bool) {
	if len(text) == 0 || len(text) > 32 {
		return 0, false
	}
	for _, c := range text {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(runnel.Key(text), 64)
	return f, err == nil
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
		if said := field.set(n, kind, data); said != "" {
			text += " " + field.name + "=" + said
		}
	}
	return text
}

// set sets the field and returns its value as text, "" if there is none.
func (f *field) set(n *runnel.New, kind runnel.Kind, data []byte) string {
	switch f.what {
	case ofSeverity:
		n.Severity(data[0])
		return level(data[0])
	case ofFacility:
		n.Facility(data[0])
		return level(data[0])
	case ofHost:
		n.Host(data)
	case ofApp:
		n.App(data)
	case ofProcID:
		n.ProcID(data)
	case ofMsgID:
		n.MsgID(data)
	default:
		return setAttr(n, f.attr, runnel.Value{Kind: kind, Data: data})
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
