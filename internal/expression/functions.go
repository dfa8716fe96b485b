package expression

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"

	"github.com/runnel-log/runnel/internal/config"
)

// function is one that expressions may call. do gets as many arguments as takes
// says, already of those kinds (or anything); what it cannot answer is nil.
type function struct {
	name     string
	takes    []kind
	optional int  // of takes, at the end
	more     bool // the last of takes may be repeated
	gives    kind
	do       func(args []any) any
}

// maxText is the longest text a function or + makes: no expression needs more,
// and doubling a text over and over would take all memory.
const maxText = 4 << 20

var functions = []function{
	{"len", []kind{anything}, 0, false, number, length},
	{"lower", []kind{text}, 0, false, text, ofText(strings.ToLower)},
	{"upper", []kind{text}, 0, false, text, ofText(strings.ToUpper)},
	{"trim", []kind{text, text}, 1, false, text, trim},
	{"trimPrefix", []kind{text, text}, 0, false, text, ofTexts(strings.TrimPrefix)},
	{"trimSuffix", []kind{text, text}, 0, false, text, ofTexts(strings.TrimSuffix)},
	{"hasPrefix", []kind{text, text}, 0, false, boolean, ofTexts(strings.HasPrefix)},
	{"hasSuffix", []kind{text, text}, 0, false, boolean, ofTexts(strings.HasSuffix)},
	{"indexOf", []kind{text, text}, 0, false, number, ofTexts(strings.Index)},
	{"lastIndexOf", []kind{text, text}, 0, false, number, ofTexts(strings.LastIndex)},
	{"split", []kind{text, text}, 0, false, list, split},
	{"join", []kind{list, text}, 1, false, text, join},
	{"replace", []kind{text, text, text}, 0, false, text, replace},
	{"abs", []kind{number}, 0, false, number, abs},
	{"ceil", []kind{number}, 0, false, number, ofNumber(math.Ceil)},
	{"floor", []kind{number}, 0, false, number, ofNumber(math.Floor)},
	{"round", []kind{number}, 0, false, number, ofNumber(math.Round)},
	{"int", []kind{anything}, 0, false, number, toInt},
	{"float", []kind{anything}, 0, false, number, toFloat},
	{"string", []kind{anything}, 0, false, text, toText},
	{"min", []kind{number}, 0, true, number, extreme(true)},
	{"max", []kind{number}, 0, true, number, extreme(false)},
	{"now", nil, 0, false, instant, func([]any) any { return time.Now().UTC() }},
	{"duration", []kind{text}, 0, false, duration, toDuration},
	{"date", []kind{text}, 0, false, instant, toTime},
	{"first", []kind{list}, 0, false, anything, func(a []any) any { return index(a[0], 0) }},
	{"last", []kind{list}, 0, false, anything, func(a []any) any { return index(a[0], -1) }},
	{"keys", []kind{mapping}, 0, false, list, keys},
	{"type", []kind{anything}, 0, false, text, func(a []any) any { return kindOf(a[0]).word() }},
	{"toJSON", []kind{anything}, 0, false, text, toJSON},
	{"fromJSON", []kind{text}, 0, false, anything, fromJSON},
}

// predicates are the functions over a list with a condition for each item.
var predicates = []string{"all", "any", "none", "one", "filter", "map", "count", "find"}

// Functions returns the names of the functions that expressions may call, for documentation.
func Functions() []string {
	names := make([]string, len(functions))
	for i := range functions {
		names[i] = functions[i].name
	}
	return names
}

// Predicates returns the names of those that take a list and a condition for each item.
func Predicates() []string { return slices.Clone(predicates) }

func functionNamed(name string) *function {
	for i := range functions {
		if functions[i].name == name {
			return &functions[i]
		}
	}
	return nil
}

// safely is f.do for the VM: nil for nil, and for an argument of another kind.
func (f *function) safely(args ...any) (any, error) {
	for i, a := range args {
		want := f.takes[min(i, len(f.takes)-1)]
		if k := kindOf(a); k == nothing && f.name != "type" || want != anything && k != want {
			return nil, nil
		}
	}
	return f.do(args), nil
}

func (c *checker) call(n *ast.CallNode) kind {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		return c.fail(n, "only functions can be called, such as lower(host)")
	}
	return c.function(n, callee.Value, n.Arguments)
}

func (c *checker) builtin(n *ast.BuiltinNode) kind {
	for _, p := range predicates {
		if p == n.Name {
			return c.predicateCall(n)
		}
	}
	return c.function(n, n.Name, n.Arguments)
}

// function checks a call of one of functions.
func (c *checker) function(n ast.Node, name string, args []ast.Node) kind {
	f := functionNamed(name)
	if f == nil {
		names := append(Predicates(), Functions()...)
		if near, ok := config.Nearest(name, names); ok {
			return c.failName(n, name, "%s is no function; did you mean %s?", name, near)
		}
		return c.failName(n, name, "%s is no function; there are %s", name, strings.Join(names, ", "))
	}
	least := len(f.takes) - f.optional
	if len(args) < least || len(args) > len(f.takes) && !f.more || len(args) > 16 {
		return c.failName(n, name, "%s takes %s, not %d", name, f.arguments(), len(args))
	}
	for i := range args {
		want, k := f.takes[min(i, len(f.takes)-1)], c.check(&args[i])
		if want != anything && k != want && k != anything && k != nothing {
			return c.fail(args[i], "%s takes %s here, not %s", name, want, k)
		}
	}
	return f.gives
}

