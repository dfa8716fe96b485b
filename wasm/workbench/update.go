package workbench

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/runnel-log/runnel/internal/config"
)

// Update writes what came into the wants of the cases that failed, in their
// files. Only the keys of want that differ are written anew, so that comments at
// the others stay. It returns the files it changed; the error names what it cannot change.
func Update(results []*Result) (changed []string, wrong error) {
	byFile := map[string][]*Result{}
	for _, r := range results {
		if !r.Passed() {
			byFile[r.Case.File] = append(byFile[r.Case.File], r)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(byFile)) {
		text, err := os.ReadFile(file)
		if err != nil {
			return changed, err
		}
		var updated string
		if filepath.Ext(file) == ".txtar" {
			updated, err = updateArchive(string(text), byFile[file][0])
		} else {
			updated, err = updateYAML(string(text), byFile[file])
		}
		wrong = errors.Join(wrong, err)
		if updated == string(text) {
			continue
		}
		if err := replaceFile(file, []byte(updated)); err != nil {
			return changed, err
		}
		changed = append(changed, file)
	}
	return changed, wrong
}

// updateArchive writes the file want anew.
func updateArchive(text string, r *Result) (string, error) {
	for _, f := range r.Diff {
		if key := keyOf(f.What); key != "records" {
			return text, fmt.Errorf("%s: %s cannot be written into a txtar file; write it in its case.yaml", r.Case.File, key)
		}
	}
	var want strings.Builder
	for _, f := range r.Got[0].Records {
		want.WriteString(f.withoutHost().json() + "\n")
	}
	return archiveWith(text, want.String()), nil
}

// json writes the fields as a record.
func (f Fields) json() string {
	var parts, attrs []string
	for _, name := range f.names() {
		if key, isAttr := strings.CutPrefix(name, attrPrefix); isAttr {
			attrs = append(attrs, jsonText(key)+":"+f[name])
		} else {
			parts = append(parts, jsonText(name)+":"+f[name])
		}
	}
	if len(attrs) > 0 {
		parts = append(parts, `"attrs":{`+strings.Join(attrs, ",")+"}")
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// edit replaces lines from to to (exclusive, both from 0).
type edit struct {
	from, to int
	lines    []string
}

// updateYAML replaces the wants of some cases in the text of their file.
func updateYAML(text string, results []*Result) (string, error) {
	lines := strings.Split(text, "\n")
	var edits []edit
	var wrong error
	for _, r := range results {
		for i, got := range r.Got {
			keys := differing(r.Diff, i)
			if len(keys) == 0 {
				continue
			}
			e, err := editsOf(lines, r.Case, i, got, keys)
			if err != nil {
				wrong = errors.Join(wrong, fmt.Errorf("%s:%d: %s: %w", r.Case.File, r.Case.Line, r.Case.Name, err))
				continue
			}
			edits = append(edits, e...)
		}
	}
	slices.SortStableFunc(edits, func(a, b edit) int { return b.from - a.from })
	for _, e := range edits { // from the end, so that the places of the others stay
		lines = slices.Replace(lines, e.from, e.to, e.lines...)
	}
	return strings.Join(lines, "\n"), wrong
}

// wantKeys are the keys of want in the order in which they are written.
var wantKeys = []string{"refused", "records", "dropped", "held", "failed", "dead", "state", "metrics", "log"}

// differing returns the keys of want that findings of step i are about.
func differing(findings []Finding, i int) (keys []string) {
	for _, f := range findings {
		if key := keyOf(f.What); f.Step == i && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func keyOf(what string) string {
	word := what[:len(what)-len(strings.TrimLeft(what, "abcdefghijklmnopqrstuvwxyz"))]
	switch word {
	case "record":
		return "records"
	}
	return word
}

// editsOf returns what makes the want of step i say what came of it.
func editsOf(lines []string, c *Case, i int, got *Want, keys []string) ([]edit, error) {
	s := c.Steps[i]
	here := s.source.node
	if s.Records == nil && !s.Tick && !s.Flush && !s.Restart && got.Refused == "" {
		return nil, errors.New("the module takes a config that it should refuse; mend the one or the other")
	}
	whole := s.source.want == nil || slices.Contains(keys, "refused") || slices.Contains(keys, "want")
	if s.source.want == nil {
		at, indent, err := endOf(lines, here)
		if err != nil {
			return nil, err
		}
		return []edit{{at, at, wantBlock(c, s, got, indent)}}, nil
	}
	line, col := here.KeyPosition("want")
	if !isBlock(lines, line, col) {
		return nil, errors.New("want stands within braces, where it cannot be written anew; put it on a line of its own")
	}
	first := s.source.want.Keys()
	if len(first) > 0 {
		if at, _ := s.source.want.KeyPosition(first[0]); at == line {
			whole = true // want: {…}
		}
	}
	if whole || len(first) == 0 {
		return []edit{{line - 1, blockEnd(lines, line, col), wantBlock(c, s, got, col-1)}}, nil
	}
	_, inner := s.source.want.KeyPosition(first[0])
	var edits []edit
	for _, key := range keys {
		text := wantKey(c, s, got, key, inner-1)
		if s.source.want.Key(key) == nil {
			end := blockEnd(lines, line, col)
			edits = append(edits, edit{end, end, text})
			continue
		}
		at, _ := s.source.want.KeyPosition(key)
		edits = append(edits, edit{at - 1, blockEnd(lines, at, inner), text})
	}
	return edits, nil
}

// isBlock reports whether a key stands on a line of its own.
func isBlock(lines []string, line, col int) bool {
	before := []rune(lines[line-1])
	return line > 0 && strings.Trim(string(before[:min(col-1, len(before))]), " -") == ""
}

// blockEnd returns the line behind what belongs to the key at line and col (from 1):
// all that is indented further, and a list as far as the key itself. Blank lines at its end are the next one's.
func blockEnd(lines []string, line, col int) int {
	end := line
	for i := line; i < len(lines); i++ {
		text := strings.TrimLeft(lines[i], " ")
		if text == "" {
			continue
		}
		indent := len(lines[i]) - len(text)
		if indent < col && !(indent == col-1 && strings.HasPrefix(text, "- ")) {
			break
		}
		end = i + 1
	}
	return end
}

var stepKeys = []string{"records", "tick", "flush", "restart", "config", "name"}

// endOf returns the line behind a block mapping, and how far its keys are indented.
func endOf(lines []string, n *config.Node) (at, indent int, err error) {
	for _, key := range stepKeys {
		if n.Key(key) == nil {
			continue
		}
		line, col := n.KeyPosition(key)
		if !isBlock(lines, line, col) {
			return 0, 0, errors.New("stands within braces, where want cannot be added; put its keys on lines of their own")
		}
		for _, other := range n.Keys() {
			if l, c := n.KeyPosition(other); c == col {
				at = max(at, blockEnd(lines, l, c))
			}
		}
		return at, col - 1, nil
	}
	return 0, 0, errors.New("has no key beside which want could stand")
}

// wantBlock writes a want of all that came.
func wantBlock(c *Case, s Step, got *Want, indent int) []string {
	lines := []string{strings.Repeat(" ", indent) + "want:"}
	for _, key := range wantKeys {
		told := false
		switch key {
		case "refused":
			told = got.Refused != ""
		case "records":
			told = got.Refused == ""
		case "dropped":
			told = len(got.Dropped) > 0
		case "held":
			told = got.Held > 0
		case "failed":
			told = got.Failed != ""
		case "dead":
			told = len(got.Dead) > 0
		case "state":
			told = len(got.State) > 0 || s.Want != nil && s.Want.State != nil
		case "metrics":
			told = len(got.Metrics) > 0
		}
		if told {
			lines = append(lines, wantKey(c, s, got, key, indent+2)...)
		}
	}
	return lines
}

// wantKey writes one key of want.
func wantKey(c *Case, s Step, got *Want, key string, indent int) []string {
	in := strings.Repeat(" ", indent)
	line := func(value string) []string { return []string{in + key + ": " + value} }
	switch key {
	case "refused":
		return line(quote(got.Refused))
	case "records":
		if s.Records != nil && len(got.Records) > 0 && len(compareRecords("", sameAs(s), got.Records)) == 0 {
			return line("same")
		}
		return recordList(c, line, in, got.Records)
	case "dead":
		return recordList(c, line, in, got.Dead)
	case "dropped":
		return line(inBraces(got.Dropped, func(n int) string { return fmt.Sprint(n) }))
	case "held":
		return line(fmt.Sprint(got.Held))
	case "failed":
		return line(quote(got.Failed))
	case "state":
		return line(inBraces(got.State, stateText))
	case "metrics":
		return line(inBraces(got.Metrics, number))
	}
	parts := make([]string, len(got.Log))
	for i, l := range got.Log {
		parts[i] = quote(l)
	}
	return line("[" + strings.Join(parts, ", ") + "]")
}

// inBraces writes a mapping on one line.
func inBraces[V any](m map[string]V, text func(V) string) string {
	parts := make([]string, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, quoteKey(key)+": "+text(m[key]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// recordList writes records, each like one that went in where that is shorter.
func recordList(c *Case, line func(string) []string, in string, records []Fields) []string {
	if len(records) == 0 {
		return line("[]")
	}
	lines := []string{strings.TrimSuffix(line("")[0], " ")}
	for _, f := range records {
		f = f.withoutHost()
		text := f.yaml()
		for n, from := range c.inputs() {
			if short, ok := f.like(n+1, from.withoutHost()); ok && len(short) < len(text) {
				text = short
			}
		}
		lines = append(lines, in+"  - "+text)
	}
	return lines
}

// inputs are the records that go in, over all steps.
func (c *Case) inputs() (all []Fields) {
	for _, s := range c.Steps {
		all = append(all, fieldsOfBatch(s.Records)...)
	}
	return all
}

// like writes the record as one like the nth, if they say much the same.
func (f Fields) like(n int, from Fields) (string, bool) {
	differ := from.differences(f)
	if 2*len(differ) >= len(f)+1 || f["message"] != from["message"] {
		return "", false
	}
	changed := Fields{}
	for _, name := range differ {
		if changed[name] = f[name]; f[name] == "" {
			changed[name] = "~"
		}
	}
	text := strings.TrimPrefix(changed.yaml(), "{")
	return strings.Replace(fmt.Sprintf("{like: %d, %s", n, text), ", }", "}", 1), true
}
