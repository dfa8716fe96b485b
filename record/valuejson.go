package record

import "fmt"

// NextJSON returns the JSON value that p begins with, after white space, and
// what follows it. value is empty when p holds nothing but white space. Strings may
// hold bytes that are not UTF-8. A value that is not whole, not JSON, or nests
// more than 64 deep is an error that names the byte where reading stopped.
func NextJSON(p []byte) (value, rest []byte, err error) {
	s := scanner{text: p}
	if s.space() == 0 && s.at == len(p) {
		return nil, nil, nil
	}
	from := s.at
	if !s.value(0) {
		return nil, nil, fmt.Errorf("%w, or nested more than %d deep, at byte %d", errJSON, maxDepth, s.at)
	}
	return p[from:s.at:s.at], p[s.at:], nil
}

// AppendUnquoted appends what a JSON string, as NextJSON returned it, stands for.
func AppendUnquoted(dst, quoted []byte) []byte {
	return appendUnescaped(dst, quoted[1:len(quoted)-1])
}
