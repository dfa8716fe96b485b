package wasm

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// maxTableBytes bounds the file of a table, and what its rows are kept in.
const maxTableBytes = 64 << 20

// Table is rows that guests look up by a key (ABI §5.5), kept as they are handed
// out: JSON objects. It does not change, and is safe for concurrent use.
type Table struct {
	rows  []byte // one after another
	index map[string]row
}

// row is where in rows an object is.
type row struct{ at, n uint32 }

// Len returns how many rows the table has.
func (t *Table) Len() int { return len(t.index) }

// row returns the row of a key, borrowed. A nil table has none.
func (t *Table) row(key []byte) ([]byte, bool) {
	if t == nil {
		return nil, false
	}
	r, ok := t.index[string(key)]
	return t.rows[r.at : r.at+r.n : r.at+r.n], ok
}

// openRegular opens a regular file. Of a pipe or a device it does not wait for
// the end, which may never come.
func openRegular(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	return f, nil
}

// LoadTable reads a table from a file of at most 64 MiB: CSV with a header line,
// all of whose values are strings, or, if it begins with [ or {, a JSON array of
// objects or object of objects. key names the column that rows are found by;
// empty: the first column of CSV, the object's own keys of JSON. An error names
// the file and line.
func LoadTable(file, key string) (*Table, error) {
	f, err := openRegular(file)
	if err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTableBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	if len(text) > maxTableBytes {
		return nil, fmt.Errorf("%s is more than the limit of 64 MiB for a table; leave out what no module looks up", file)
	}
	l := &tableLoader{file: file, key: key, lines: map[string]int{}, line: 1}
	l.text = bytes.TrimPrefix(text, []byte("\ufeff")) // which spreadsheets write
	start := bytes.TrimLeft(l.text, " \t\r\n")
	switch {
	case len(start) == 0:
		err = l.fault("is empty; write a header line, or a JSON array of objects")
	case start[0] == '[' || start[0] == '{':
		err = l.readJSON(start[0])
	default:
		err = l.readCSV()
	}
	if err != nil {
		return nil, err
	}
	return &l.table, nil
}

// tableLoader reads one table.
type tableLoader struct {
	file, key string
	text      []byte
	table     Table
	lines     map[string]int // of each key
	line      int            // of the row at hand
	counted   int            // how much of the text line speaks of
}

// fault is an error at the row at hand.
func (l *tableLoader) fault(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", l.file, l.line, fmt.Sprintf(format, args...))
}

// add takes one row, an object as text.
func (l *tableLoader) add(key string, object []byte) error {
	if line, twice := l.lines[key]; twice {
		return l.fault("key %q is in line %d already; a key has one row", key, line)
	}
	if len(l.table.rows)+len(object) > maxTableBytes {
		return l.fault("the rows up to here take more than the limit of 64 MiB; leave out what no module looks up")
	}
	if l.table.index == nil {
		l.table.index = map[string]row{}
	}
	l.lines[key] = l.line
	l.table.index[key] = row{uint32(len(l.table.rows)), uint32(len(object))}
	l.table.rows = append(l.table.rows, object...)
	return nil
}

func (l *tableLoader) readCSV() error {
	r := csv.NewReader(bytes.NewReader(l.text))
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return l.csvFault(err)
	}
	column, names, err := l.columns(header)
	if err != nil {
		return err
	}
	var object bytes.Buffer
	for {
		cells, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return l.csvFault(err)
		}
		l.line, _ = r.FieldPos(0)
		object.Reset()
		for i, cell := range cells {
			object.WriteString(names[i])
			object.Write(quoted(cell))
		}
		object.WriteByte('}')
		if err := l.add(cells[column], object.Bytes()); err != nil {
			return err
		}
	}
}

// columns returns which column is the key, and what comes before each value in
// the object that a row becomes.
func (l *tableLoader) columns(header []string) (column int, names []string, err error) {
	column = -1
	seen := map[string]bool{}
	for i, name := range header {
		if seen[name] {
			return 0, nil, l.fault("column %q is there twice", name)
		}
		seen[name] = true
		if name == l.key || l.key == "" && i == 0 {
			column = i
		}
		names = append(names, ","+string(quoted(name))+":")
	}
	names[0] = "{" + names[0][1:]
	if column < 0 {
		return 0, nil, l.fault("there is no column %q; there are %s", l.key, list(header))
	}
	return column, names, nil
}

// csvFault gives an error of package csv our form.
func (l *tableLoader) csvFault(err error) error {
	if fault, ok := errors.AsType[*csv.ParseError](err); ok {
		l.line = fault.Line
		if errors.Is(err, csv.ErrFieldCount) {
			return l.fault("the line has more or fewer values than the header")
		}
		return l.fault("column %d: %v", fault.Column, fault.Err)
	}
	return l.fault("%v", err)
}

// quoted returns s as a JSON string.
func quoted(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can be encoded
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// readJSON reads an array of objects or an object of them.
func (l *tableLoader) readJSON(first byte) error {
	d := json.NewDecoder(bytes.NewReader(l.text))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return l.jsonFault(d, err)
	}
	if first == '[' && l.key == "" {
		return l.fault("an array's rows have no keys of their own; write key: NAME, the member that rows are found by")
	}
	var compact bytes.Buffer
	for d.More() {
		key := ""
		if first == '{' {
			token, err := d.Token()
			if err != nil {
				return l.jsonFault(d, err)
			}
			key, _ = token.(string) // an object's key is one
		}
		var object json.RawMessage
		if err := d.Decode(&object); err != nil {
			return l.jsonFault(d, err)
		}
		l.moveTo(int(d.InputOffset()) - len(object))
		key, err := l.keyOf(object, key)
		if err != nil {
			return err
		}
		compact.Reset()
		if err := json.Compact(&compact, object); err != nil {
			return l.fault("%v", err)
		}
		if err := l.add(key, compact.Bytes()); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return l.jsonFault(d, err)
	}
	end := int(d.InputOffset())
	if rest := bytes.TrimLeft(l.text[end:], " \t\r\n"); len(rest) > 0 {
		l.moveTo(len(l.text) - len(rest))
		return l.fault("there is something behind the end of the table")
	}
	return nil
}

// keyOf returns the key of a row: its own, or the value of the member asked for.
func (l *tableLoader) keyOf(object []byte, own string) (string, error) {
	if object[0] != '{' {
		return "", l.fault("a row is %s, not an object", shorten(object))
	}
	if l.key == "" {
		return own, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		return "", l.fault("%v", err)
	}
	value, ok := members[l.key]
	if !ok {
		return "", l.fault("a row has no member %q", l.key)
	}
	switch value[0] {
	case '"':
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return "", l.fault("%v", err)
		}
		return text, nil
	case '{', '[', 'n':
		return "", l.fault("a row's %q is %s, which cannot be a key; a string, number or boolean can", l.key, shorten(value))
	}
	return string(value), nil
}

// moveTo makes line the one of an offset that is not before the last.
func (l *tableLoader) moveTo(offset int) {
	l.line += bytes.Count(l.text[l.counted:offset], []byte("\n"))
	l.counted = offset
}

// jsonFault gives an error of package json our form.
func (l *tableLoader) jsonFault(d *json.Decoder, err error) error {
	at := int(d.InputOffset())
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = int(syntax.Offset)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		at, err = len(l.text), errors.New("the table is cut off")
	}
	l.moveTo(max(l.counted, min(at, len(l.text))))
	return l.fault("%s", strings.TrimPrefix(err.Error(), "json: "))
}

// shorten returns the beginning of a text, for an error.
func shorten(text []byte) string {
	if len(text) > 40 {
		return string(text[:40]) + "…"
	}
	return string(text)
}
