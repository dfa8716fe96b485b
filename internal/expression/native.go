package expression

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/runnel-log/runnel/record"
)

// The common shapes (fields and attributes compared with literals, joined by
// and, or, not) are compiled to closures over the encoded record, which
// allocate nothing; whatever else there is goes to the VM. Both must agree:
// TestNativeAgreesWithVM and FuzzNative hold them to it.

type condition func(v record.View, s *scope) bool

type getter func(v record.View, s *scope) value

// value is one value, borrowed from the record.
type value struct {
	kind     valueKind
	recorded record.Kind // of an attribute as it is stored; 0 for others
	number   uint64      // the bits of an int, a float, a bool or nanoseconds
	bytes    []byte      // a text, or an attribute as it is stored
	whole    any         // a list or mapping
}

type valueKind uint8

const (
	isNil valueKind = iota
	isInt
	isFloat
	isText
	isBool
	isTime // nanoseconds since 1970
	isWhole
)

// nativeCondition compiles n; false if it has a shape that only the VM knows.
func nativeCondition(n ast.Node) (condition, bool) {
	switch n := n.(type) {
	case *ast.BoolNode:
		return func(record.View, *scope) bool { return n.Value }, true
	case *ast.UnaryNode:
		if n.Operator != "not" && n.Operator != "!" {
			return nil, false
		}
		inner, ok := nativeCondition(n.Node)
		return func(v record.View, s *scope) bool { return !inner(v, s) }, ok
	case *ast.BinaryNode:
		return nativeBinary(n)
	}
	get, ok := nativeGetter(n)
	return func(v record.View, s *scope) bool {
		got := get(v, s)
		return got.kind == isBool && got.number == 1
	}, ok
}

func nativeBinary(n *ast.BinaryNode) (condition, bool) {
	switch n.Operator {
	case "and", "&&", "or", "||":
		left, ok := nativeCondition(n.Left)
		right, ok2 := nativeCondition(n.Right)
		if n.Operator == "and" || n.Operator == "&&" {
			return func(v record.View, s *scope) bool { return left(v, s) && right(v, s) }, ok && ok2
		}
		return func(v record.View, s *scope) bool { return left(v, s) || right(v, s) }, ok && ok2
	case "==", "!=", "<", "<=", ">", ">=":
		return nativeComparison(n)
	case "in":
		return nativeIn(n)
	case "contains", "startsWith", "endsWith", "matches":
		return nativeText(n)
	}
	return nil, false
}

// nativeComparison compiles field op literal and literal op field.
func nativeComparison(n *ast.BinaryNode) (condition, bool) {
	op, field, other := n.Operator, n.Left, n.Right
	want, ok := literalValue(other)
	if !ok {
		if want, ok = literalValue(n.Left); !ok {
			return nil, false
		}
		field = n.Right
		if turned, ok := map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<="}[op]; ok {
			op = turned
		}
	}
	get, ok := nativeGetter(field)
	if !ok {
		return nil, false
	}
	if want.kind == isText && (op == "==" || op == "!=") {
		word, same := string(want.bytes), op == "=="
		return func(v record.View, s *scope) bool {
			got := get(v, s)
			return (got.kind == isText && string(got.bytes) == word) == same
		}, true
	}
	holds := map[string]func(order int, ok, equal bool) bool{
		"==": func(_ int, _, equal bool) bool { return equal },
		"!=": func(_ int, _, equal bool) bool { return !equal },
		"<":  func(order int, ok, _ bool) bool { return ok && order < 0 },
		"<=": func(order int, ok, _ bool) bool { return ok && order <= 0 },
		">":  func(order int, ok, _ bool) bool { return ok && order > 0 },
		">=": func(order int, ok, _ bool) bool { return ok && order >= 0 },
	}[op]
	return func(v record.View, s *scope) bool {
		got := get(v, s)
		order, ok := got.compare(want)
		return holds(order, ok, ok && order == 0 || got.kind == want.kind && got.same(want))
	}, true
}

