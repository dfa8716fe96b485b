package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// ParseJSON fills r, which it resets first, from one JSON object of the form that
// AppendJSON writes. It is strict: an unknown or repeated field, a value of
// another type, or anything but white space after the object is an error that
// names the field. Severity and facility may be numbers or names. A nested
// attribute is kept as JSON; null is an attribute's value, but no field's. An
// attribute's value may nest 64 deep. The offset is checked and left out, as a
// record does not hold it.
//
// The slices in r are borrowed from p where the JSON has no escapes. After an
// error r holds no meaning.
func ParseJSON(p []byte, r *Record) error {
	r.Reset()
	if len(p) > MaxSize {
		return ErrTooLarge
	}
	j := jsonReader{scanner: scanner{text: p}}
	if j.space() != '{' {
		return errors.New("record is not a JSON object")
	}
	var had uint32 // a bit for each field seen
	for first := true; ; first = false {
		name, done, err := j.member(first)
		if err != nil {
			return err
		}
		if done {
			break
		}
		if err := j.field(name, &had, r); err != nil {
			return inField(name, err)
		}
	}
	if !j.end() {
		return fmt.Errorf("text after the record, at byte %d", j.at)
	}
	return nil
}

// jsonReader reads a record's JSON.
type jsonReader struct{ scanner }

// errJSON: the text is not JSON at all.
var errJSON = errors.New("not valid JSON")

func (j *jsonReader) invalid() error { return fmt.Errorf("%w at byte %d", errJSON, j.at) }

// inField adds the field's name to an error.
func inField(name []byte, err error) error { return fmt.Errorf("%q: %w", cut(name), err) }

// cut shortens what came from outside for an error.
func cut(name []byte) []byte { return name[:min(len(name), 64)] }

// more reads what stands between the parts of an object or array: the opening
// bracket before the first, a comma before any other, or the closing bracket.
func (j *jsonReader) more(first bool, closing byte) (done bool, err error) {
	if first {
		j.at++
		if j.space() == closing {
			j.at++
			return true, nil
		}
		return false, nil
	}
	switch j.space() {
	case ',':
		j.at++
		j.space()
		return false, nil
	case closing:
		j.at++
		return true, nil
	}
	return false, j.invalid()
}

// member reads an object up to its next value and returns that one's name.
func (j *jsonReader) member(first bool) (name []byte, done bool, err error) {
	if done, err = j.more(first, '}'); done || err != nil {
		return nil, done, err
	}
	if j.space() != '"' {
		return nil, false, j.invalid()
	}
	if name, err = j.stringValue(); err != nil {
		return nil, false, err
	}
	if !j.next(':') {
		return nil, false, j.invalid()
	}
	j.space()
	return name, false, nil
}

// field reads one field's value into r.
func (j *jsonReader) field(name []byte, had *uint32, r *Record) (err error) {
	bit := fieldBit(name)
	if bit == 0 {
		return errors.New("unknown field")
	}
	if *had&bit != 0 {
		return errors.New("field given twice")
	}
	*had |= bit
	if text := r.text(name); text != nil {
		*text, err = j.stringValue()
		return err
	}
	switch string(name) {
	case "time":
		r.Time, err = j.timeValue()
	case "received":
		r.Received, err = j.timeValue()
	case "facility":
		r.Facility, err = j.level(23, FacilityNamed)
	case "severity":
		r.Severity, err = j.level(7, SeverityNamed)
	case "offset":
		_, err = j.unsigned()
	case "origin":
		err = j.origin(&r.Origin)
	case "attrs":
		err = j.attrs(&r.Attrs)
	case "sd":
		r.SD, err = j.sd()
	case "flags":
		r.Flags, err = j.flags()
	}
	return err
}

// fieldBit returns a bit of its own for each field there is, and 0 for others.
func fieldBit(name []byte) uint32 {
	for i, field := range jsonFields {
		if field == string(name) {
			return 1 << i
		}
	}
	return 0
}

// jsonFields are the fields in the order in which AppendJSON writes them.
var jsonFields = [...]string{"time", "received", "stream", "offset", "agent", "origin", "facility", "severity",
	"host", "app", "procid", "msgid", "message", "attrs", "sd", "input", "peer", "flags"}

// text returns the text field of that JSON name, or nil.
func (r *Record) text(name []byte) *[]byte {
	switch string(name) {
	case "host":
		return &r.Host
	case "app":
		return &r.App
	case "procid":
		return &r.ProcID
	case "msgid":
		return &r.MsgID
	case "stream":
		return &r.Stream
	case "input":
		return &r.Input
	case "peer":
		return &r.Peer
	case "agent":
		return &r.Agent
	case "message":
		return &r.Message
	}
	return nil
}

