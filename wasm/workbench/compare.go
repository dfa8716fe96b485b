package workbench

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Finding is one thing that was not as wanted.
type Finding struct {
	Step int    `json:"step"` // of the case, from 0
	What string `json:"what"` // record 2, dropped, state.KEY
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
}

// compare holds what came of step i against what the case wants.
func compare(c *Case, i int, got *Want) []Finding {
	s := c.Steps[i]
	var all []Finding
	switch {
	case s.Want == nil:
		all = []Finding{{What: "want is not written; write it, or let --update do so"}}
	case s.Want.Refused != "" || got.Refused != "":
		if s.Want.Refused == "" || !strings.Contains(got.Refused, s.Want.Refused) {
			all = []Finding{{What: "refused", Want: s.Want.Refused, Got: got.Refused}}
		}
	default:
		want := *s.Want
		if want.Same {
			want.Records = sameAs(s)
		}
		all = differ(got, &want)
		if want.Failed == "" && got.Failed != "" || !strings.Contains(got.Failed, want.Failed) {
			all = append(all, Finding{What: "failed", Want: want.Failed, Got: got.Failed})
		}
		all = append(all, compareLog(want.Log, got.Log)...)
	}
	for k := range all {
		all[k].Step = i
	}
	return all
}

// sameAs wants the records of a step as they came.
func sameAs(s Step) []Fields {
	all := fieldsOfBatch(s.Records)
	for i := range all {
		all[i] = all[i].withoutHost()
	}
	return all
}

// differ compares all but what is wanted in parts: why something failed, and the log.
func differ(got, want *Want) []Finding {
	all := compareRecords("record", want.Records, got.Records)
	all = append(all, compareRecords("dead record", want.Dead, got.Dead)...)
	reasons := maps.Clone(got.Dropped)
	if reasons == nil {
		reasons = map[string]int{}
	}
	maps.Copy(reasons, want.Dropped)
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		if want.Dropped[reason] != got.Dropped[reason] {
			all = append(all, Finding{What: "dropped." + reason, Want: strconv.Itoa(want.Dropped[reason]), Got: strconv.Itoa(got.Dropped[reason])})
		}
	}
	if want.Held != got.Held {
		all = append(all, Finding{What: "held", Want: strconv.Itoa(want.Held), Got: strconv.Itoa(got.Held)})
	}
	if want.State != nil {
		all = append(all, compareState(want.State, got.State)...)
	}
	if want.Metrics != nil {
		names := maps.Clone(got.Metrics)
		if names == nil {
			names = map[string]float64{}
		}
		maps.Copy(names, want.Metrics)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if want.Metrics[name] != got.Metrics[name] {
				all = append(all, Finding{What: "metrics." + name, Want: number(want.Metrics[name]), Got: number(got.Metrics[name])})
			}
		}
	}
	return all
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func compareState(want, got map[string][]byte) (all []Finding) {
	keys := maps.Clone(got)
	if keys == nil {
		keys = map[string][]byte{}
	}
	maps.Copy(keys, want)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		w, wanted := want[key]
		g, there := got[key]
		if wanted != there || !bytes.Equal(w, g) {
			f := Finding{What: "state." + key}
			if wanted {
				f.Want = stateText(w)
			}
			if there {
				f.Got = stateText(g)
			}
			all = append(all, f)
		}
	}
	return all
}

// stateText writes a value of the state as a case does.
func stateText(value []byte) string {
	if utf8.Valid(value) && !bytes.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' }) {
		return quote(string(value))
	}
	return fmt.Sprintf(`{hex: "%x"}`, value)
}

// compareLog looks for a line that contains each of the wanted ones, in their order.
func compareLog(want, got []string) []Finding {
	next := 0
	for _, part := range want {
		i := slices.IndexFunc(got[next:], func(line string) bool { return strings.Contains(line, part) })
		if i < 0 {
			return []Finding{{What: "log", Want: part, Got: strings.Join(got[next:], "\n")}}
		}
		next += i + 1
	}
	return nil
}

// compareRecords compares records one with one if there are as many as wanted;
// otherwise it says which are missing and which too much.
func compareRecords(what string, want, got []Fields) (all []Finding) {
	if len(want) == len(got) {
		for i := range want {
			for _, name := range want[i].differences(got[i]) {
				all = append(all, Finding{What: fmt.Sprintf("%s %d: %s", what, i+1, name), Want: want[i].value(name), Got: got[i].value(name)})
			}
		}
		return all
	}
	for _, step := range align(len(want), len(got), func(i, k int) bool { return want[i].equal(got[k]) }) {
		switch {
		case step.want >= 0 && step.got < 0:
			all = append(all, Finding{What: fmt.Sprintf("%s %d is missing", what, step.want+1), Want: want[step.want].withoutHost().yaml()})
		case step.got >= 0 && step.want < 0:
			all = append(all, Finding{What: fmt.Sprintf("%s %d is too much", what, step.got+1), Got: got[step.got].withoutHost().yaml()})
		}
	}
	return all
}

// value is a field as a case writes it; empty where it is absent.
func (f Fields) value(name string) string {
	if v, ok := f[name]; ok {
		return yamlOf(v)
	}
	return ""
}

// withoutHost leaves out what the host alone sets.
func (f Fields) withoutHost() Fields {
	g := maps.Clone(f)
	for _, name := range hostFields {
		delete(g, name)
	}
	return g
}

// pair is one step of an alignment; -1: none.
type pair struct{ want, got int }

// align finds the longest common subsequence of two lists.
func align(n, m int, same func(i, k int) bool) []pair {
	if n*m > 1<<22 { // too many to look at each with each: the first that differ are all that helps
		return pairUp(n, m)
	}
	long := make([][]int, n+1)
	for i := range long {
		long[i] = make([]int, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for k := m - 1; k >= 0; k-- {
			if same(i, k) {
				long[i][k] = long[i+1][k+1] + 1
			} else {
				long[i][k] = max(long[i+1][k], long[i][k+1])
			}
		}
	}
	var pairs []pair
	for i, k := 0, 0; i < n || k < m; {
		switch {
		case i < n && k < m && same(i, k):
			pairs = append(pairs, pair{i, k})
			i, k = i+1, k+1
		case k >= m || i < n && long[i+1][k] >= long[i][k+1]:
			pairs = append(pairs, pair{i, -1})
			i++
		default:
			pairs = append(pairs, pair{-1, k})
			k++
		}
	}
	return pairs
}

func pairUp(n, m int) (pairs []pair) {
	for i := min(n, m); i < max(n, m); i++ {
		if i < n {
			pairs = append(pairs, pair{i, -1})
		} else {
			pairs = append(pairs, pair{-1, i})
		}
	}
	return pairs
}