// nativeIn compiles field in [literals].
func nativeIn(n *ast.BinaryNode) (condition, bool) {
	items, ok := n.Right.(*ast.ArrayNode)
	if !ok {
		return nil, false
	}
	get, ok := nativeGetter(n.Left)
	if !ok {
		return nil, false
	}
	wanted := make([]value, len(items.Nodes))
	for i, item := range items.Nodes {
		if wanted[i], ok = literalValue(item); !ok {
			return nil, false
		}
	}
	return func(v record.View, s *scope) bool {
		got := get(v, s)
		return slices.ContainsFunc(wanted, func(want value) bool {
			order, ok := got.compare(want)
			return ok && order == 0 || got.kind == want.kind && got.same(want)
		})
	}, true
}

// nativeText compiles field contains literal, and its like.
func nativeText(n *ast.BinaryNode) (condition, bool) {
	word, ok := n.Right.(*ast.StringNode)
	if !ok {
		return nil, false
	}
	get, ok := nativeGetter(n.Left)
	if !ok {
		return nil, false
	}
	part := []byte(word.Value)
	test := map[string]func([]byte) bool{
		"contains":   func(b []byte) bool { return bytes.Contains(b, part) },
		"startsWith": func(b []byte) bool { return bytes.HasPrefix(b, part) },
		"endsWith":   func(b []byte) bool { return bytes.HasSuffix(b, part) },
	}[n.Operator]
	if n.Operator == "matches" {
		p, err := newPattern(word.Value)
		return func(v record.View, s *scope) bool {
			got := get(v, s)
			return got.kind == isText && p.matches(s, got.bytes)
		}, err == nil
	}
	return func(v record.View, s *scope) bool {
		got := get(v, s)
		return got.kind == isText && test(got.bytes)
	}, true
}

// nativeValue compiles a Value program: a literal, a field or an attribute.
func nativeValue(n ast.Node) (getter, bool) {
	if want, ok := literalValue(n); ok {
		return func(record.View, *scope) value { return want }, true
	}
	return nativeGetter(n)
}

// literalValue returns what a literal stands for.
func literalValue(n ast.Node) (value, bool) {
	switch n := n.(type) {
	case *ast.NilNode:
		return value{}, true
	case *ast.IntegerNode:
		return value{kind: isInt, number: uint64(n.Value)}, true
	case *ast.FloatNode:
		return value{kind: isFloat, number: math.Float64bits(n.Value)}, true
	case *ast.BoolNode:
		return boolValue(n.Value), true
	case *ast.StringNode:
		return value{kind: isText, bytes: []byte(n.Value)}, true
	case *ast.ConstantNode:
		t, ok := n.Value.(time.Time)
		if !ok || t.Year() < 1700 || t.Year() > 2250 {
			return value{}, false // beyond what nanoseconds can say
		}
		return value{kind: isTime, number: uint64(t.UnixNano())}, true
	case *ast.UnaryNode:
		inner, ok := literalValue(n.Node)
		switch {
		case n.Operator != "-" || !ok:
			return value{}, false
		case inner.kind == isInt:
			inner.number = -inner.number
		case inner.kind == isFloat:
			inner.number = math.Float64bits(0 - math.Float64frombits(inner.number))
		default:
			return value{}, false
		}
		return inner, true
	}
	return value{}, false
}

func boolValue(b bool) value {
	if b {
		return value{kind: isBool, number: 1}
	}
	return value{kind: isBool}
}

