package expression

import "errors"

// maxWork bounds what the functions and loops of one evaluation do, in bytes read,
// and a multiple of those made: any(attrs.tags, message contains #) would otherwise take time by the square
// of a record's size, which its sender decides. It is some 0.1 s; the outcome is nil beyond it.
const maxWork = 256 << 20

var errWork = errors.New("too much work for one record")

// charged is f with its last argument, the Evaluator, paying for the call.
func charged(f func(args ...any) (any, error)) func(args ...any) (any, error) {
	return func(args ...any) (any, error) {
		last := len(args) - 1
		e := args[last].(*Evaluator)
		in := 0
		for _, a := range args[:last] {
			in += weight(a)
		}
		e.work += in
		if e.work > maxWork {
			return nil, errWork
		}
		out, err := f(args[:last]...)
		e.work += 4 * weight(out)
		if k := kindOf(out); k == list || k == mapping {
			e.work += 20 * in // reading JSON, or cutting a text up, is that much dearer than copying
		}
		return out, err
	}
}

// weight is about how many bytes a value takes, its items not looked into.
func weight(v any) int {
	switch v := v.(type) {
	case string:
		return 16 + len(v)
	case []any:
		return 24 + 16*len(v)
	case *Evaluator:
		return len(v.view) // to find an attribute
	case map[string]any:
		return 48 + 48*len(v)
	}
	return 16
}
