package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "write docs/cli.md anew")

// cliDocs is what docs/cli.md says around the verbs.
const cliDocs = `# The command line

<!-- Written by: go test ./cmd/runnel -run Docs -update. Change the help texts in cmd/runnel or docs_test.go there instead. -->

    runnel VERB [flags] [arguments]

| exit code | means |
|---|---|
| 0 | good |
| 1 | the thing asked for failed: the agent cannot be reached, a port is in use |
| 2 | the command line or the configuration is wrong; nothing was done |

Flags may stand before or after the verb. On a terminal, control characters in records are always escaped; colours come only there,
and not with ` + "`--no-color`, `NO_COLOR` or `TERM=dumb`" + `. An argument that begins with ` + "`-`" + ` follows a ` + "`--`" + `.

` + "`run`" + ` takes SIGTERM and SIGINT as the wish to stop: it commits what has arrived and exits within 5 s. SIGHUP makes it read its
configuration again; one that is wrong changes nothing, and neither does one that changes ` + "`agent` or `api`" + `, which wants a restart.

## Flags of every verb

`

// writeCLIDocs puts docs/cli.md together from the command line's own model.
func writeCLIDocs(t *testing.T) string {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.Name("runnel"), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(cliDocs)
	writeFlags(&b, parser.Model.Flags)
	for _, verb := range parser.Model.Children {
		writeVerb(&b, verb, "runnel "+verb.Name)
	}
	return b.String()
}

// writeVerb writes one verb, and those below it.
func writeVerb(b *strings.Builder, n *kong.Node, path string) {
	fmt.Fprintf(b, "\n## %s\n\n", path)
	usage := path
	for _, p := range n.Positional {
		usage += " " + p.Summary()
	}
	if len(n.Children) > 0 {
		usage += " VERB"
	}
	if len(n.Flags) > 0 {
		usage += " [flags]"
	}
	fmt.Fprintf(b, "    %s\n\n%s\n", usage, n.Help)
	if n.DefaultCmd != nil {
		fmt.Fprintf(b, "Without a verb: `%s`.\n", n.DefaultCmd.Name)
	}
	if len(n.Positional) > 0 {
		b.WriteString("\n| argument | is |\n|---|---|\n")
		for _, p := range n.Positional {
			fmt.Fprintf(b, "| `%s` | %s |\n", cell(p.Summary()), cell(p.Help))
		}
	}
	if len(n.Flags) > 0 {
		b.WriteString("\n")
		writeFlags(b, n.Flags)
	}
	for _, child := range n.Children {
		writeVerb(b, child, path+" "+child.Name)
	}
}

// writeFlags writes a table of flags.
func writeFlags(b *strings.Builder, flags []*kong.Flag) {
	b.WriteString("| flag | default | does |\n|---|---|---|\n")
	for _, f := range flags {
		if f.Hidden {
			continue
		}
		name := "--" + f.Name
		if !f.IsBool() {
			name += " " + placeholder(f)
		}
		if f.Short != 0 {
			name = fmt.Sprintf("-%c, %s", f.Short, name)
		}
		help, initial := f.Help, ""
		if f.Enum != "" {
			help += " One of " + strings.ReplaceAll(f.Enum, ",", ", ") + "."
		}
		if f.HasDefault && f.Default != "" {
			initial = "`" + f.Default + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", cell(name), cell(initial), cell(help))
	}
}

// placeholder is what stands for a flag's value.
func placeholder(f *kong.Flag) string {
	if f.PlaceHolder != "" {
		return f.PlaceHolder
	}
	words := strings.Split(f.Name, "-")
	word := strings.ToUpper(words[len(words)-1])
	if f.IsSlice() {
		word += ",…"
	}
	return word
}

func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

func TestCLIDocsSayWhatTheCommandLineIs(t *testing.T) {
	const path = "../../docs/cli.md"
	want := writeCLIDocs(t)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, []byte(want)) {
		t.Errorf("%s is stale: run go test ./cmd/runnel -run Docs -update, and read the difference", path)
	}
	for _, word := range []string{"## runnel run", "## runnel cursor set", "--api URL", "-c, --config FILE"} {
		if !strings.Contains(want, word) {
			t.Errorf("no %q in it", word)
		}
	}
}
