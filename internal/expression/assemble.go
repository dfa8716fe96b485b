package expression

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	typecheck "github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// recordName is the VM's one variable, the Evaluator. No expression can name it.
const recordName = "$record"

// assembler replaces every operator and function of a checked tree by a call of
// one that takes nil and values of any kind, for the VM's own fail on those.
type assembler struct {
	config *conf.Config
	locals map[string]bool
	loop   bool // inside any(…, here)
}

// assemble compiles a checked tree for the VM. The tree is used up.
func assemble(tree *parser.Tree, asCondition bool) (_ *vm.Program, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot be compiled (%v); write it another way", r)
		}
	}()
	a := &assembler{config: conf.CreateNew(), locals: map[string]bool{}}
	a.config.WithEnv(map[string]any{recordName: (*Evaluator)(nil)})
	a.config.Optimize = false
	tree.Node = a.node(tree.Node)
	if asCondition {
		tree.Node = a.condition(tree.Node)
	}
	if _, err := typecheck.Check(tree, a.config); err != nil {
		return nil, err
	}
	return compiler.Compile(tree, a.config)
}

// call makes a node that calls f, which the VM knows as name.
func (a *assembler) call(at ast.Node, name string, f func(args ...any) (any, error), args ...ast.Node) ast.Node {
	name = "$" + name
	if a.loop {
		name, f, args = name+" in a loop", charged(f), append(args, a.record())
	}
	return a.bare(at, name, f, args...)
}

// bare is call for a name that is the VM's already.
func (a *assembler) bare(at ast.Node, name string, f func(args ...any) (any, error), args ...ast.Node) ast.Node {
	a.config.Functions[name] = &builtin.Function{Name: name, Func: f}
	n := &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: args}
	n.SetLocation(at.Location())
	n.Callee.SetLocation(at.Location())
	return n
}

// condition makes a node true or false: nil and whatever is no bool is false.
func (a *assembler) condition(n ast.Node) ast.Node {
	name := "$truth"
	if _, ok := a.config.Functions[name]; !ok {
		a.config.Functions[name] = &builtin.Function{Name: name,
			Func:  func(args ...any) (any, error) { return truth(args[0]), nil },
			Types: []reflect.Type{reflect.TypeFor[func(any) bool]()}}
	}
	call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: []ast.Node{n}}
	call.SetLocation(n.Location())
	return call
}

func (a *assembler) record() ast.Node { return &ast.IdentifierNode{Value: recordName} }

// node returns what n becomes.
func (a *assembler) node(n ast.Node) ast.Node {
	if p, ok := attrPath(n); ok && len(p.parts) > 0 {
		joined := strings.Join(p.parts, ".")
		return a.call(n, "attr:"+strings.Join(p.parts, "\x00"), func(args ...any) (any, error) {
			return lookup(args[0].(*Evaluator).view, joined, p.parts), nil
		}, a.record())
	}
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return a.identifier(n)
	case *ast.BinaryNode:
		return a.binary(n)
	case *ast.UnaryNode:
		inner := a.node(n.Node)
		if n.Operator == "not" || n.Operator == "!" {
			return &ast.UnaryNode{Operator: "not", Node: a.condition(inner)}
		}
		op := n.Operator
		return a.call(n, "unary"+op, func(args ...any) (any, error) { return sign(op, args[0]), nil }, inner)
	case *ast.ChainNode:
		return a.node(n.Node)
	case *ast.MemberNode:
		return a.call(n, "part", func(args ...any) (any, error) { return part1(args[0], args[1]), nil }, a.node(n.Node), a.node(n.Property))
	case *ast.SliceNode:
		bound := func(n ast.Node) ast.Node {
			if n == nil {
				return &ast.NilNode{}
			}
			return a.node(n)
		}
		return a.call(n, "cut", func(args ...any) (any, error) { return cut(args[0], args[1], args[2]), nil }, a.node(n.Node), bound(n.From), bound(n.To))
	case *ast.CallNode:
		return a.function(n, n.Callee.(*ast.IdentifierNode).Value, n.Arguments)
	case *ast.BuiltinNode:
		return a.builtin(n)
	case *ast.ConditionalNode:
		return &ast.ConditionalNode{Ternary: n.Ternary, Cond: a.condition(a.node(n.Cond)), Exp1: a.node(n.Exp1), Exp2: a.node(n.Exp2)}
	case *ast.VariableDeclaratorNode:
		value := a.node(n.Value)
		before := a.locals[n.Name]
		a.locals[n.Name] = true
		body := a.node(n.Expr)
		a.locals[n.Name] = before
		return &ast.VariableDeclaratorNode{Name: n.Name, Value: value, Expr: body}
	case *ast.PairNode:
		return &ast.PairNode{Key: n.Key, Value: a.node(n.Value)}
	case *ast.ArrayNode:
		return &ast.ArrayNode{Nodes: a.nodes(n.Nodes)}
	case *ast.MapNode:
		return &ast.MapNode{Pairs: a.nodes(n.Pairs)}
	}
	return n
}

