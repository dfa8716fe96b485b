package workbench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/runnel-log/runnel/record"
)

// Fields is a record as a case sees it: the JSON of each field there is. An
// attribute is a field of its own, named "attrs." and its key, since the order of attributes does not matter.
type Fields map[string]string

const attrPrefix = "attrs."

// fieldOrder is how a record's fields are written, attributes behind them.
var fieldOrder = [...]string{"time", "received", "stream", "agent", "origin", "facility", "severity",
	"host", "app", "procid", "msgid", "message", "sd", "input", "peer", "flags"}

// hostFields are set by the host alone: a case that does not write them does not mean them.
var hostFields = [...]string{"received", "input", "peer", "agent", "origin"}

// textFields are those in which a number is a text.
var textFields = [...]string{"stream", "host", "app", "procid", "msgid", "message", "input", "peer", "agent"}

// fieldsOf returns the fields of a record.
func fieldsOf(v record.View) Fields {
	fields, err := fieldsOfJSON(record.AppendJSON(nil, v, record.Meta{}))
	if err != nil {
		panic("bug: a record's JSON is none: " + err.Error())
	}
	return fields
}

func fieldsOfJSON(text []byte) (Fields, error) {
	var members, attrs map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	fields := Fields{}
	for name, value := range members {
		if name != "attrs" {
			fields[name] = string(value)
			continue
		}
		if err := json.Unmarshal(value, &attrs); err != nil {
			return nil, err
		}
		for key, value := range attrs {
			fields[attrPrefix+key] = string(value)
		}
	}
	return fields, nil
}

// names returns the names of the fields in the order in which they are written.
func (f Fields) names() []string {
	var names, attrs []string
	for _, name := range fieldOrder {
		if _, ok := f[name]; ok {
			names = append(names, name)
		}
	}
	for name := range f {
		if strings.HasPrefix(name, attrPrefix) {
			attrs = append(attrs, name)
		}
	}
	slices.Sort(attrs)
	return append(names, attrs...)
}

// equal reports whether got is the record that f wants.
func (f Fields) equal(got Fields) bool { return len(f.differences(got)) == 0 }

// differences names the fields in which got is not what f wants.
func (f Fields) differences(got Fields) []string {
	all := Fields{}
	for name := range f {
		all[name] = ""
	}
	for name := range got {
		if _, wanted := f[name]; wanted || !slices.Contains(hostFields[:], name) {
			all[name] = ""
		}
	}
	return slices.DeleteFunc(all.names(), func(name string) bool {
		want, wanted := f[name]
		value, there := got[name]
		return wanted == there && want == value
	})
}

// parseRecord reads a record as JSON into fields that compare with those of any other.
func parseRecord(text []byte) (*record.Record, Fields, error) {
	var r record.Record
	if err := record.ParseJSON(text, &r); err != nil {
		return nil, nil, err
	}
	b := record.NewBatch()
	defer b.Release()
	if err := b.Append(&r); err != nil {
		return nil, nil, err
	}
	return &r, fieldsOf(b.At(0)), nil
}

// yaml writes the fields as a mapping in braces, as a case holds them.
func (f Fields) yaml() string {
	var parts, attrs []string
	for _, name := range f.names() {
		key, isAttr := strings.CutPrefix(name, attrPrefix)
		text := quoteKey(key) + ": " + yamlOf(f[name])
		if isAttr {
			attrs = append(attrs, text)
		} else {
			parts = append(parts, text)
		}
	}
	if len(attrs) > 0 {
		parts = append(parts, "attrs: {"+strings.Join(attrs, ", ")+"}")
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// yamlOf writes JSON as YAML on one line: JSON itself, but for texts that need no quotes.
func yamlOf(text string) string {
	var s string
	if json.Unmarshal([]byte(text), &s) == nil && strings.HasPrefix(text, `"`) {
		return quote(s)
	}
	var list []json.RawMessage
	if strings.HasPrefix(text, "[") && json.Unmarshal([]byte(text), &list) == nil {
		parts := make([]string, len(list))
		for i := range list {
			parts[i] = yamlOf(string(list[i]))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	if !strings.HasPrefix(text, "{") {
		return text
	}
	var spaced bytes.Buffer // YAML wants a blank behind a key's colon
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var m map[string]json.RawMessage
	if err := d.Decode(&m); err != nil {
		return text
	}
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for i, key := range keys {
		if i > 0 {
			spaced.WriteString(", ")
		}
		fmt.Fprintf(&spaced, "%s: %s", quoteKey(key), yamlOf(string(m[key])))
	}
	return "{" + spaced.String() + "}"
}
