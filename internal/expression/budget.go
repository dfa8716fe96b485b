package expression

import "errors"

// maxWork bounds what the loops of one evaluation do, in bytes read, and four
// times the bytes made: any(attrs.tags, message contains #) would otherwise take time by the square
// of a record's size, which its sender decides. It is some 0.1 s; the outcome is nil beyond it.
const maxWork = 256 << 20

var errWork = errors.New("too much work for one record")

// charged is f with its last argument, the Evaluator, paying for the call.
func charged(f func(args ...any) (any, error)) func(args ...any) (any, error) {
	return func(args ...any) (any, error) {
		last := len(args) - 1
		e := args[last].(*Evaluator)
		for _, a := range args[:last] {
			e.work += weight(a)
		}
		if e.work > maxWork {
			return nil, errWork
		}
		out, err := f(args[:last]...)
		e.work += 4 * weight(out)
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
	case map[string]any:
		return 48 + 48*len(v)
	}
	return 16
}