// nativeGetter compiles a field or an attribute.
func nativeGetter(n ast.Node) (getter, bool) {
	if p, ok := attrPath(n); ok && len(p.parts) > 0 {
		return attrGetter(p), true
	}
	id, ok := n.(*ast.IdentifierNode)
	if !ok {
		return nil, false
	}
	switch field := fieldNamed(id.Value); field {
	case -1:
		return nil, false // a variable, or attrs as a whole
	case fieldTime:
		return func(v record.View, _ *scope) value {
			if v.Time() == record.NoTime {
				return value{}
			}
			return value{kind: isTime, number: uint64(v.Time())}
		}, true
	case fieldReceived:
		return func(v record.View, _ *scope) value { return value{kind: isTime, number: uint64(v.Received())} }, true
	case fieldSeverity:
		return func(v record.View, _ *scope) value { return code(v.Severity()) }, true
	case fieldFacility:
		return func(v record.View, _ *scope) value { return code(v.Facility()) }, true
	case fieldMessage:
		return func(v record.View, _ *scope) value { return value{kind: isText, bytes: v.Message()} }, true
	case fieldStream:
		return streamValue, true
	default:
		return func(v record.View, s *scope) value {
			b := fieldBytes(v, field)
			if b == nil {
				return value{}
			}
			return value{kind: isText, bytes: b}
		}, true
	}
}

// code is a severity or facility.
func code(b uint8) value {
	if b == record.Absent {
		return value{}
	}
	return value{kind: isInt, number: uint64(b)}
}

func attrGetter(p path) getter {
	joined := strings.Join(p.parts, ".")
	return func(v record.View, _ *scope) value {
		a, ok := v.Attr(joined)
		if !ok {
			if len(p.parts) == 1 {
				return value{}
			}
			return valueOf(lookup(v, joined, p.parts))
		}
		switch a.Kind {
		case record.String, record.Bytes:
			return value{kind: isText, recorded: a.Kind, bytes: a.Data}
		case record.Int:
			return value{kind: isInt, number: uint64(a.Int())}
		case record.Float:
			return value{kind: isFloat, number: math.Float64bits(a.Float())}
		case record.Bool:
			return boolValue(a.Bool())
		}
		got := valueOf(attrValue(a))
		if got.kind == isWhole {
			got.recorded, got.bytes = a.Kind, a.Data
		}
		return got
	}
}

// valueOf turns a value of the VM into one of ours.
func valueOf(v any) value {
	switch v := v.(type) {
	case nil:
		return value{}
	case int:
		return value{kind: isInt, number: uint64(v)}
	case float64:
		return value{kind: isFloat, number: math.Float64bits(v)}
	case string:
		return value{kind: isText, bytes: []byte(v)}
	case bool:
		return boolValue(v)
	}
	return value{kind: isWhole, whole: v}
}

// compare orders two values that have an order.
func (a value) compare(b value) (int, bool) {
	switch {
	case a.kind == isInt && b.kind == isInt, a.kind == isTime && b.kind == isTime:
		x, y := int64(a.number), int64(b.number)
		switch {
		case x < y:
			return -1, true
		case x > y:
			return 1, true
		}
		return 0, true
	case a.kind == isText && b.kind == isText:
		return bytes.Compare(a.bytes, b.bytes), true
	case (a.kind == isInt || a.kind == isFloat) && (b.kind == isInt || b.kind == isFloat):
		return orderFloats(a.float(), b.float())
	}
	return 0, false
}

func (a value) float() float64 {
	if a.kind == isInt {
		return float64(int64(a.number))
	}
	return math.Float64frombits(a.number)
}

// same compares two values of the same kind that have no order.
func (a value) same(b value) bool {
	return a.kind == isNil || a.kind == isBool && a.number == b.number
}

// store puts the value into attrs[key], as it was recorded where it was an attribute.
func (a value) store(attrs *record.Attrs, key string) {
	switch a.kind {
	case isInt:
		attrs.SetInt(key, int64(a.number))
	case isFloat:
		attrs.SetFloat(key, math.Float64frombits(a.number))
	case isBool:
		attrs.SetBool(key, a.number == 1)
	case isText:
		kind := a.recorded
		if kind == 0 {
			kind = record.String
		}
		attrs.Set(key, kind, a.bytes)
	case isTime:
		attrs.SetString(key, record.TimeOf(int64(a.number)).Format(time.RFC3339Nano))
	case isWhole:
		if a.recorded != 0 {
			attrs.Set(key, a.recorded, a.bytes)
		} else if b, err := json.Marshal(a.whole); err == nil {
			attrs.Set(key, record.JSON, b)
		}
	}
}
