// Package expression compiles the one language of drop, set, route, where and
// the filters of query and tail: expr-lang/expr over the fields of one record.
// It hides that library and makes it forgiving: an absent field is nil, what is
// done to nil gives nil, and nil as a condition is false. Types, field names and
// severity names are checked when an expression is compiled; evaluating one never
// fails, never panics, and takes time and memory bounded by the record's size.
package expression

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"github.com/runnel-log/runnel/record"
)

// Error is what is wrong with an expression.
type Error struct {
	Offset int    // bytes before the place
	Col    int    // 1-based, in characters of the whole text
	Width  int    // characters to underline
	Text   string // what is wrong; what to write
}

func (e *Error) Error() string { return fmt.Sprintf("column %d: %s", e.Col, e.Text) }

// Program is a compiled expression. It is immutable and safe for concurrent use.
type Program struct {
	source string
	steps  *vm.Program
	match  condition // the same, natively; nil if only the VM can do it
	value  getter    // likewise, of a Value program
}

// Context is what a record itself does not know.
type Context struct {
	Stream string // the stream it is, or will be, stored in
}

// Condition compiles an expression that is true or false of a record. The error is an *Error.
func Condition(src string) (*Program, error) { return compile(src, true) }

// Value compiles an expression that gives a value of any type. The error is an *Error.
func Value(src string) (*Program, error) { return compile(src, false) }

// String returns the expression as it was written.
func (p *Program) String() string { return p.source }

// Evaluator returns a new evaluator of p.
func (p *Program) Evaluator() *Evaluator {
	e := &Evaluator{program: p}
	e.env = map[string]any{recordName: e}
	return e
}

// Evaluator evaluates one program over many records. It belongs to one
// goroutine: it is not safe for concurrent use.
type Evaluator struct {
	program *Program
	machine vm.VM
	env     map[string]any
	view    record.View
	scope   scope
	work    int // done by functions and loops in this evaluation
}

// scope is a Context, kept from one record to the next.
type scope struct {
	stream      string
	streamBytes []byte
	patterns    int // what this evaluation's patterns may still cost; below 0: it came to nothing
}

// enter makes c the scope.
func (s *scope) enter(c Context) *scope {
	if c.Stream != s.stream {
		s.stream, s.streamBytes = c.Stream, []byte(c.Stream)
	}
	return s
}

// Match reports whether the condition is true of the record. v is borrowed for the call.
func (e *Evaluator) Match(v record.View, c Context) bool {
	if e.program.match != nil {
		s := e.scope.enter(c)
		s.begin(v)
		return e.program.match(v, s) && s.patterns >= 0
	}
	return truth(e.run(v, c))
}

// Set evaluates a Value program over the record and stores the outcome as
// attrs[key]. nil, and what cannot be stored, deletes nothing and sets nothing.
// attrs must not be the attributes of v itself.
func (e *Evaluator) Set(v record.View, c Context, attrs *record.Attrs, key string) {
	if e.program.value != nil {
		e.program.value(v, e.scope.enter(c)).store(attrs, key)
		return
	}
	store(attrs, key, e.run(v, c))
}

// run evaluates on the VM. What the VM cannot do to the values it meets is nil.
func (e *Evaluator) run(v record.View, c Context) any {
	e.view, e.work = v, 0
	e.scope.enter(c).begin(v)
	out, err := e.machine.Run(e.program.steps, e.env)
	e.view = nil
	if err != nil {
		return nil
	}
	return out
}

// Limits of an expression's text. Honest ones are far below.
const (
	maxSource = 8 << 10
	maxNodes  = 1000
	maxNested = 100
)

// compile turns src into a Program.
func compile(src string, wantCondition bool) (*Program, error) {
	tree, err := parse(src)
	if err != nil {
		return nil, err
	}
	c := &checker{source: src}
	k := c.check(&tree.Node)
	if wantCondition && c.err == nil {
		c.wantCondition(tree.Node, k)
	}
	if c.err != nil {
		return nil, c.err
	}
	p := &Program{source: src}
	if match, ok := nativeCondition(tree.Node); ok && wantCondition {
		p.match = match
	}
	if value, ok := nativeValue(tree.Node); ok && !wantCondition {
		p.value = value
	}
	if p.steps, err = assemble(tree, wantCondition); err != nil {
		return nil, &Error{Col: 1, Width: utf8.RuneCountInString(src), Text: err.Error()}
	}
	return p, nil
}

// errorAt places an error at characters from to to of the source.
func errorAt(source string, from, to int, text string) *Error {
	e := &Error{Col: from + 1, Width: max(1, to-from), Text: text}
	for i := range source {
		if from == 0 {
			e.Offset = i
			return e
		}
		from--
	}
	e.Offset = len(source)
	return e
}

// children calls f for each node directly below n.
func children(n ast.Node, f func(*ast.Node)) {
	each := func(nodes []ast.Node) {
		for i := range nodes {
			f(&nodes[i])
		}
	}
	switch n := n.(type) {
	case *ast.UnaryNode:
		f(&n.Node)
	case *ast.BinaryNode:
		f(&n.Left)
		f(&n.Right)
	case *ast.ChainNode:
		f(&n.Node)
	case *ast.MemberNode:
		f(&n.Node)
		f(&n.Property)
	case *ast.SliceNode:
		f(&n.Node)
		if n.From != nil {
			f(&n.From)
		}
		if n.To != nil {
			f(&n.To)
		}
	case *ast.CallNode:
		each(n.Arguments)
	case *ast.BuiltinNode:
		each(n.Arguments)
	case *ast.PredicateNode:
		f(&n.Node)
	case *ast.ConditionalNode:
		f(&n.Cond)
		f(&n.Exp1)
		f(&n.Exp2)
	case *ast.VariableDeclaratorNode:
		f(&n.Value)
		f(&n.Expr)
	case *ast.ArrayNode:
		each(n.Nodes)
	case *ast.MapNode:
		each(n.Pairs)
	case *ast.PairNode:
		f(&n.Key)
		f(&n.Value)
	}
}

// quoted shows a word of the source in an error text.
func quoted(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
