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
	"time"
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

// TestREADMEFirstModule does what the README's "Your first module in five
// minutes" says, to the letter, in each of the languages that it names. Ports
// alone are the test's own.
func TestREADMEFirstModule(t *testing.T) {
	all := blocks(t, "../README.md", "<!-- first-module -->")
	var kinds []string
	for _, b := range all {
		kinds = append(kinds, b.language)
	}
	if got := strings.Join(kinds, " "); got != "sh go yaml sh" {
		t.Fatalf("the README's blocks are %s, want sh go yaml sh", got)
	}
	for _, language := range []string{"go", "c", "rust", "assemblyscript"} {
		t.Run(language, func(t *testing.T) {
			begun := time.Now()
			followREADME(t, all, language)
			if took := time.Since(begun); took > firstModule {
				t.Errorf("it took %v, more than %v", took, firstModule)
			}
		})
	}
}

// followREADME goes from nothing to a module that runs.
func followREADME(t *testing.T, all []block, language string) {
	dir := t.TempDir()
	built, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(built, filepath.Join(dir, "bin")); err != nil { // holds runnel
		t.Fatal(err)
	}
	sh := func(lines string) *exec.Cmd {
		cmd := exec.Command("sh", "-exc", lines)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
		return cmd
	}
	build := strings.Replace(all[0].text, "--lang go ", "--lang "+language+" ", 1)
	if out, err := sh(build).CombinedOutput(); err != nil || !strings.Contains(string(out), "cases passed") {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	if language == "go" { // what the README shows of the source is in it
		source, err := os.ReadFile(filepath.Join(dir, "hello", "main.go"))
		if err != nil || !strings.Contains(string(source), all[1].text) {
			t.Errorf("hello/main.go does not hold what the README shows: %v\n%s", err, source)
		}
	}
	port, api := fmt.Sprint(freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	config := strings.ReplaceAll(all[2].text, ":5514", ":"+port) + "api: {listen: " + api + "}\n"
	if err := os.WriteFile(filepath.Join(dir, "runnel.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(all[3].text), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[2], "./bin/runnel run") {
		t.Fatalf("got %q, want check, try and run", lines)
	}
	for _, line := range lines[:2] {
		out, err := sh(line).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		if strings.Contains(line, " try ") && !strings.Contains(string(out), "team=shop") {
			t.Errorf("%s: the attribute is not in\n%s", line, out)
		}
	}
	runUntilReady(t, sh("exec "+lines[2]))
	write(t, "tcp", "127.0.0.1:"+port, `<15>Nov 22 10:00:00 vm web: noise`, `<14>Nov 22 10:00:00 vm web[12]: one line`)
	var stored struct {
		App, Message string
		Attrs        map[string]any
	}
	eventually(t, "the line in the store", func() bool {
		out, err := sh("./bin/runnel query -o json --api http://" + api).Output()
		return err == nil && json.Unmarshal(out, &stored) == nil // of one line, so one record
	})
	if stored.App != "web" || stored.Message != "one line" || stored.Attrs["team"] != "shop" {
		t.Errorf("got %+v, want the line of web with its team", stored)
	}
}
