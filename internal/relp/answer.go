package relp

import (
	"bytes"
	"errors"
	"fmt"
)

// Answer codes.
const (
	CodeOK    = 200
	CodeError = 500
)

// maxText is how long the text of an answer may be, in bytes.
const maxText = 80

// ErrAnswer: the data of a rsp is no answer.
var ErrAnswer = errors.New("not a RELP answer")

// Answer is the data of a rsp. Its slices are part of that data.
type Answer struct {
	Code int
	Text []byte // for people
	Data []byte // after the text and an LF: offers
}

var ok = []byte("200 OK")

// ParseAnswer reads the data of a rsp: three digits, a blank and a text, or the
// digits alone; then an LF where data follows. librelp answers a close with
// nothing at all; that is the caller's to know.
func ParseAnswer(data []byte) (Answer, error) {
	if bytes.Equal(data, ok) {
		return Answer{Code: CodeOK, Text: data[4:]}, nil
	}
	line, rest, _ := bytes.Cut(data, []byte{'\n'})
	code := 0
	for i := range 3 {
		if i >= len(line) || line[i] < '0' || line[i] > '9' {
			return Answer{}, fmt.Errorf("%w: %q", ErrAnswer, data[:min(len(data), maxText)])
		}
		code = code*10 + int(line[i]-'0')
	}
	line = line[3:]
	if len(line) > 0 && line[0] != ' ' {
		return Answer{}, fmt.Errorf("%w: %q", ErrAnswer, data[:min(len(data), maxText)])
	}
	return Answer{Code: code, Text: bytes.TrimPrefix(line, []byte{' '}), Data: rest}, nil
}
