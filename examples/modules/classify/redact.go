package main

import (
	"strconv"

	runnel "github.com/runnel-log/runnel/guest-sdk/go"
)

// secret is a part of a message that nobody should read.
type secret struct{ from, to int }

// redact hides the secrets in the record's message and in its texts, which may
// hold parts of the message again after it was parsed.
func redact(r *runnel.Record) {
	if message := r.Message(); redactable(message) {
		cover(r.MessageSpace(len(message)), message)
	}
	for key, value := range r.Attrs {
		redactAttr(r, key, value)
	}
}

// redactAttr hides the secrets in an attribute. One named like a secret, as what
// was parsed from password=x, is one as a whole.
func redactAttr(r *runnel.Record, key []byte, value runnel.Value) {
	if secretKey(key) {
		r.Set(string(key), "********")
		return
	}
	switch value.Kind {
	case runnel.String, runnel.Bytes:
		if redactable(value.Data) {
			cover(r.AttrSpace(string(key), value.Kind, len(value.Data)), value.Data)
		}
	case runnel.JSON:
		if redactable(value.Data) {
			space := r.AttrSpace(string(key), value.Kind, len(value.Data))
			cover(space, value.Data)
			keepNumbers(space)
		}
	case runnel.Int:
		if value.Int() >= 1e12 {
			redactInt(r, key, value.Int())
		}
	}
}

func redactInt(r *runnel.Record, key []byte, n int64) {
	if number := strconv.AppendInt(nil, n, 10); redactable(number) {
		stars(number[:len(number)-4])
		r.Set(string(key), string(number))
	}
}

// keepNumbers puts nines in place of the asterisks of a number in JSON: it would
// be none any more.
func keepNumbers(json []byte) {
	quoted := false
	for i := 0; i < len(json); i++ {
		switch c := json[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '*' && !quoted:
			json[i] = '9'
		}
	}
}

// redactable reports whether a text holds a secret.
func redactable(text []byte) bool {
	_, ok := next(text, 0)
	return ok
}

// cover copies text to space, of the same length, with asterisks in place
// of every secret: lengths and offsets stay, so that nothing else moves.
func cover(space, text []byte) {
	copy(space, text)
	for at := 0; ; {
		s, ok := next(text, at)
		if !ok {
			return
		}
		stars(space[s.from:s.to])
		at = s.to
	}
}

func stars(b []byte) {
	for i := range b {
		b[i] = '*'
	}
}

// interesting marks the bytes a secret can begin at or before.
var interesting = [256]uint8{'0': 1, '1': 1, '2': 1, '3': 1, '4': 1, '5': 1, '6': 1, '7': 1, '8': 1, '9': 1,
	'=': 1, 'B': 1}

// next returns the first secret at or after i.
//
// A card number is 13 to 19 digits, with single spaces or dashes between them
// if any, that stand alone and satisfy the Luhn check (ISO/IEC 7812-1); its last
// four digits are left to be seen. A token is what follows "Bearer ", or the
// word after "token=", "password=", "passwd=", "secret=", "api_key=" or "apikey=".
func next(message []byte, i int) (secret, bool) {
	for i < len(message) {
		for i+8 <= len(message) { // eight at a time where there is nothing: a turn of a loop is dear in a guest
			m := message[i : i+8 : i+8]
			if interesting[m[0]]|interesting[m[1]]|interesting[m[2]]|interesting[m[3]]|
				interesting[m[4]]|interesting[m[5]]|interesting[m[6]]|interesting[m[7]] != 0 {
				break
			}
			i += 8
		}
		if i == len(message) {
			break
		}
		from := i
		switch c := message[i]; {
		case c >= '0' && c <= '9':
			end, digits := number(message, i)
			if digits >= 13 && digits <= 19 && !letterBefore(message, i) && luhn(message[i:end]) {
				return secret{from, end - lastFour(message[i:end])}, true
			}
			i = end
			continue
		case c == '=' && secretKey(message[:i]):
			from++
		case c == 'B' && bearer(message[i:]):
			from += len("Bearer ")
		default:
			i++
			continue
		}
		if i = word(message, from); i > from {
			return secret{from, i}, true
		}
	}
	return secret{}, false
}

func bearer(message []byte) bool {
	return len(message) > 7 && string(message[1:7]) == "earer "
}

func letterBefore(message []byte, i int) bool {
	if i == 0 {
		return false
	}
	c := message[i-1] | 0x20
	return c >= 'a' && c <= 'z'
}

// number returns where the run of digits and single separators that begins at
// i ends, and how many digits it has.
func number(message []byte, i int) (end, digits int) {
	for end = i; end < len(message); end++ {
		c := message[end]
		if c >= '0' && c <= '9' {
			digits++
			continue
		}
		if (c != ' ' && c != '-') || end+1 == len(message) || message[end+1] < '0' || message[end+1] > '9' {
			break
		}
	}
	return end, digits
}

func luhn(number []byte) bool {
	sum, double := 0, false
	for i := len(number) - 1; i >= 0; i-- {
		d := int(number[i]) - '0'
		if d < 0 || d > 9 {
			continue
		}
		if double {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		double = !double
	}
	return sum%10 == 0 && sum > 0
}

// lastFour returns how many bytes at the end hold the last four digits.
func lastFour(number []byte) int {
	digits := 0
	for i := len(number) - 1; i >= 0; i-- {
		if number[i] >= '0' && number[i] <= '9' {
			digits++
		}
		if digits == 4 {
			return len(number) - i
		}
	}
	return 0
}

func word(message []byte, i int) int {
	for i < len(message) {
		switch c := message[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '.', c == '_', c == '-', c == '+', c == '/', c == '=', c == '~':
			i++
		default:
			return i
		}
	}
	return i
}

// secretKey reports whether before ends with a word that names a secret.
func secretKey(before []byte) bool {
	if len(before) == 0 {
		return false
	}
	switch before[len(before)-1] | 0x20 {
	case 'n':
		return endsWith(before, "token")
	case 'd':
		return endsWith(before, "password") || endsWith(before, "passwd")
	case 't':
		return endsWith(before, "secret")
	case 'y':
		return endsWith(before, "api_key") || endsWith(before, "apikey")
	}
	return false
}

func endsWith(text []byte, name string) bool {
	at := len(text) - len(name)
	return at >= 0 && equalFold(text[at:], name)
}

// equalFold compares ASCII letters without case; name is in lower case.
func equalFold(b []byte, name string) bool {
	for i := range len(name) {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}
