package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	runnel "github.com/runnel-log/runnel/guest-sdk/go"
)

// report emits a summary of each group whose window has ended, or of all, and
// forgets it.
func report(t *runnel.Tick, now int64, all bool) {
	restore()
	var ended []*group
	for _, g := range groups.byKey {
		if all || g.to() <= now {
			ended = append(ended, g)
		}
	}
	slices.SortFunc(ended, func(a, b *group) int { // by window, then the most first
		return cmp.Or(strings.Compare(a.key[:keyStart], b.key[:keyStart]), compare(a, b))
	})
	for room := maxKeys; len(ended) > 0; {
		n := 1
		for n < len(ended) && ended[n].key[:keyStart] == ended[0].key[:keyStart] {
			n++
		}
		most := options.top
		switch {
		case n > room && room < maxKeys && !all:
			return // the next tick has room for this window
		case n > room && room < maxKeys:
			most = 0 // there is no next one: all of it in one record
		case most == 0:
			most = n
		}
		room -= min(n, room)
		window(t, ended[:n], most, now)
		ended = ended[n:]
	}
}

// compare puts the rest last, and of the others the one with the most first.
func compare(a, b *group) int {
	switch {
	case a.isOther():
		return 1
	case b.isOther():
		return -1
	}
	return cmp.Or(cmp.Compare(b.count, a.count), strings.Compare(a.key, b.key))
}

// window reports the groups of one window, in their order: that many of them by
// themselves.
func window(t *runnel.Tick, list []*group, most int, now int64) {
	rest := &group{key: list[0].key[:keyStart] + "\xff", layout: list[0].layout}
	for i, g := range list {
		if g.isOther() || i >= most {
			rest.merge(g)
		} else {
			g.summarise(t, now)
		}
	}
	if rest.count > 0 {
		rest.summarise(t, now)
	}
	for _, g := range list {
		runnel.StateDelete(g.key)
		delete(groups.byKey, g.key)
	}
	delete(groups.inWindow, list[0].key[:keyStart])
}

func (g *group) to() int64   { return int64(get64([]byte(g.key[:8]))) }
func (g *group) from() int64 { return int64(get64([]byte(g.key[8:16]))) }

// summarise emits the record that says what a group came to.
func (g *group) summarise(t *runnel.Tick, now int64) {
	from, to := g.from(), min(g.to(), max(now, g.from()))
	n := t.Emit().Time(to).Severity(runnel.Info)
	text := strconv.FormatUint(g.count, 10) + " records in " + strconv.FormatInt((to-from)/second, 10) + "s"
	if g.isOther() {
		n.SetBool("other", true)
		text += ", other keys"
	} else if fields := g.describe(n); fields != "" {
		text += ":" + fields
	}
	n.SetInt("count", int64(g.count)).Set("from", clock(from)).Set("to", clock(to))
	if g.values > 0 {
		n.SetFloat("sum", g.sum).SetFloat("min", g.min).SetFloat("max", g.max).SetFloat("avg", g.sum/float64(g.values))
	}
	if options.stream != "" {
		n.Route(options.stream)
	}
	n.Message([]byte(text))
}

// clock writes a time as RFC 3339 has it, in whole seconds of UTC. Package time
// would be a quarter of this guest.
func clock(ns int64) string {
	seconds := ns / second
	day, of := seconds/86400, seconds%86400
	// Days since 1970 into a date, after Hinnant, "chrono-Compatible Low-Level Date Algorithms".
	z := day + 719468
	era := z / 146097
	doe := z % 146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	year, month := yoe+era*400, mp+3
	if month > 12 {
		year, month = year+1, month-12
	}
	b := make([]byte, 0, 20)
	b = append(two(two(b, year/100), year%100), '-')
	b = append(two(b, month), '-')
	b = append(two(b, doy-(153*mp+2)/5+1), 'T')
	b = append(two(b, of/3600), ':')
	b = append(two(b, of/60%60), ':')
	return string(append(two(b, of%60), 'Z'))
}

func two(b []byte, n int64) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }
