package query

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/expression"
)

// The bounds of what one question may say.
const (
	defaultLimit = 100
	maxLimit     = 10_000
	maxFilter    = 4 << 10
	maxNeedle    = 1 << 10
)

// The parameters of each call that takes any.
var (
	queryParams     = []string{"stream", "from", "to", "filter", "grep", "limit", "order", "cursor"}
	tailParams      = []string{"stream", "from", "filter", "grep", "n"}
	histogramParams = []string{"stream", "from", "to", "filter", "grep", "interval", "cursor"}
)

// params are the parameters of one request, each known and, but for stream,
// given once at most.
type params struct {
	values  map[string]string
	streams []string
}

// readParams reads the query string strictly: a parameter that a call does not
// have would otherwise be a question answered wrongly.
func readParams(args *fasthttp.Args, known []string) (params, error) {
	p := params{values: make(map[string]string)}
	for k, v := range args.All() {
		key, value := string(k), string(v)
		switch _, twice := p.values[key]; {
		case !slices.Contains(known, key):
			return p, unknownParam(key, known)
		case key == "stream":
			if !isStreamName(value) {
				return p, fmt.Errorf("stream %q is not a name a stream can have (a-z, 0-9, _ and -, at most 64)", clip(value))
			}
			if !slices.Contains(p.streams, value) {
				p.streams = append(p.streams, value)
			}
			if len(p.streams) > maxLanes {
				return p, fmt.Errorf("more than %d streams", maxLanes)
			}
		case twice:
			return p, fmt.Errorf("parameter %q is given twice", key)
		default:
			p.values[key] = value
		}
	}
	slices.Sort(p.streams)
	return p, nil
}

func unknownParam(key string, known []string) error {
	if len(known) == 0 {
		return fmt.Errorf("unknown parameter %q: this call takes none", clip(key))
	}
	if near, ok := config.Nearest(key, known); ok {
		return fmt.Errorf("unknown parameter %q; did you mean %q?", clip(key), near)
	}
	return fmt.Errorf("unknown parameter %q; there are %s", clip(key), strings.Join(known, ", "))
}

// number returns a parameter that is a whole number in [low, high], or def where it is absent.
func (p params) number(key string, low, high, def int) (int, error) {
	text, given := p.values[key]
	if !given {
		return def, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s %q is not a number from %d to %d", key, clip(text), low, high)
	}
	return n, nil
}

// time returns a parameter that is a time, or def where it is absent.
func (p params) time(key string, now time.Time, def int64) (int64, error) {
	text, given := p.values[key]
	if !given {
		return def, nil
	}
	ns, err := instant(text, now)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return ns, nil
}

// order returns whether the newest comes first.
func (p params) order() (desc bool, err error) {
	switch text, given := p.values["order"]; {
	case !given, text == "desc":
		return true, nil
	case text == "asc":
		return false, nil
	default:
		return false, fmt.Errorf("order %q is neither asc nor desc", clip(text))
	}
}

// wanted puts together what a record must satisfy; to is left to the caller.
func (p params) wanted(now time.Time) (wanted, error) {
	w := wanted{from: alwaysFrom, to: alwaysTo}
	var err error
	if w.from, err = p.time("from", now, alwaysFrom); err != nil {
		return w, err
	}
	if w.to, err = p.time("to", now, alwaysTo); err != nil {
		return w, err
	}
	if w.from >= w.to {
		return w, errors.New("from is not before to; the range is from ≤ time < to")
	}
	if needle := p.values["grep"]; len(needle) > maxNeedle {
		return w, fmt.Errorf("grep is longer than %d bytes", maxNeedle)
	} else if needle != "" {
		w.needle = []byte(needle)
	}
	filter := p.values["filter"]
	if len(filter) > maxFilter {
		return w, fmt.Errorf("filter is longer than %d bytes", maxFilter)
	}
	if strings.TrimSpace(filter) != "" {
		program, err := expression.Condition(filter)
		if err != nil {
			return w, filterError(err)
		}
		w.filter = program.Evaluator()
	}
	return w, nil
}

// filterError says where in the filter the mistake is.
func filterError(err error) error {
	var e *expression.Error
	if errors.As(err, &e) {
		return fmt.Errorf("filter, column %d: %s", e.Col, e.Text)
	}
	return fmt.Errorf("filter: %w", err)
}

// isStreamName reports whether a stream could be called that:
// [a-z0-9][a-z0-9_-]{0,63}, .dead after it for its dead letters, and what the
// agent calls its own. What no stream could be called is a mistake worth telling.
func isStreamName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 64+len(".dead")
}

// clip shortens what came from outside for an error's text.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