// stringValue reads a string, borrowed from the text if it has no escapes.
func (j *jsonReader) stringValue() ([]byte, error) {
	if j.space() != '"' {
		return nil, errors.New("want a string")
	}
	raw, escaped, ok := j.str()
	if !ok {
		return nil, fmt.Errorf("%w: string at byte %d", errJSON, j.at)
	}
	if escaped {
		return appendUnescaped(make([]byte, 0, len(raw)), raw), nil
	}
	return raw, nil
}

func (j *jsonReader) timeValue() (int64, error) {
	text, err := j.stringValue()
	if err != nil {
		return 0, err
	}
	ns, ok := parseTime(text)
	if !ok {
		return 0, fmt.Errorf("want an RFC 3339 time between 1678 and 2262, not %q", cut(text))
	}
	return ns, nil
}

// unsigned reads a whole number that is not negative.
func (j *jsonReader) unsigned() (uint64, error) {
	from := j.at
	if c := j.space(); c != '-' && c-'0' > 9 {
		return 0, errors.New("want a number")
	}
	if _, ok := j.number(); !ok {
		return 0, fmt.Errorf("%w at byte %d", errJSON, j.at)
	}
	n, err := strconv.ParseUint(string(j.text[from:j.at]), 10, 64)
	if err != nil {
		return 0, errors.New("want a whole number that is not negative")
	}
	return n, nil
}

// level reads a severity or facility: its number up to top, or its name.
func (j *jsonReader) level(top uint64, named func(string) (uint8, bool)) (uint8, error) {
	if j.space() != '"' {
		n, err := j.unsigned()
		if err == nil && n > top {
			err = fmt.Errorf("want a number from 0 to %d or a name", top)
		}
		return uint8(n), err
	}
	name, err := j.stringValue()
	if err != nil {
		return Absent, err
	}
	level, ok := named(string(name))
	if !ok {
		return Absent, fmt.Errorf("unknown name %q", cut(name))
	}
	return level, nil
}

// origin reads agent/epoch/stream/sequence or agent/epoch/stream/sequence.child.
func (j *jsonReader) origin(o *Origin) error {
	text, err := j.stringValue()
	if err != nil {
		return err
	}
	if !o.parse(text) {
		return fmt.Errorf("want AGENT/EPOCH/STREAM/SEQUENCE, not %q", cut(text))
	}
	return nil
}

// parse reads an origin as AppendJSON writes it, and borrows the stream's name.
func (o *Origin) parse(text []byte) bool {
	agent, rest, _ := bytes.Cut(text, []byte{'/'})
	epoch, rest, _ := bytes.Cut(rest, []byte{'/'})
	last := bytes.LastIndexByte(rest, '/')
	if len(agent) != 2*len(o.Agent) || last < 0 {
		return false
	}
	sequence, child, isChild := bytes.Cut(rest[last+1:], []byte{'.'})
	if !isChild {
		child = []byte{'0'}
	}
	_, errA := hex.Decode(o.Agent[:], agent)
	e, errE := strconv.ParseUint(string(epoch), 10, 32)
	s, errS := strconv.ParseUint(string(sequence), 10, 64)
	c, errC := strconv.ParseUint(string(child), 10, 32)
	if errA != nil || errE != nil || errS != nil || errC != nil {
		return false
	}
	o.Epoch, o.Sequence, o.Child, o.Stream = uint32(e), s, uint32(c), rest[:last]
	return true
}

// attrs reads the attributes; nested ones stay JSON.
func (j *jsonReader) attrs(a *Attrs) error {
	if j.space() != '{' {
		return errors.New("want an object")
	}
	f := flattener{scanner: j.scanner, depth: 0, limit: math.MaxInt}
	f.begin(a)
	if !f.object(0) {
		return fmt.Errorf("%w or nested too deep, near byte %d", errJSON, f.at)
	}
	f.finish(a)
	j.at = f.at
	if f.left > 0 {
		return fmt.Errorf("a name is longer than %d bytes", MaxField)
	}
	if a.n > MaxAttrs {
		return fmt.Errorf("more than %d attributes", MaxAttrs)
	}
	return nil
}

func (j *jsonReader) flags() (f Flags, err error) {
	if j.space() != '[' {
		return 0, errors.New("want an array")
	}
	for first := true; ; first = false {
		if done, err := j.more(first, ']'); done || err != nil {
			return f, err
		}
		name, err := j.stringValue()
		if err != nil {
			return 0, err
		}
		flag := FlagNamed(string(name))
		if flag == 0 {
			return 0, fmt.Errorf("unknown flag %q", cut(name))
		}
		f |= flag
	}
}
