package expression

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/runnel-log/runnel/record"
)

// Bounds of patterns. Go's regular expressions take time by the product of the
// text and the pattern, with its repetitions written out: (.?){900} takes 20 µs for each
// byte. So patterns pay for what they read with the steps that they have, some
// 10 ns each at worst, and are given 1.7 s for a record and a little more for a long one.
const (
	maxPattern   = 1 << 10   // bytes of one
	maxSteps     = 4000      // steps of one
	patternWork  = 160 << 20 // steps times bytes that one evaluation may take
	patternShare = 24        // and this for each byte of the record, or one simple pattern could not read the longest
	longPattern  = 4 << 20   // from this price on a text is paid for as it is read, and not before
)

// pattern is a regular expression with its price. It is immutable.
type pattern struct {
	re     *regexp.Regexp
	prefix string // every match has it
	price  int    // of one byte
}

// newPattern compiles the right side of matches; the error says what to do.
func newPattern(source string) (*pattern, error) {
	if len(source) > maxPattern {
		return nil, fmt.Errorf("the pattern has %d bytes, and may have %d; write it as several, joined by or", len(source), maxPattern)
	}
	re, err := regexp.Compile(source)
	if err != nil {
		return nil, fmt.Errorf("the pattern is wrong: %s; Go's regular expressions have no look-around and no back-references",
			strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	n := stepsOf(source)
	if n > maxSteps {
		return nil, fmt.Errorf("the pattern has %d steps with its repetitions written out, and may have %d; repeat less", n, maxSteps)
	}
	prefix, _ := re.LiteralPrefix()
	return &pattern{re: re, prefix: prefix, price: 8 + n}, nil
}

// stepsOf returns how many instructions a pattern that compiles is made of.
func stepsOf(source string) int {
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return maxSteps + 1
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return maxSteps + 1
	}
	return len(program.Inst)
}

// matches reports whether a text of the record matches, as long as s can pay for it.
func (p *pattern) matches(s *scope, text []byte) bool {
	if !s.pay(16+len(text)/8) || p.prefix != "" && !bytes.Contains(text, []byte(p.prefix)) {
		return false
	}
	if price := p.price * len(text); price < longPattern {
		return s.pay(price) && p.re.Match(text)
	}
	r := &payingReader{from: bytes.NewReader(text), scope: s, price: p.price}
	return p.re.MatchReader(r) && s.patterns >= 0
}

// matchesText is matches of a string.
func (p *pattern) matchesText(s *scope, text string) bool {
	if !s.pay(16+len(text)/8) || p.prefix != "" && !strings.Contains(text, p.prefix) {
		return false
	}
	if price := p.price * len(text); price < longPattern {
		return s.pay(price) && p.re.MatchString(text)
	}
	r := &payingReader{from: strings.NewReader(text), scope: s, price: p.price}
	return p.re.MatchReader(r) && s.patterns >= 0
}

// payingReader is a text that ends when it can no longer be paid for.
type payingReader struct {
	from  io.RuneReader
	scope *scope
	price int
}

// ReadRune returns the next character.
func (r *payingReader) ReadRune() (c rune, size int, err error) {
	c, size, err = r.from.ReadRune()
	if err == nil && !r.scope.pay(size*r.price) {
		return 0, 0, io.EOF
	}
	return c, size, err
}

// begin gives the evaluation of a record what its patterns may cost.
func (s *scope) begin(v record.View) { s.patterns = patternWork + patternShare*len(v) }

// pay takes work off, and reports whether there was so much.
func (s *scope) pay(work int) bool {
	if s.patterns < 0 {
		return false
	}
	s.patterns -= work
	return s.patterns >= 0
}

var errPatterns = errors.New("too much for patterns to read in one record")
