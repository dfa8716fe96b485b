package expression

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-log/runnel/record"
)

// The VM's values are nil, int, float64, string, bool, time.Time,
// time.Duration, []any and map[string]any; nothing else gets in.

func kindOf(v any) kind {
	switch v.(type) {
	case int, float64:
		return number
	case string:
		return text
	case bool:
		return boolean
	case time.Time:
		return instant
	case time.Duration:
		return duration
	case []any:
		return list
	case map[string]any:
		return mapping
	}
	return nothing
}

// word is what type(…) answers.
func (k kind) word() string {
	return [...]string{"any", "nil", "number", "string", "bool", "time", "duration", "array", "map"}[k]
}

// truth is what a value means as a condition.
func truth(v any) bool {
	b, ok := v.(bool)
	return ok && b
}

// attrValue turns an attribute into a value of the VM.
func attrValue(v record.Value) any {
	switch v.Kind {
	case record.String, record.Bytes:
		return string(v.Data)
	case record.Int:
		return int(v.Int())
	case record.Float:
		return v.Float()
	case record.Bool:
		return v.Bool()
	case record.JSON:
		return decodeJSON(v.Data)
	}
	return nil
}

// decodeJSON reads JSON; nil if it is none.
func decodeJSON(b []byte) any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return nil
	}
	return plainNumbers(v)
}

// plainNumbers makes ints of whole numbers and floats of the others.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := strconv.Atoi(string(v)); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			return nil
		}
		return f
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}

// lookup finds the attribute that a path of keys names: the flattened key of
// all of them joined by dots, or else the part of a JSON attribute that the
// rest of the path leads to, the longest key first.
func lookup(v record.View, joined string, parts []string) any {
	if a, ok := v.Attr(joined); ok {
		return attrValue(a)
	}
	key := joined
	for n := len(parts) - 1; n > 0; n-- {
		key = key[:len(key)-len(parts[n])-1]
		a, ok := v.Attr(key)
		if !ok {
			continue
		}
		var at any
		if a.Kind == record.JSON {
			at = decodeJSON(a.Data)
		}
		for _, part := range parts[n:] {
			at = part1(at, part)
		}
		return at
	}
	return nil
}

// part1 returns one part of a list or mapping; nil if there is none.
func part1(v, key any) any {
	switch k := key.(type) {
	case string:
		if m, ok := v.(map[string]any); ok {
			return m[k]
		}
	case int:
		return index(v, k)
	}
	return nil
}

// index returns the ith item of a list, from the end if i is negative.
func index(v any, i int) any {
	items, ok := v.([]any)
	if i < 0 {
		i += len(items)
	}
	if !ok || i < 0 || i >= len(items) {
		return nil
	}
	return items[i]
}

// allAttrs returns the attributes as one mapping.
func allAttrs(v record.View) map[string]any {
	attrs := v.Attrs()
	m := make(map[string]any, attrs.Len())
	for key, value := range attrs.All() {
		m[string(key)] = attrValue(value)
	}
	return m
}

func sortedKeys(m map[string]any) []any {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	out := make([]any, len(names))
	for i, k := range names {
		out[i] = k
	}
	return out
}

// compare orders two values of the same kind; false if they have no order.
func compare(a, b any) (int, bool) {
	switch x := a.(type) {
	case int:
		switch y := b.(type) {
		case int:
			return order(x, y)
		case float64:
			return orderFloats(float64(x), y)
		}
	case float64:
		switch y := b.(type) {
		case int:
			return orderFloats(x, float64(y))
		case float64:
			return orderFloats(x, y)
		}
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y), true
		}
	case time.Time:
		if y, ok := b.(time.Time); ok {
			return x.Compare(y), true
		}
	case time.Duration:
		if y, ok := b.(time.Duration); ok {
			return order(x, y)
		}
	}
	return 0, false
}

func order[T int | time.Duration](a, b T) (int, bool) {
	switch {
	case a < b:
		return -1, true
	case a > b:
		return 1, true
	}
	return 0, true
}

func orderFloats(a, b float64) (int, bool) {
	switch {
	case a < b:
		return -1, true
	case a > b:
		return 1, true
	}
	return 0, a == b // NaN has no order
}

