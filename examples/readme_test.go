//go:build integration

package examples

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// block is a fenced block of Markdown.
type block struct{ language, text string }

// blocks returns the fenced blocks between a mark and the next heading.
func blocks(t *testing.T, file, mark string) (all []block) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(b), mark)
	if !found {
		t.Fatalf("%s has no %s", file, mark)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	for i, part := range strings.Split(text, "```") {
		if language, code, _ := strings.Cut(part, "\n"); i%2 == 1 {
			all = append(all, block{language, code})
		}
	}
	return all
}

// clone is a folder in which the commands of the README work as they do in a
// clone of the repository: links to what stands there, folders of its own where they write.
func clone(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	link := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if err := os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	link("go.mod", "go.sum", "guest-sdk")
	built, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(built, filepath.Join(dir, "bin")); err != nil { // holds runnel
		t.Fatal(err)
	}
	return dir
}

// TestREADMEFirstModule does what the README's "Your first module in five
// minutes" says, to the letter. Ports alone are the test's own.
func TestREADMEFirstModule(t *testing.T) {
	dir := clone(t)
	all := blocks(t, "../README.md", "<!-- first-module -->")
	var languages []string
	for _, b := range all {
		languages = append(languages, b.language)
	}
	if got := strings.Join(languages, " "); got != "go sh yaml sh" {
		t.Fatalf("the README's blocks are %s, want go sh yaml sh", got)
	}
	source, build, config, use := all[0].text, all[1].text, all[2].text, all[3].text

	port, api := fmt.Sprint(freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	config = strings.ReplaceAll(config, ":5514", ":"+port) + "api: {listen: " + api + "}\n"
	typed := filepath.Join(t.TempDir(), "main.go") // what the reader types into the editor
	for path, text := range map[string]string{typed: source, filepath.Join(dir, "runnel.yaml"): config} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sh := func(line string) *exec.Cmd {
		cmd := exec.Command("sh", "-ec", line)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "EDITOR=cp "+typed)
		return cmd
	}
	if out, err := sh(build).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	lines := strings.Split(strings.TrimSpace(use), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[2], "./bin/runnel run") {
		t.Fatalf("got %q, want check, try and run", lines)
	}
	for _, line := range lines[:2] {
		out, err := sh(line).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		if strings.Contains(line, " try ") && !strings.Contains(string(out), "seen_by") {
			t.Errorf("%s: the attribute is not in\n%s", line, out)
		}
	}
	runUntilReady(t, sh("exec "+lines[2]))
	write(t, "tcp", "127.0.0.1:"+port, `<14>Nov 22 10:00:00 vm chatty: again`, `<14>Nov 22 10:00:00 vm web[12]: one line`)
	var stored struct {
		App, Message string
		Attrs        map[string]any
	}
	eventually(t, "the line in the store", func() bool {
		out, err := sh("./bin/runnel query -o json --api http://" + api).Output()
		return err == nil && json.Unmarshal(out, &stored) == nil // of one line, so one record
	})
	if stored.App != "web" || stored.Message != "one line" || stored.Attrs["seen_by"] != "hello" {
		t.Errorf("got %+v, want the line of web with seen_by", stored)
	}
}
