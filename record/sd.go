package record

// STRUCTURED-DATA beyond these bounds stays one string in JSON: gathering what
// comes twice takes quadratic time.
const (
	maxElements = 64
	maxParams   = 256
)

// sdElement reads the SD-ELEMENT that sd begins with (RFC 5424 §6.3) and returns
// its id and its parameters, which nextParam takes apart.
func sdElement(sd []byte) (id, params, rest []byte, ok bool) {
	if len(sd) == 0 || sd[0] != '[' {
		return nil, nil, nil, false
	}
	n := sdNameLen(sd[1:])
	id, rest = sd[1:1+n], sd[1+n:]
	if n == 0 {
		return nil, nil, nil, false
	}
	params = rest
	for {
		if len(rest) > 0 && rest[0] == ']' {
			return id, params[:len(params)-len(rest)], rest[1:], true
		}
		if _, _, rest, ok = sdParam(rest); !ok {
			return nil, nil, nil, false
		}
	}
}

// sdParam reads a space and the SD-PARAM behind it; value keeps its escapes.
func sdParam(b []byte) (name, value, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != ' ' {
		return nil, nil, nil, false
	}
	n := sdNameLen(b[1:])
	name, b = b[1:1+n], b[1+n:]
	if n == 0 || len(b) < 2 || b[0] != '=' || b[1] != '"' {
		return nil, nil, nil, false
	}
	b = b[2:]
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return name, b[:i], b[i+1:], true
		}
	}
	return nil, nil, nil, false
}

// sdNameLen returns how many bytes b begins with that an SD-NAME may hold. We let
// it be longer than 32 and not ASCII, as senders do.
func sdNameLen(b []byte) int {
	for i, c := range b {
		if c <= ' ' || c == 0x7f || c == '=' || c == ']' || c == '"' {
			return i
		}
	}
	return len(b)
}

// plainSD reports whether sd is well formed and within bounds.
func plainSD(sd []byte) bool {
	elements, params := 0, 0
	for len(sd) > 0 {
		_, p, rest, ok := sdElement(sd)
		if !ok {
			return false
		}
		elements++
		for len(p) > 0 {
			_, _, p, _ = sdParam(p)
			params++
		}
		if elements > maxElements || params > maxParams {
			return false
		}
		sd = rest
	}
	return true
}

// appendSDParam appends an SD-PARAM, the value escaped.
func appendSDParam(dst, name, value []byte) []byte {
	dst = append(append(append(dst, ' '), name...), `="`...)
	for _, c := range value {
		if c == '"' || c == '\\' || c == ']' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