// equal compares any two values; of different kinds they differ.
func equal(a, b any) bool {
	if n, ok := compare(a, b); ok {
		return n == 0
	}
	switch x := a.(type) {
	case nil:
		return b == nil
	case bool:
		y, ok := b.(bool)
		return ok && x == y
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, equal)
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k, v := range x {
			if w, ok := y[k]; !ok || !equal(v, w) {
				return false
			}
		}
		return true
	}
	return false
}

// member is the operator in.
func member(a, b any) any {
	switch b := b.(type) {
	case []any:
		return slices.ContainsFunc(b, func(item any) bool { return equal(a, item) })
	case map[string]any:
		key, ok := a.(string)
		if !ok {
			return false
		}
		_, ok = b[key]
		return ok
	}
	return nil
}

// arithmetic works out a op b; nil where it cannot.
func arithmetic(op string, a, b any) any {
	switch x := a.(type) {
	case int:
		switch y := b.(type) {
		case int:
			return ints(op, x, y)
		case float64:
			return floats(op, float64(x), y)
		}
	case float64:
		switch y := b.(type) {
		case int:
			return floats(op, x, float64(y))
		case float64:
			return floats(op, x, y)
		}
	case string:
		if y, ok := b.(string); ok && op == "+" && len(x)+len(y) <= maxText {
			return x + y
		}
	default:
		return times(op, a, b)
	}
	return nil
}

func ints(op string, a, b int) any {
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "%":
		if b == 0 {
			return nil
		}
		return a % b
	}
	return floats(op, float64(a), float64(b))
}

func floats(op string, a, b float64) any {
	var f float64
	switch op {
	case "+":
		f = a + b
	case "-":
		f = a - b
	case "*":
		f = a * b
	case "/":
		f = a / b
	case "**", "^":
		f = math.Pow(a, b)
	default:
		return nil
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return f
}

// times adds and subtracts times and durations.
func times(op string, a, b any) any {
	switch x := a.(type) {
	case time.Time:
		switch y := b.(type) {
		case time.Duration:
			if op == "+" {
				return x.Add(y)
			} else if op == "-" {
				return x.Add(-y)
			}
		case time.Time:
			if op == "-" {
				return x.Sub(y)
			}
		}
	case time.Duration:
		switch y := b.(type) {
		case time.Duration:
			if op == "+" {
				return x + y
			} else if op == "-" {
				return x - y
			}
		case time.Time:
			if op == "+" {
				return y.Add(x)
			}
		}
	}
	return nil
}

// textTest is contains and its like, but for matches.
func textTest(op string, a, b any) any {
	s, ok := a.(string)
	part, ok2 := b.(string)
	if !ok || !ok2 {
		return nil
	}
	switch op {
	case "contains":
		return strings.Contains(s, part)
	case "startsWith":
		return strings.HasPrefix(s, part)
	}
	return strings.HasSuffix(s, part)
}

// cut is v[from:to] of a text, in characters, or of a list; bounds beyond the
// ends are the ends, negative ones count from the end.
func cut(v any, from, to any) any {
	bounds := func(n int) (int, int, bool) {
		f, t := 0, n
		if from != nil {
			i, ok := from.(int)
			if f = i; !ok {
				return 0, 0, false
			}
		}
		if to != nil {
			i, ok := to.(int)
			if t = i; !ok {
				return 0, 0, false
			}
		}
		if f < 0 {
			f += n
		}
		if t < 0 {
			t += n
		}
		f, t = min(max(f, 0), n), min(max(t, 0), n)
		return f, max(f, t), true
	}
	switch v := v.(type) {
	case string:
		runes := []rune(v)
		if f, t, ok := bounds(len(runes)); ok {
			return string(runes[f:t])
		}
	case []any:
		if f, t, ok := bounds(len(v)); ok {
			return v[f:t]
		}
	}
	return nil
}

// store puts a value of the VM into attrs[key].
func store(attrs *record.Attrs, key string, v any) {
	switch v := v.(type) {
	case string:
		attrs.SetString(key, v)
	case int:
		attrs.SetInt(key, int64(v))
	case float64:
		attrs.SetFloat(key, v)
	case bool:
		attrs.SetBool(key, v)
	case time.Time:
		attrs.SetString(key, v.Format(time.RFC3339Nano))
	case time.Duration:
		attrs.SetString(key, v.String())
	case []any, map[string]any:
		if b, err := json.Marshal(v); err == nil && len(b) <= maxText {
			attrs.Set(key, record.JSON, b)
		}
	}
}
