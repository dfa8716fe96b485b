package main

// redactions returns how many secrets the message holds.
func redactions(message []byte) int {
	n := 0
	each(message, func(int, int) { n++ })
	return n
}

// redact copies message to space, of the same length, with every secret
// replaced by asterisks: lengths and offsets stay, so that nothing else moves.
func redact(space, message []byte) {
	copy(space, message)
	each(message, func(from, to int) {
		for i := from; i < to; i++ {
			if message[i] != ' ' && message[i] != '-' {
				space[i] = '*'
			}
		}
	})
}

// each calls found for every card number and every token in message.
//
// A card number is 13 to 19 digits, with single spaces or dashes between them
// if any, that satisfy the Luhn check (ISO/IEC 7812-1); its last four digits
// are left to be seen. A token is what follows "Bearer ", or the word
// after "token=", "password=", "secret=", "api_key=" or "apikey=".
func each(message []byte, found func(from, to int)) {
	for i := 0; i < len(message); {
		switch c := message[i]; {
		case c >= '0' && c <= '9':
			end, digits := number(message, i)
			if digits >= 13 && digits <= 19 && luhn(message[i:end]) {
				found(i, end-lastFour(message[i:end]))
			}
			i = end
		case c == '=':
			if secretKey(message[:i]) {
				end := word(message, i+1)
				if end > i+1 {
					found(i+1, end)
				}
				i = end
				continue
			}
			i++
		case c == ' ':
			if i >= 6 && (string(message[i-6:i]) == "Bearer" || string(message[i-6:i]) == "bearer") {
				end := word(message, i+1)
				if end > i+1 {
					found(i+1, end)
				}
				i = end
				continue
			}
			i++
		default:
			i++
		}
	}
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
	for _, name := range [...]string{"token", "password", "passwd", "secret", "api_key", "apikey"} {
		if at := len(before) - len(name); at >= 0 && equalFold(before[at:], name) {
			return true
		}
	}
	return false
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
