package config

import (
	"math"
	"strconv"
	"strings"
)

// expand replaces ${NAME} by the environment variable's value and
// ${NAME:-default} by the default where it is unset or empty, once: what comes
// out is not looked at again. $${ stands for ${ itself.
func (b *builder) expand(n *Node) string {
	rest := n.raw
	if b.lookup == nil || !strings.Contains(rest, "${") {
		return rest
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			out.WriteString(rest)
			return out.String()
		}
		if strings.HasSuffix(before, "$") {
			out.WriteString(before + "{")
			rest = after
			continue
		}
		out.WriteString(before)
		inner, tail, closed := strings.Cut(after, "}")
		if !closed {
			b.report(n.place, n.Path, `"${" is not closed; write "}" after the variable's name, or "$${" to mean "${" itself`)
			return out.String()
		}
		rest = tail
		out.WriteString(b.variable(n, inner))
	}
}

// variable returns what ${inner} stands for.
func (b *builder) variable(n *Node, inner string) string {
	name, standard, hasDefault := strings.Cut(inner, ":-")
	if !variableName(name) {
		b.report(n.place, n.Path, `${%s} is no environment variable; write ${NAME} or ${NAME:-default}, or "$${" to mean "${" itself`, inner)
		return ""
	}
	value, set := b.lookup(name)
	switch {
	case hasDefault && value == "":
		return standard
	case !set:
		b.report(n.place, n.Path, "the environment variable %s is not set; set it, or write ${%s:-default}", name, name)
		return ""
	}
	b.doc.expanded = append(b.doc.expanded, expansion{"${" + name + "}", value})
	return value
}

func variableName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// exponent reads the numbers that the library takes for texts: 1e6, .inf, .nan.
func exponent(s string) (float64, bool) {
	switch strings.ToLower(s) {
	case ".inf", "+.inf":
		return math.Inf(1), true
	case "-.inf":
		return math.Inf(-1), true
	case ".nan":
		return math.NaN(), true
	}
	if strings.Trim(s, "+-.0123456789eE") != "" || !strings.ContainsAny(s, "eE") || s[0] == 'e' || s[0] == 'E' {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}
