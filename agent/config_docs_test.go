package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/internal/expression"
)

// configDocs is what docs/config.md says around the samples.
const configDocs = `# The configuration

<!-- Written by: go test ./agent -run Docs -update. Change the sample.yaml files or agent/config_docs_test.go instead. -->

One YAML file: the one that ` + "`-c`" + ` names, else ` + "`./runnel.yaml`" + `, else ` + "`/etc/runnel/runnel.yaml`" + `, else a default inside the binary.
` + "`runnel check`" + ` says what is wrong with it, everything at once, and where; ` + "`runnel config`" + ` prints it with every default
written out. SIGHUP, or ` + "`POST /api/v1/reload`" + `, reads it again; one that is wrong changes nothing.

## Everything but the kinds

` + "```yaml\n%s```" + `

## Expressions

` + "`drop`, `set`, `route` and `where`" + `, and the filters of ` + "`runnel query` and `runnel tail`" + `, are one language:
[expr](https://expr-lang.org/docs/language-definition) over the fields of one record.

| field | is |
|---|---|
| ` + "`time`, `received`" + ` | a time; compare it with ` + "`\"2026-11-22T10:00:00Z\"`, or with `now() - duration(\"15m\")`" + ` |
| ` + "`severity`" + ` | 0 (emerg) to 7 (debug); compares with a number or a name: ` + "`severity <= \"err\"`" + ` means err and worse |
| ` + "`facility`" + ` | 0 to 23; compares with a number or a name |
| ` + "`host app procid msgid message stream input peer agent`" + ` | texts; ` + "`agent`" + ` is the name of the first runnel that had the record |
| ` + "`attrs`" + ` | the attributes: ` + "`attrs.status`, `attrs[\"http.status\"]`, `attrs.http.status`" + ` (the same); into a list: ` + "`attrs.tags[0]`" + ` |

Operators: ` + "`== != < <= > >= in and or not + - * / %% ** ?: ?? contains startsWith endsWith matches`" + ` (Go's regular expressions).
Functions: ` + "`%s`" + `.
Over lists, with ` + "`#`" + ` for each item: ` + "`%s`, as in `any(attrs.tags, # == \"a\")`" + `; not one inside another.

What is absent is nil, and never an error: order, arithmetic and functions of nil, or of another type, give nil; nil as
a condition is false, so ` + "`not`" + ` of it is true. ` + "`==` and `!=`" + ` compare anything: ` + "`attrs.user == nil`" + ` asks whether it is absent. ` + "`set`" + ` with nil
sets nothing. Names, types and patterns are checked when the file is read.
`

// writeConfigDocs puts docs/config.md together from the samples in the tree.
func writeConfigDocs(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, configDocs, Sample, strings.Join(expression.Functions(), " "), strings.Join(expression.Predicates(), " "))
	for _, section := range []struct{ title, key, pattern string }{
		{"Inputs", "inputs", "inputs/*/sample.yaml"}, {"Forwarders", "forwarders", "../forwarders/*/sample.yaml"},
	} {
		files, err := filepath.Glob(section.pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no samples at %s: %v", section.pattern, err)
		}
		fmt.Fprintf(&b, "\n## %s\n\nThe keys of each type, as they stand under `%s: {NAME: …}`.\n", section.title, section.key)
		for _, file := range files {
			sample, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "\n### %s\n\n```yaml\n%s```\n", filepath.Base(filepath.Dir(file)), sample)
		}
	}
	return b.String()
}

func TestDocsAreFresh(t *testing.T) {
	want := writeConfigDocs(t)
	const path = "../docs/config.md"
	got, _ := os.ReadFile(path) // absent before the first -update
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(got) != want {
		t.Error("docs/config.md is stale; run: go test ./agent -run Docs -update")
	}
}

func TestSampleIsGoodAndComplete(t *testing.T) {
	dir := configDir(t)
	src := strings.ReplaceAll(Sample, "modules/classify.wasm", "ok.wasm")
	if _, err := ParseConfig("sample.yaml", []byte(src), dir, fakeKinds()); err != nil {
		t.Error(err)
	}
	for _, section := range []any{agentSection{}, APIConfig{}, moduleSection{}, pipelineSection{}, streamSection{}, forwarderSection{}} {
		for field := range reflect.TypeOf(section).Fields() {
			key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if key != "" && !strings.Contains(Sample, key+":") {
				t.Errorf("sample.yaml does not show %s", key)
			}
		}
	}
}

// The sample states the defaults: without its agent, api and streams "*" sections nothing changes.
func TestSampleStatesTheDefaults(t *testing.T) {
	dir := configDir(t)
	effective := func(src string) string {
		c, err := ParseConfig("f.yaml", []byte(src), dir, fakeKinds())
		if err != nil {
			t.Fatal(err)
		}
		c.Name, c.DataDir = "", ""
		var b strings.Builder
		if err := c.Effective(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	from, to := strings.Index(Sample, "\nagent:"), strings.Index(Sample, "\n# Where records come from")
	got := effective(Sample[from:to] + Sample[strings.Index(Sample, "\nstreams:"):strings.Index(Sample, "\n# Where records go")])
	want := effective("streams: {app: {max_age: 72h, max_size: 1GiB}}")
	if got != want {
		t.Errorf("the sample's values give\n%s\nwithout them it is\n%s", got, want)
	}
}
