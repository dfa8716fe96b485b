package runnel

// parser reads one JSON text (RFC 8259), to depth 32. It splits; what a value
// means is the caller's business.
type parser struct {
	s     string
	i     int
	depth int
	bad   bool
}

func (p *parser) space() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\n' || p.s[p.i] == '\t' || p.s[p.i] == '\r') {
		p.i++
	}
}

// more reports whether anything but space is left.
func (p *parser) more() bool {
	p.space()
	return p.i < len(p.s)
}

func (p *parser) take(c byte) bool {
	if p.more() && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

// object calls each with every key and raw value, and reports whether the
// text goes on with a well-formed object.
func (p *parser) object(each func(key, value string)) bool {
	if !p.take('{') {
		return false
	}
	if p.take('}') {
		return true
	}
	for {
		p.space()
		key, ok := p.value()
		if !ok || key[0] != '"' || !p.take(':') {
			return false
		}
		value, ok := p.value()
		if !ok {
			return false
		}
		each(unquote(key), value)
		if p.take('}') {
			return !p.bad
		}
		if !p.take(',') {
			return false
		}
	}
}

// list calls each with every raw value of an array.
func (p *parser) list(each func(value string)) bool {
	if !p.take('[') {
		return false
	}
	if p.take(']') {
		return true
	}
	for {
		value, ok := p.value()
		if !ok {
			return false
		}
		each(value)
		if p.take(']') {
			return !p.bad
		}
		if !p.take(',') {
			return false
		}
	}
}

// value returns the raw text of the next value, never empty if ok.
func (p *parser) value() (raw string, ok bool) {
	if !p.more() {
		return "", false
	}
	from := p.i
	switch c := p.s[p.i]; {
	case c == '"':
		ok = p.text()
	case c == '{' || c == '[':
		if p.depth++; p.depth > 32 {
			return "", false
		}
		if c == '{' {
			ok = p.object(func(string, string) {})
		} else {
			ok = p.list(func(string) {})
		}
		p.depth--
	default:
		for p.i < len(p.s) && (isDigit(p.s[p.i]) || 'a' <= p.s[p.i] && p.s[p.i] <= 'z' ||
			p.s[p.i] == '-' || p.s[p.i] == '+' || p.s[p.i] == '.' || p.s[p.i] == 'E') {
			p.i++
		}
		word := p.s[from:p.i]
		ok = word == "true" || word == "false" || word == "null" ||
			word != "" && (word[0] == '-' && len(word) > 1 && isDigit(word[1]) || isDigit(word[0]))
	}
	return p.s[from:p.i], ok
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// text steps over a quoted text.
func (p *parser) text() bool {
	for p.i++; p.i < len(p.s); p.i++ {
		switch p.s[p.i] {
		case '\\':
			p.i++
		case '"':
			p.i++
			return true
		}
	}
	p.i = len(p.s) // the escape at its end leads beyond it
	return false
}

// unquote returns what a quoted text means; a broken escape stands for itself.
func unquote(raw string) string {
	raw = raw[1 : len(raw)-1]
	plain := true
	for i := 0; i < len(raw); i++ {
		plain = plain && raw[i] != '\\'
	}
	if plain {
		return raw
	}
	b := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' || i+1 == len(raw) {
			b = append(b, raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'n':
			b = append(b, '\n')
		case 't':
			b = append(b, '\t')
		case 'r':
			b = append(b, '\r')
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'u':
			r, n := codePoint(raw[i+1:])
			b = append(b, string(r)...)
			i += n
		default:
			b = append(b, raw[i])
		}
	}
	return string(b)
}

// codePoint reads four hex digits, and the low surrogate that follows a high one.
func codePoint(s string) (r rune, n int) {
	r, ok := hex4(s)
	if !ok {
		return 0xfffd, 0
	}
	if r < 0xd800 || r > 0xdfff {
		return r, 4
	}
	if len(s) >= 10 && s[4] == '\\' && s[5] == 'u' && r < 0xdc00 {
		if low, ok := hex4(s[6:]); ok && low >= 0xdc00 && low <= 0xdfff {
			return (r-0xd800)<<10 + (low - 0xdc00) + 0x10000, 10
		}
	}
	return 0xfffd, 4
}

func hex4(s string) (r rune, ok bool) {
	if len(s) < 4 {
		return 0, false
	}
	for i := range 4 {
		c := s[i]
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// parseInt reads every int64, and nothing beyond.
func parseInt(s string) (n int64, ok bool) {
	const most = 1<<63 - 1
	negative := s != "" && s[0] == '-'
	bound := uint64(most)
	if negative {
		s, bound = s[1:], most+1
	}
	size := uint64(0)
	for i := range len(s) {
		if !isDigit(s[i]) || size > most/10 {
			return 0, false
		}
		size = size*10 + uint64(s[i]-'0')
	}
	if s == "" || size > bound {
		return 0, false
	}
	if negative {
		return -int64(size), true
	}
	return int64(size), true
}
