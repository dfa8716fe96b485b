package expression

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/record"
)

// checker finds what is wrong with a tree before it runs, and puts numbers in
// place of severity and facility names, and times in place of dates.
type checker struct {
	source    string
	variables []variable // let, innermost last
	predicate int        // depth of any(…, here)
	err       *Error     // the first
}

type variable struct {
	name string
	kind kind
}

// fail records the first error.
func (c *checker) fail(n ast.Node, format string, args ...any) kind {
	if c.err == nil {
		from, to := c.extent(n)
		c.err = errorAt(c.source, from, to, fmt.Sprintf(format, args...))
	}
	return anything
}

// extent returns the characters that n takes, from its leftmost to its rightmost part.
func (c *checker) extent(n ast.Node) (from, to int) {
	l := n.Location()
	from, to = l.From, max(l.To, l.From+1)
	children(n, func(child *ast.Node) {
		if *child == nil {
			return
		}
		f, t := c.extent(*child)
		from, to = min(from, f), max(to, t)
	})
	return from, to
}

// check returns the kind of *n and checks everything below it.
func (c *checker) check(n *ast.Node) kind {
	if c.err != nil {
		return anything
	}
	switch n := (*n).(type) {
	case *ast.NilNode:
		return nothing
	case *ast.IntegerNode, *ast.FloatNode:
		return number
	case *ast.BoolNode:
		return boolean
	case *ast.StringNode:
		return text
	case *ast.ConstantNode:
		return instant // only literal() makes them
	case *ast.IdentifierNode:
		return c.identifier(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ChainNode:
		return c.check(&n.Node)
	case *ast.MemberNode:
		return c.member(n)
	case *ast.SliceNode:
		return c.slice(n)
	case *ast.CallNode:
		return c.call(n)
	case *ast.BuiltinNode:
		return c.builtin(n)
	case *ast.PointerNode:
		if n.Name != "" && n.Name != "index" {
			return c.fail(n, "#%s is not known; write # or #index", n.Name)
		}
		return anything
	case *ast.ConditionalNode:
		c.wantCondition(n.Cond, c.check(&n.Cond))
		return either(c.check(&n.Exp1), c.check(&n.Exp2))
	case *ast.VariableDeclaratorNode:
		return c.let(n)
	case *ast.ArrayNode:
		for i := range n.Nodes {
			c.check(&n.Nodes[i])
		}
		return list
	case *ast.MapNode:
		for _, pair := range n.Pairs {
			p := pair.(*ast.PairNode)
			if k := c.check(&p.Key); k != text {
				c.fail(p.Key, "a key is %s; write a text", k)
			}
			c.check(&p.Value)
		}
		return mapping
	}
	return c.fail(*n, "cannot be used here; write a condition or a value")
}

func either(a, b kind) kind {
	switch {
	case a == b || b == nothing:
		return a
	case a == nothing:
		return b
	}
	return anything
}

// otherNames are what other programs call the fields of a record.
var otherNames = map[string]string{
	"msg": "message", "body": "message", "timestamp": "time", "pri": "severity", "priority": "severity",
	"pid": "procid", "program": "app", "programname": "app", "appname": "app", "app_name": "app", "tag": "app",
}

func (c *checker) identifier(n *ast.IdentifierNode) kind {
	for _, v := range slices.Backward(c.variables) {
		if v.name == n.Value {
			return v.kind
		}
	}
	if n.Value == attrsName {
		return mapping
	}
	if f := fieldNamed(n.Value); f >= 0 {
		return fieldKind(f)
	}
	if _, ok := record.SeverityNamed(n.Value); ok {
		return c.fail(n, "%s is no field of a record; a severity is written in quotes: %q", n.Value, n.Value)
	}
	near, ok := otherNames[strings.ToLower(n.Value)]
	if !ok {
		near, ok = config.Nearest(n.Value, fieldNames)
	}
	if ok {
		return c.fail(n, "%s is no field of a record; did you mean %s?", n.Value, near)
	}
	return c.fail(n, "%s is no field of a record; write attrs.%s for an attribute, %q for a text, or one of %s",
		n.Value, n.Value, n.Value, strings.Join(fieldNames, ", "))
}

// wantCondition refuses what can never be true or false.
func (c *checker) wantCondition(n ast.Node, k kind) {
	switch k {
	case anything, boolean, nothing:
		return
	}
	if c.err != nil {
		return
	}
	from, to := c.extent(n)
	runes := []rune(c.source)
	shown := string(runes[min(from, len(runes)):min(to, len(runes))])
	if k == text && fieldNamed(shown) >= 0 {
		c.fail(n, "%s is a text, not a condition; compare it: %s == \"…\"", shown, shown)
		return
	}
	c.fail(n, "is %s, not a condition; compare it with something", k)
}

func (c *checker) unary(n *ast.UnaryNode) kind {
	k := c.check(&n.Node)
	switch n.Operator {
	case "not", "!":
		c.wantCondition(n.Node, k)
		return boolean
	}
	if k != number && k != anything && k != duration && k != nothing {
		return c.fail(n, "%s wants a number, not %s", n.Operator, k)
	}
	return k
}

// binary checks an operator with something on both sides.
func (c *checker) binary(n *ast.BinaryNode) kind {
	c.literals(n)
	l, r := c.check(&n.Left), c.check(&n.Right)
	if c.err != nil {
		return anything
	}
	open := func(k kind) bool { return k == anything || k == nothing }
	switch n.Operator {
	case "and", "&&", "or", "||":
		c.wantCondition(n.Left, l)
		c.wantCondition(n.Right, r)
		return boolean
	case "==", "!=":
		if l != r && !open(l) && !open(r) {
			return c.fail(n, "%s and %s are never equal; compare like with like", l, r)
		}
		return boolean
	case "<", "<=", ">", ">=":
		if unordered(l) || unordered(r) || l != r && !open(l) && !open(r) {
			return c.fail(n, "%s and %s have no order; compare numbers, texts or times with their like", l, r)
		}
		return boolean
	case "in":
		if !open(r) && r != list && r != mapping {
			return c.fail(n.Right, `"in" wants a list on its right, not %s; write ["a", "b"], or use contains`, r)
		}
		return boolean
	case "contains", "startsWith", "endsWith", "matches":
		return c.textOperator(n, l, r)
	case "??":
		return either(l, r)
	}
	return c.arithmetic(n, l, r)
}

func unordered(k kind) bool { return k == boolean || k == list || k == mapping }

// textOperator checks contains and its like; a pattern must be known now, so that it is compiled once.
func (c *checker) textOperator(n *ast.BinaryNode, l, r kind) kind {
	for _, side := range []struct {
		node ast.Node
		kind kind
	}{{n.Left, l}, {n.Right, r}} {
		if side.kind != text && side.kind != anything && side.kind != nothing {
			return c.fail(side.node, "%s wants a text, not %s", n.Operator, side.kind)
		}
	}
	if n.Operator == "matches" {
		pattern, ok := n.Right.(*ast.StringNode)
		if !ok {
			return c.fail(n.Right, `matches wants its pattern written out: matches "^GET /"`)
		}
		if _, err := newPattern(pattern.Value); err != nil {
			return c.fail(n.Right, "%v", err)
		}
	}
	return boolean
}

func (c *checker) arithmetic(n *ast.BinaryNode, l, r kind) kind {
	open := func(k kind) bool { return k == anything || k == nothing }
	switch n.Operator {
	case "+", "-", "*", "/", "%", "**", "^":
	default:
		return c.fail(n, "the operator %s is not part of this language", n.Operator)
	}
	plus, minus := n.Operator == "+", n.Operator == "-"
	switch {
	case open(l) || open(r):
		return anything
	case l == number && r == number:
		return number
	case plus && l == text && r == text:
		return text
	case l == instant && r == duration && (plus || minus), plus && l == duration && r == instant:
		return instant
	case minus && l == instant && r == instant, l == duration && r == duration && (plus || minus):
		return duration
	}
	return c.fail(n, "%s cannot be worked out for %s and %s; make both numbers with int(…), or both texts with string(…)", n.Operator, l, r)
}

// literals puts numbers in place of the names that are compared with severity
// or facility, and times in place of texts compared with a time.
func (c *checker) literals(n *ast.BinaryNode) {
	switch n.Operator {
	case "==", "!=", "<", "<=", ">", ">=", "in":
		if f, ok := n.Left.(*ast.IdentifierNode); ok {
			c.literal(f.Value, &n.Right)
		}
		if f, ok := n.Right.(*ast.IdentifierNode); ok {
			c.literal(f.Value, &n.Left)
		}
	}
}

// literal converts *n if it is a text, or a list of texts, next to the field.
func (c *checker) literal(field string, n *ast.Node) {
	for _, v := range c.variables {
		if v.name == field {
			return
		}
	}
	if a, ok := (*n).(*ast.ArrayNode); ok {
		for i := range a.Nodes {
			c.literal(field, &a.Nodes[i])
		}
		return
	}
	s, ok := (*n).(*ast.StringNode)
	if !ok {
		return
	}
	switch fieldNamed(field) {
	case fieldSeverity:
		if v, ok := record.SeverityNamed(s.Value); ok {
			ast.Patch(n, &ast.IntegerNode{Value: int(v)})
			return
		}
		c.fail(s, "%s is no severity; %s", quoted(s.Value), config.Suggest(s.Value, severityNames()))
	case fieldFacility:
		if v, ok := record.FacilityNamed(s.Value); ok {
			ast.Patch(n, &ast.IntegerNode{Value: int(v)})
			return
		}
		c.fail(s, "%s is no facility; %s", quoted(s.Value), config.Suggest(s.Value, facilityNames()))
	case fieldTime, fieldReceived:
		for _, layout := range timeLayouts {
			if t, err := time.Parse(layout, s.Value); err == nil {
				ast.Patch(n, &ast.ConstantNode{Value: t})
				return
			}
		}
		c.fail(s, "%s is no time; write it like \"2026-11-22T10:07:05Z\", or now() - duration(\"15m\")", quoted(s.Value))
	}
}

var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateTime, "2006-01-02T15:04", time.DateOnly}

