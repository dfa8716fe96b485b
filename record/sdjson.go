package record

import (
	"bytes"
	"errors"
)

// appendSD appends STRUCTURED-DATA as JSON: an object of elements, each an object
// of its parameters. A parameter that an element has several times, which RFC
// 5424 §6.3.3 allows, is an array of its values in order. An element that comes
// several times, which §6.3.2 forbids, is one object of all their parameters.
// What is not well formed or beyond the bounds is one string, as it came.
func appendSD(dst, sd []byte) []byte {
	if object, ok := appendUniqueSD(dst, sd); ok {
		return object
	}
	if !plainSD(sd) {
		return appendString(dst, sd)
	}
	sep := byte('{')
	for at := sd; len(at) > 0; {
		id, params, rest, _ := sdElement(at)
		if !elementBefore(sd[:len(sd)-len(at)], id) {
			dst = append(appendString(append(dst, sep), id), ':')
			dst = appendParams(dst, id, params, rest)
			sep = ','
		}
		at = rest
	}
	return append(dst, '}')
}

// appendUniqueSD is appendSD for data in which nothing comes twice, which it
// knows from a bit for each name. ok is false if that may not be so.
func appendUniqueSD(dst, sd []byte) (object []byte, ok bool) {
	var ids uint64
	params := 0
	sep := byte('{')
	for len(sd) > 0 {
		n := 0
		if sd[0] == '[' {
			n = sdNameLen(sd[1:])
		}
		if n == 0 || !addName(&ids, sd[1:1+n]) {
			return dst, false
		}
		dst = append(appendString(append(dst, sep), sd[1:1+n]), ':', '{')
		sd, sep = sd[1+n:], ','
		var names uint64
		for len(sd) > 0 && sd[0] == ' ' {
			name, value, rest, ok := sdParam(sd)
			if params++; !ok || params > maxParams || !addName(&names, name) {
				return dst, false
			}
			if names&(names-1) != 0 { // not the first
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, name), ':')
			dst = appendSDValue(dst, value)
			sd = rest
		}
		if len(sd) == 0 || sd[0] != ']' {
			return dst, false
		}
		dst = append(dst, '}')
		sd = sd[1:]
	}
	return append(dst, '}'), true
}

// addName puts name into a set of 64 bits and reports whether it was certainly not there.
func addName(set *uint64, name []byte) bool {
	h := uint64(len(name))
	for _, c := range name {
		h = (h ^ uint64(c)) * 0x9e3779b97f4a7c15
	}
	bit := uint64(1) << (h >> 58)
	was := *set & bit
	*set |= bit
	return was == 0
}

func elementBefore(sd, id []byte) bool {
	for len(sd) > 0 {
		other, _, rest, _ := sdElement(sd)
		if bytes.Equal(other, id) {
			return true
		}
		sd = rest
	}
	return false
}

// paramWalk yields the parameters of an element and of later ones of the same id.
type paramWalk struct{ id, params, rest []byte }

func (w *paramWalk) next() (name, value []byte, ok bool) {
	for len(w.params) == 0 {
		if len(w.rest) == 0 {
			return nil, nil, false
		}
		id, params, rest, _ := sdElement(w.rest)
		if w.rest = rest; bytes.Equal(id, w.id) {
			w.params = params
		}
	}
	name, value, w.params, _ = sdParam(w.params)
	return name, value, true
}

// appendParams appends one element's parameters as an object.
func appendParams(dst, id, params, rest []byte) []byte {
	sep := byte('{')
	walk := paramWalk{id, params, rest}
	for i := 0; ; i++ {
		name, value, ok := walk.next()
		if !ok {
			break
		}
		if paramBefore(paramWalk{id, params, rest}, i, name) {
			continue
		}
		dst = append(appendString(append(dst, sep), name), ':')
		dst = appendParamValues(dst, value, name, walk)
		sep = ','
	}
	if sep == '{' {
		dst = append(dst, '{')
	}
	return append(dst, '}')
}

// paramBefore reports whether one of the first n parameters has that name.
func paramBefore(walk paramWalk, n int, name []byte) bool {
	for range n {
		if other, _, _ := walk.next(); bytes.Equal(other, name) {
			return true
		}
	}
	return false
}

// appendParamValues appends value alone, or an array with those that walk still has.
func appendParamValues(dst, value, name []byte, walk paramWalk) []byte {
	start, many := len(dst), false
	dst = appendSDValue(dst, value)
	for {
		other, value, ok := walk.next()
		if !ok {
			break
		}
		if !bytes.Equal(other, name) {
			continue
		}
		if !many {
			dst = append(dst, 0)
			copy(dst[start+1:], dst[start:])
			dst[start], many = '[', true
		}
		dst = appendSDValue(append(dst, ','), value)
	}
	if many {
		dst = append(dst, ']')
	}
	return dst
}

// appendSDValue appends a PARAM-VALUE as a JSON string. A backslash before
// anything but quote, backslash and bracket is a backslash (§6.3.3).
func appendSDValue(dst, value []byte) []byte {
	dst = append(dst, '"')
	for {
		i := bytes.IndexByte(value, '\\')
		if i < 0 || i+1 == len(value) {
			return append(appendEscaped(dst, value), '"')
		}
		if c := value[i+1]; c == '"' || c == '\\' || c == ']' {
			dst = appendEscaped(dst, value[:i])
			dst = appendEscaped(dst, value[i+1:i+2])
		} else {
			dst = appendEscaped(dst, value[:i+1])
			value = value[i+1:]
			continue
		}
		value = value[i+2:]
	}
}

// sd reads structured data: an object of objects, or the raw text as a string.
func (j *jsonReader) sd() (sd []byte, err error) {
	switch j.space() {
	case '"':
		return j.stringValue()
	case '{':
	default:
		return nil, errors.New("want an object or a string")
	}
	for first := true; ; first = false {
		id, done, err := j.member(first)
		if done || err != nil {
			return sd, err
		}
		if sd == nil {
			sd = make([]byte, 0, 256)
		}
		if sd, err = j.sdElement(sd, id); err != nil {
			return nil, inField(id, err)
		}
	}
}

var errSDName = errors.New("not a name that structured data can have")

// sdElement reads an object of parameters and appends the element.
func (j *jsonReader) sdElement(sd, id []byte) ([]byte, error) {
	if sdNameLen(id) != len(id) || len(id) == 0 {
		return nil, errSDName
	}
	if j.space() != '{' {
		return nil, errors.New("want an object")
	}
	sd = append(append(sd, '['), id...)
	for first := true; ; first = false {
		name, done, err := j.member(first)
		if err != nil {
			return nil, err
		}
		if done {
			return append(sd, ']'), nil
		}
		if sd, err = j.sdParams(sd, name); err != nil {
			return nil, inField(name, err)
		}
	}
}

// sdParams reads one value or an array of them and appends a parameter for each.
func (j *jsonReader) sdParams(sd, name []byte) ([]byte, error) {
	if sdNameLen(name) != len(name) || len(name) == 0 {
		return nil, errSDName
	}
	if j.space() != '[' {
		value, err := j.stringValue()
		return appendSDParam(sd, name, value), err
	}
	for first := true; ; first = false {
		if done, err := j.more(first, ']'); done || err != nil {
			return sd, err
		}
		value, err := j.stringValue()
		if err != nil {
			return nil, err
		}
		sd = appendSDParam(sd, name, value)
	}
}