// failName underlines the name of the function alone.
func (c *checker) failName(n ast.Node, name, format string, args ...any) kind {
	at := &ast.NilNode{}
	l := n.Location()
	l.To = l.From + utf8.RuneCountInString(name)
	at.SetLocation(l)
	return c.fail(at, format, args...)
}

func (f *function) arguments() string {
	words := make([]string, 0, len(f.takes))
	for _, k := range f.takes {
		words = append(words, k.String())
	}
	switch {
	case len(words) == 0:
		return "nothing"
	case f.more:
		return "one or more of " + words[0]
	}
	s := strings.Join(words, " and ")
	if f.optional > 0 {
		s = strings.Join(words[:len(words)-f.optional], " and ") + " and perhaps " + words[len(words)-1]
	}
	return s
}

// predicateCall checks any(list, condition) and its like. One inside another
// would take time beyond the record's size, and is refused.
func (c *checker) predicateCall(n *ast.BuiltinNode) kind {
	if c.predicate > 0 {
		return c.failName(n, n.Name, "%s inside another %s is too much work for one record; write a module instead", n.Name, config.Choices(predicates))
	}
	if len(n.Arguments) != 2 {
		return c.failName(n, n.Name, "%s takes a list and a condition: %s(attrs.tags, # == \"a\")", n.Name, n.Name)
	}
	if k := c.check(&n.Arguments[0]); k != list && k != anything && k != nothing {
		return c.fail(n.Arguments[0], "%s takes a list here, not %s", n.Name, k)
	}
	p, ok := n.Arguments[1].(*ast.PredicateNode)
	if !ok {
		return c.fail(n.Arguments[1], "%s takes a condition here: # == \"a\"", n.Name)
	}
	c.predicate++
	k := c.check(&p.Node)
	c.predicate--
	switch n.Name {
	case "map":
		return list
	case "filter":
		c.wantCondition(p.Node, k)
		return list
	}
	c.wantCondition(p.Node, k)
	switch n.Name {
	case "count":
		return number
	case "find":
		return anything
	}
	return boolean
}

func ofText(f func(string) string) func([]any) any {
	return func(a []any) any { return f(a[0].(string)) }
}

func ofTexts[T any](f func(a, b string) T) func([]any) any {
	return func(a []any) any { return f(a[0].(string), a[1].(string)) }
}

func ofNumber(f func(float64) float64) func([]any) any {
	return func(a []any) any {
		if _, ok := a[0].(int); ok {
			return a[0]
		}
		return f(a[0].(float64))
	}
}

func length(a []any) any {
	switch v := a[0].(type) {
	case string:
		return utf8.RuneCountInString(v)
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	}
	return nil
}

func trim(a []any) any {
	if len(a) == 1 {
		return strings.TrimSpace(a[0].(string))
	}
	return strings.Trim(a[0].(string), a[1].(string))
}

func split(a []any) any {
	parts := strings.Split(a[0].(string), a[1].(string))
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return out
}

func join(a []any) any {
	between, size := "", 0
	if len(a) > 1 {
		between = a[1].(string)
	}
	items := a[0].([]any)
	words := make([]string, len(items))
	for i, item := range items {
		s, ok := item.(string)
		if size += len(s) + len(between); !ok || size > maxText {
			return nil
		}
		words[i] = s
	}
	return strings.Join(words, between)
}

func replace(a []any) any {
	s, from, to := a[0].(string), a[1].(string), a[2].(string)
	if len(to) > len(from) && len(s)+strings.Count(s, from)*(len(to)-len(from)) > maxText {
		return nil
	}
	return strings.ReplaceAll(s, from, to)
}

func abs(a []any) any {
	if i, ok := a[0].(int); ok {
		return max(i, -i)
	}
	return math.Abs(a[0].(float64))
}

func toInt(a []any) any {
	switch v := a[0].(type) {
	case int:
		return v
	case float64:
		if math.Abs(v) < 1<<63 {
			return int(v)
		}
	case string:
		if i, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
			return i
		}
	}
	return nil
}

func toFloat(a []any) any {
	switch v := a[0].(type) {
	case int:
		return float64(v)
	case float64:
		return v
	case string:
		if f, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
			return f
		}
	}
	return nil
}

func toText(a []any) any {
	switch v := a[0].(type) {
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case time.Duration:
		return v.String()
	}
	return toJSON(a)
}

func extreme(least bool) func([]any) any {
	return func(a []any) any {
		best := a[0]
		for _, v := range a[1:] {
			if order, ok := compare(v, best); ok && (order < 0) == least && order != 0 {
				best = v
			}
		}
		return best
	}
}

func toDuration(a []any) any {
	d, err := config.ParseDuration(a[0].(string))
	if err != nil {
		return nil
	}
	return d
}

func toTime(a []any) any {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, a[0].(string)); err == nil {
			return t
		}
	}
	return nil
}

func keys(a []any) any { return sortedKeys(a[0].(map[string]any)) }

func toJSON(a []any) any {
	b, err := json.Marshal(a[0])
	if err != nil || len(b) > maxText {
		return nil
	}
	return string(b)
}

func fromJSON(a []any) any { return decodeJSON([]byte(a[0].(string))) }