func (a *assembler) nodes(nodes []ast.Node) []ast.Node {
	out := make([]ast.Node, len(nodes))
	for i, n := range nodes {
		out[i] = a.node(n)
	}
	return out
}

func (a *assembler) identifier(n *ast.IdentifierNode) ast.Node {
	if a.locals[n.Value] {
		return n
	}
	if n.Value == attrsName {
		return a.call(n, attrsName, func(args ...any) (any, error) { return allAttrs(args[0].(*Evaluator).view), nil }, a.record())
	}
	f := fieldNamed(n.Value)
	return a.call(n, "field:"+n.Value, func(args ...any) (any, error) {
		e := args[0].(*Evaluator)
		return fieldValue(e.view, e.scope.stream, f), nil
	}, a.record())
}

func (a *assembler) binary(n *ast.BinaryNode) ast.Node {
	op := n.Operator
	left, right := a.node(n.Left), a.node(n.Right)
	two := func(f func(x, y any) any) ast.Node {
		return a.call(n, op, func(args ...any) (any, error) { return f(args[0], args[1]), nil }, left, right)
	}
	ordered := func(holds func(int) bool) ast.Node {
		return two(func(x, y any) any {
			c, ok := compare(x, y)
			if !ok {
				return nil
			}
			return holds(c)
		})
	}
	switch op {
	case "and", "&&", "or", "||":
		return &ast.BinaryNode{Operator: op, Left: a.condition(left), Right: a.condition(right)}
	case "??":
		return &ast.BinaryNode{Operator: op, Left: left, Right: right}
	case "==":
		return two(func(x, y any) any { return equal(x, y) })
	case "!=":
		return two(func(x, y any) any { return !equal(x, y) })
	case "<":
		return ordered(func(c int) bool { return c < 0 })
	case "<=":
		return ordered(func(c int) bool { return c <= 0 })
	case ">":
		return ordered(func(c int) bool { return c > 0 })
	case ">=":
		return ordered(func(c int) bool { return c >= 0 })
	case "in":
		return two(member)
	case "matches":
		source := n.Right.(*ast.StringNode).Value
		p, err := newPattern(source)
		if err != nil {
			panic(err) // the checker has taken it
		}
		return a.bare(n, "$matches:"+source, func(args ...any) (any, error) {
			s := &args[1].(*Evaluator).scope
			text, ok := args[0].(string)
			matched := p.matchesText(s, text)
			switch {
			case s.patterns < 0:
				return nil, errPatterns
			case !ok:
				return nil, nil
			}
			return matched, nil
		}, left, a.record())
	case "contains", "startsWith", "endsWith":
		return two(func(x, y any) any { return textTest(op, x, y) })
	}
	return two(func(x, y any) any { return arithmetic(op, x, y) })
}

func sign(op string, v any) any {
	if op == "+" {
		if kindOf(v) == number {
			return v
		}
		return nil
	}
	if d, ok := v.(time.Duration); ok {
		return -d
	}
	return arithmetic("-", 0, v)
}

// function is a call that pays wherever it stands: it may read and make as much
// as a record holds, and an expression may name hundreds of them.
func (a *assembler) function(n ast.Node, name string, args []ast.Node) ast.Node {
	return a.bare(n, "$"+name, charged(functionNamed(name).safely), append(a.nodes(args), a.record())...)
}

// builtin keeps expr's own loops for any(…) and its like, over what is a list for certain.
func (a *assembler) builtin(n *ast.BuiltinNode) ast.Node {
	for _, p := range predicates {
		if p != n.Name {
			continue
		}
		name := "$list"
		a.config.Functions[name] = &builtin.Function{Name: name,
			Func: func(args ...any) (any, error) {
				items, _ := args[0].([]any)
				return items, nil
			},
			Types: []reflect.Type{reflect.TypeFor[func(any) []any]()}}
		items := &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: []ast.Node{a.node(n.Arguments[0])}}
		a.loop = true
		body := a.node(n.Arguments[1].(*ast.PredicateNode).Node)
		a.loop = false
		if n.Name != "map" {
			body = a.condition(body)
		}
		return &ast.BuiltinNode{Name: n.Name, Arguments: []ast.Node{items, &ast.PredicateNode{Node: body}}}
	}
	return a.function(n, n.Name, n.Arguments)
}

// path is attrs.a.b or attrs["a"].b: the keys after attrs.
type path struct{ parts []string }

// attrPath returns the path that n is; false if it is none, or not known before it runs.
func attrPath(n ast.Node) (path, bool) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return path{}, n.Value == attrsName
	case *ast.ChainNode:
		return attrPath(n.Node)
	case *ast.MemberNode:
		key, ok := n.Property.(*ast.StringNode)
		if !ok {
			return path{}, false
		}
		p, ok := attrPath(n.Node)
		p.parts = append(p.parts[:len(p.parts):len(p.parts)], key.Value)
		return p, ok
	}
	return path{}, false
}
