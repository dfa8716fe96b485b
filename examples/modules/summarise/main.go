// Summarise counts records by key and window, and says at the end of each
// window how many there were of each key, and what the numbers in an attribute
// came to. What it has counted is state, so a restart neither loses nor repeats
// any. README.md lists its config.
package main

import (
	"slices"
	"strings"

	runnel "github.com/runnel-log/runnel/guest-sdk/go"
	"github.com/runnel-log/runnel/guest-sdk/go/tick"
)

const second = int64(1e9)

// options are set once, by the config.
var options struct {
	every  int64 // length of a window in nanoseconds
	layout layout
	drop   bool
	top    int // most keys of a window that are summarised by themselves; 0: all
	keys   int // and counted so
	stream string
}

// A reactor's main never runs: init is where a guest says what it does.
func init() {
	runnel.Configure(configure)
	runnel.Register(count)
	tick.Every(func(t *runnel.Tick) { report(t, t.Now(), false) })
	tick.Flush(func(t *runnel.Tick) { report(t, t.Now(), true) })
}

func main() {}

func configure(c *runnel.Config) {
	c.Known("every", "by", "value", "drop", "top", "keys", "stream")
	forget()
	options.drop = c.Bool("drop", false)
	options.stream = c.String("stream", "")
	options.top = bounded(c, "top", 0, 0, maxKeys)
	options.keys = bounded(c, "keys", 1000, 1, maxKeys)
	every, ok := duration(c.String("every", "60s"))
	if !ok {
		c.Problem("every is " + c.Raw("every") + ", not a time from 1s to 24h such as 60s, 5m or 1h")
	}
	options.every = every
	var by []string
	if raw := c.Raw("by"); raw != "" && raw[0] == '"' {
		by = append(by, c.String("by", ""))
	} else {
		by = c.Strings("by")
	}
	if len(by) > maxFields {
		c.Problem("by names more than 4 fields")
	}
	for i, field := range by {
		switch {
		case !known(field):
			c.Problem("by names " + field + "; known are severity, facility, host, app, procid, msgid and attrs.NAME")
		case slices.Contains(by[:i], field):
			c.Problem("by names " + field + " twice")
		case slices.Contains(ours, strings.TrimPrefix(field, "attrs.")):
			c.Problem("by names " + field + ", which a summary has an attribute of its own for")
		}
	}
	options.layout = newLayout(strings.TrimPrefix(c.String("value", ""), "attrs."), by)
}

// bounded returns a number of the config that lies between two others.
func bounded(c *runnel.Config, key string, fallback, least, most int64) int {
	n := c.Int(key, fallback)
	if n < least || n > most {
		c.Problem(key + " is " + c.Raw(key) + ", which is too small or, beyond 4000, too large")
	}
	return int(n)
}

// ours are the attributes that a summary has itself.
var ours = []string{"count", "sum", "min", "max", "avg", "from", "to", "other"}

// known reports whether a record has such a field.
func known(name string) bool {
	return slices.Contains(fieldNames, name) || strings.HasPrefix(name, "attrs.") && len(name) > len("attrs.")
}

// duration reads a whole number of seconds, minutes or hours, up to a day.
func duration(text string) (ns int64, ok bool) {
	if len(text) < 2 || len(text) > 6 {
		return 0, false
	}
	unit := map[byte]int64{'s': second, 'm': 60 * second, 'h': 3600 * second}[text[len(text)-1]]
	for _, c := range text[:len(text)-1] {
		if c < '0' || c > '9' {
			return 0, false
		}
		ns = ns*10 + int64(c-'0')
	}
	ns *= unit
	return ns, ns >= second && ns <= 24*3600*second
}

// count adds a batch to the window that its clock falls in.
func count(b *runnel.Batch) {
	restore()
	now := runnel.Now()
	from := now - now%options.every
	open(from, from+options.every)
	for r := b.Next(); r != nil; r = b.Next() {
		find(r).add(r)
		if options.drop {
			r.Drop("summarised")
		}
	}
	save()
	runnel.Metric("summarised_records_total", float64(b.Len()))
}