func severityNames() []string {
	names := make([]string, 8)
	for i := range names {
		names[i] = record.SeverityName(uint8(i))
	}
	return names
}

func facilityNames() []string {
	names := make([]string, 24)
	for i := range names {
		names[i] = record.FacilityName(uint8(i))
	}
	return names
}

func (c *checker) member(n *ast.MemberNode) kind {
	k := c.check(&n.Node)
	if p, ok := n.Property.(*ast.StringNode); !ok || p.Value == "" {
		c.check(&n.Property)
	}
	switch k {
	case anything, nothing, mapping, list:
		return anything
	}
	if c.err == nil {
		from, to := c.extent(n.Node)
		c.fail(n.Property, "%s is %s and has no parts", string([]rune(c.source)[from:to]), k)
	}
	return anything
}

func (c *checker) slice(n *ast.SliceNode) kind {
	k := c.check(&n.Node)
	for _, bound := range []*ast.Node{&n.From, &n.To} {
		if *bound == nil {
			continue
		}
		if b := c.check(bound); b != number && b != anything && b != nothing {
			return c.fail(*bound, "a bound is a number, not %s", b)
		}
	}
	if k != text && k != list && k != anything && k != nothing {
		return c.fail(n.Node, "only a text or a list can be cut, not %s", k)
	}
	return k
}

func (c *checker) let(n *ast.VariableDeclaratorNode) kind {
	if fieldNamed(n.Name) >= 0 || n.Name == attrsName {
		return c.failName(n, n.Name, "%s is a field of the record; take another name", n.Name)
	}
	k := c.check(&n.Value)
	c.variables = append(c.variables, variable{n.Name, k})
	defer func() { c.variables = c.variables[:len(c.variables)-1] }()
	return c.check(&n.Expr)
}
