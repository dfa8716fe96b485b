//go:build integration

package examples

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// firstModule bounds the way from nothing to a module that runs.
const firstModule = 5 * time.Minute

// TestFirstModuleInEachLanguage does what docs/modules.md says, to the letter: in
// each language the commands make, build and test a module within five minutes, and
// the record that goes through it comes out marked.
func TestFirstModuleInEachLanguage(t *testing.T) {
	built, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../docs/modules.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "<!-- run: ")
	if len(parts) != 5 {
		t.Fatalf("docs/modules.md has the commands of %d languages, want 4", len(parts)-1)
	}
	for _, part := range parts[1:] {
		language, rest, _ := strings.Cut(part, " -->")
		_, commands, _ := strings.Cut(rest, "```sh\n")
		commands, _, _ = strings.Cut(commands, "```")
		t.Run(language, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithTimeout(t.Context(), firstModule)
			defer cancel()
			cmd := exec.CommandContext(ctx, "sh", "-exc", commands)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+built+":"+os.Getenv("PATH"), "GOPROXY=off")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range []string{"hello.wasm", "3 cases passed", `"message":"user 7 logged in","attrs":{"team":"shop"}`, "1 in, 1 out"} {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			inAnAgent(t, built, dir)
		})
	}
}

// inAnAgent checks the module with the configuration of the page, and tries it.
func inAnAgent(t *testing.T, built, dir string) {
	t.Helper()
	var config, commands string
	for _, b := range blocks(t, "../docs/modules.md", "<!-- agent -->")[:2] {
		if b.language == "yaml" {
			config = b.text
		} else {
			commands = b.text
		}
	}
	config = strings.ReplaceAll(config, ":5514", fmt.Sprintf(":%d", freePort(t)))
	if err := os.WriteFile(filepath.Join(dir, "runnel.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-exc", commands)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+built+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "team=shop") {
		t.Errorf("%v, want team=shop in\n%s", err, out)
	}
}
