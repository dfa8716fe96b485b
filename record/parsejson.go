package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
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
	if err := j.members(func(name []byte) error { return j.member(name, r) }); err != nil {
		return err
	}
	if !j.end() {
		return fmt.Errorf("text after the record, at byte %d", j.at)
	}
	return nil
}

// jsonReader reads a record's JSON.
type jsonReader struct {
	scanner
	had uint32 // the fields seen so far, a bit each
}

// errJSON: the text is not JSON at all.
var errJSON = errors.New("not valid JSON")

// members reads an object, at its opening brace, and calls each with the name of
// a member when its value comes next.
func (j *jsonReader) members(each func(name []byte) error) error {
	j.at++
	if j.space() == '}' {
		j.at++
		return nil
	}
	for {
		if j.space() != '"' {
			return fmt.Errorf("%w at byte %d", errJSON, j.at)
		}
		name, err := j.stringValue()
		if err != nil {
			return err
		}
		if !j.next(':') {
			return fmt.Errorf("%w at byte %d", errJSON, j.at)
		}
		j.space()
		if err := each(name); err != nil {
			return fmt.Errorf("%q: %w", cut(name), err)
		}
		switch j.space() {
		case ',':
			j.at++
		case '}':
			j.at++
			return nil
		default:
			return fmt.Errorf("%w at byte %d", errJSON, j.at)
		}
	}
}

// cut shortens a name from outside for an error.
func cut(name []byte) []byte { return name[:min(len(name), 64)] }

// jsonFields are the names of the fields, in the order AppendJSON writes them.
var jsonFields = [...]string{"time", "received", "stream", "offset", "agent", "origin", "facility", "severity",
	"host", "app", "procid", "msgid", "message", "attrs", "sd", "input", "peer", "flags"}

// member reads one field's value into r.
func (j *jsonReader) member(name []byte, r *Record) (err error) {
	i := slices.Index(jsonFields[:], string(name))
	if i < 0 {
		return errors.New("unknown field")
	}
	if j.had&(1<<i) != 0 {
		return errors.New("field given twice")
	}
	j.had |= 1 << i
	switch jsonFields[i] {
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
	default:
		*r.field(jsonFields[i]), err = j.stringValue()
	}
	return err
}

// field returns the text field of that JSON name.
func (r *Record) field(name string) *[]byte {
	switch name {
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
	}
	return &r.Message
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
	bad := fmt.Errorf("want AGENT/EPOCH/STREAM/SEQUENCE, not %q", cut(text))
	agent, rest, _ := bytes.Cut(text, []byte{'/'})
	epoch, rest, _ := bytes.Cut(rest, []byte{'/'})
	last := bytes.LastIndexByte(rest, '/')
	if len(agent) != 2*len(o.Agent) || last < 0 {
		return bad
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
		return bad
	}
	o.Epoch, o.Sequence, o.Child, o.Stream = uint32(e), s, uint32(c), rest[:last]
	return nil
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
	err = j.elements(func() error {
		name, err := j.stringValue()
		if err != nil {
			return err
		}
		flag := FlagNamed(string(name))
		if flag == 0 {
			return fmt.Errorf("unknown flag %q", cut(name))
		}
		f |= flag
		return nil
	})
	return f, err
}

// elements reads an array and calls each when an element comes next.
func (j *jsonReader) elements(each func() error) error {
	if j.space() != '[' {
		return errors.New("want an array")
	}
	j.at++
	if j.space() == ']' {
		j.at++
		return nil
	}
	for {
		j.space()
		if err := each(); err != nil {
			return err
		}
		switch j.space() {
		case ',':
			j.at++
		case ']':
			j.at++
			return nil
		default:
			return fmt.Errorf("%w at byte %d", errJSON, j.at)
		}
	}
}

// sd reads structured data: an object of objects, or the raw text as a string.
func (j *jsonReader) sd() ([]byte, error) {
	switch j.space() {
	case '"':
		return j.stringValue()
	case '{':
	default:
		return nil, errors.New("want an object or a string")
	}
	sd := []byte{}
	err := j.members(func(id []byte) error {
		if sdNameLen(id) != len(id) || len(id) == 0 {
			return errors.New("not a name that structured data can have")
		}
		if j.space() != '{' {
			return errors.New("want an object")
		}
		sd = append(append(sd, '['), id...)
		err := j.members(func(name []byte) (err error) {
			sd, err = j.sdParam(sd, name)
			return err
		})
		sd = append(sd, ']')
		return err
	})
	return sd, err
}

// sdParam reads one value or an array of them and appends a parameter for each.
func (j *jsonReader) sdParam(sd, name []byte) ([]byte, error) {
	if sdNameLen(name) != len(name) || len(name) == 0 {
		return sd, errors.New("not a name that structured data can have")
	}
	one := func() error {
		value, err := j.stringValue()
		sd = append(append(append(sd, ' '), name...), `="`...)
		sd = append(appendSDText(sd, value), '"')
		return err
	}
	if j.space() == '[' {
		err := j.elements(one)
		return sd, err
	}
	err := one()
	return sd, err
}
