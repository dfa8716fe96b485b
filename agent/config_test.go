package agent

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/tlsconf"
	"github.com/runnel-log/runnel/storage"
	"github.com/runnel-log/runnel/wasm"
)

var update = flag.Bool("update", false, "accept what the tests got as what they want")

// The fakes have the keys that contract.md gives the real kinds, and little of their checks.

type fakeInput struct {
	Listen         []string        `yaml:"listen"`
	Format         string          `yaml:"format" oneof:"auto rfc5424 rfc3164"`
	MaxMessage     config.Bytes    `yaml:"max_message"`
	Timezone       string          `yaml:"timezone"`
	Allow          []string        `yaml:"allow"`
	MaxConnections int32           `yaml:"max_connections"`
	TLS            *tlsconf.Server `yaml:"tls"`
}

func (o *fakeInput) Check(at *config.At) {
	for i, url := range o.Listen {
		if strings.Contains(url, "://") || !strings.Contains(url, "udp") {
			continue
		}
		if _, err := listen.Parse(url); err != nil {
			at.Key("listen").Index(i).Problemf("%v", err)
		}
	}
}

type fakeForwarder struct {
	To      []string                 `yaml:"to"`
	URL     string                   `yaml:"url"`
	Format  string                   `yaml:"format" oneof:"rfc5424 rfc3164"`
	Framing string                   `yaml:"framing" oneof:"auto lf octet"`
	Headers map[string]config.Secret `yaml:"headers" literal:"true"`
	Body    string                   `yaml:"body" oneof:"ndjson json"`
	TLS     *tlsconf.Client          `yaml:"tls"`
	Batch   struct {
		Records int             `yaml:"records"`
		Bytes   config.Bytes    `yaml:"bytes"`
		Wait    config.Duration `yaml:"wait"`
	} `yaml:"batch"`
}

func (o *fakeForwarder) Check(*config.At) {}

func (o *fakeForwarder) Remembering() (receivers []string) { return o.To }

type fakeSyslog struct {
	To         string `yaml:"to" required:"true"`
	Format     string `yaml:"format" oneof:"rfc5424 rfc3164"`
	Framing    string `yaml:"framing" oneof:"auto lf octet"`
	AcceptLoss bool   `yaml:"accept_loss"`
}

func (o *fakeSyslog) Check(*config.At) {}

func (o *fakeSyslog) Lossy() (lossy, accepted bool) {
	return strings.HasPrefix(o.To, "udp:"), o.AcceptLoss
}

func fakeKinds() Kinds {
	var k Kinds
	for _, name := range []string{"syslog", "http", "relp", "relay"} {
		k.Inputs = append(k.Inputs, inputs.Kind{Name: name, Options: func() config.Options {
			return &fakeInput{Format: "auto", MaxMessage: 1 << 20, Timezone: "local", MaxConnections: 4096}
		}})
	}
	for _, name := range []string{"relay", "webhook"} {
		k.Forwarders = append(k.Forwarders, forwarders.Kind{Name: name, Options: func() config.Options {
			return &fakeForwarder{Format: "rfc5424", Framing: "auto", Body: "ndjson"}
		}})
	}
	k.Forwarders = append(k.Forwarders, forwarders.Kind{Name: "syslog", Options: func() config.Options { return &fakeSyslog{Format: "rfc5424", Framing: "auto"} }})
	return k
}

// configDir has the files that the cases name.
func configDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, mode os.FileMode, content string) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	least := mustRead(t, "../wasm/workbench/keep.wasm") // the least that is a module
	write("ok.wasm", 0o644, string(least))
	write("text.wasm", 0o644, "#!/bin/sh")
	strict := &wasm.Manifest{Name: "strict", ABI: wasm.ABI, Config: []byte(`{"type": "object", "additionalProperties": false,
		"required": ["limit"], "properties": {"limit": {"type": "integer", "minimum": 1}, "mode": {"enum": ["keep", "drop"]}}}`)}
	wrong := &wasm.Manifest{Name: "wrong", ABI: wasm.ABI, Config: []byte(`{"type": "whole"}`)}
	for name, m := range map[string]*wasm.Manifest{"strict.wasm": strict, "wrong.wasm": wrong} {
		code, err := m.Append(least)
		if err != nil {
			t.Fatal(err)
		}
		write(name, 0o644, string(code))
	}
	write("state.wasm", 0o644, string(mustRead(t, "../guest-sdk/c/dist/conformance.wasm"))) // wants all there is
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	write("hosts.csv", 0o644, "name,site\nvm,lab\n")
	write("token", 0o600, "canary-token\n")
	write("loose", 0o666, "canary-loose\n")
	write("empty", 0o600, "\n")
	t.Setenv("RUNNEL_TEST_WORD", "canary word")
	return dir
}

func TestEveryWrongConfigIsExplained(t *testing.T) {
	dir := configDir(t)
	files, err := filepath.Glob("testdata/config/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	cases := 0
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, got := map[string]string{}, &txtar.Archive{Comment: archive.Comment}
		for _, f := range archive.Files {
			want[f.Name] = string(f.Data)
		}
		for _, f := range archive.Files {
			name, isCase := strings.CutSuffix(f.Name, ".yaml")
			if !isCase {
				continue
			}
			cases++
			said := explain(t, f.Data, dir)
			got.Files = append(got.Files, f, txtar.File{Name: name + ".want", Data: []byte(said)})
			if said != want[name+".want"] && !*update {
				t.Errorf("%s: %s\ngot:\n%swant:\n%s", file, name, said, want[name+".want"])
			}
		}
		if *update {
			if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if cases < 60 {
		t.Errorf("%d cases, want at least 60", cases)
	}
}

// explain returns all that is said about a wrong config.
func explain(t *testing.T, src []byte, dir string) string {
	t.Helper()
	_, err := ParseConfig("runnel.yaml", src, dir, fakeKinds())
	if err == nil {
		t.Errorf("this is taken for good:\n%s", src)
		return ""
	}
	said := strings.ReplaceAll(err.Error(), dir, "DIR") + "\n"
	for _, secret := range []string{"canary", "hunter2"} {
		if strings.Contains(said, secret) {
			t.Errorf("a secret is shown:\n%s", said)
		}
	}
	return said
}

func TestExampleOfTheContractIsGood(t *testing.T) {
	dir := configDir(t)
	src, err := os.ReadFile("testdata/config/contract.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KEY", "canary-key")
	c, err := ParseConfig("runnel.yaml", src, dir, fakeKinds())
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	check("name", c.Name, "vm-17")
	check("data_dir", c.DataDir, "/var/lib/runnel")
	check("max_size", c.MaxSize, int64(8<<30))
	check("commit_every", c.CommitEvery, time.Duration(0))
	check("inputs", len(c.Inputs), 5)
	check("modules", len(c.Modules), 1)
	check("module config", string(c.Modules[0].Options.Config), `{"drop_debug":true}`)
	check("module memory", c.Modules[0].Options.Memory, int64(16<<20))
	check("module on_error", c.Modules[0].Options.OnError, wasm.Keep)
	check("steps", len(c.Pipelines[0].Steps), 5)
	check("step 2", c.Pipelines[0].Steps[1].Text, `drop: severity == "debug" or attrs.path == "/healthz"`)
	check("app", c.Policy("app"), storage.Policy{MaxAge: 72 * time.Hour, MaxSize: 1 << 30})
	check("errors, with max_size of *", c.Policy("errors"), storage.Policy{MaxAge: 720 * time.Hour, MaxSize: 512 << 20})
	check("app.dead as app", c.Policy("app.dead"), c.Policy("app"))
	check("any other", c.Policy("other"), storage.Policy{MaxAge: 24 * time.Hour, MaxSize: 512 << 20})
	check("app is known", c.KnownStream("app"), true)
	check("default is known", c.KnownStream("default"), true)
	check("app.dead is not known", c.KnownStream("app.dead"), false)
	check("* is not known", c.KnownStream("*"), false)
	check("forwarders", len(c.Forwarders), 3)
	check("to", c.Forwarders[0].To, "tls://central-1:6515, tls://central-2:6515")
	check("where", c.Forwarders[2].WhereText, `attrs.team == "pay"`)
	if token, err := c.API.Token.Read(); token != "canary-token" || err != nil {
		t.Errorf("token: got %q, %v", token, err)
	}
}

func TestEffectiveConfigReadsAsItself(t *testing.T) {
	dir := configDir(t)
	src, err := os.ReadFile("testdata/config/contract.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KEY", "canary-key")
	c, err := ParseConfig("runnel.yaml", src, dir, fakeKinds())
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	if err := c.Effective(&first); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(first.String(), "canary") {
		t.Errorf("a secret is shown:\n%s", first.String())
	}
	again, err := ParseConfig("effective.yaml", first.Bytes(), dir, fakeKinds())
	if err != nil {
		t.Fatalf("%v\n%s", err, first.String())
	}
	if err := again.Effective(&second); err != nil {
		t.Fatal(err)
	}
	if first.String() != second.String() {
		t.Errorf("read and written again it is another:\n%s\n%s", first.String(), second.String())
	}
	golden := "testdata/config/contract.effective.yaml"
	shown := strings.ReplaceAll(first.String(), dir, "DIR")
	want, _ := os.ReadFile(golden) // absent before the first -update
	if *update {
		if err := os.WriteFile(golden, []byte(shown), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if shown != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", shown, want)
	}
}

func TestDigestChangesWithWhatItStandsFor(t *testing.T) {
	dir := configDir(t)
	read := func(src string) *Config {
		t.Helper()
		c, err := ParseConfig("runnel.yaml", []byte(src), dir, fakeKinds())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const src = `
inputs: {a: {type: syslog, format: auto}, b: {type: syslog}}
modules: {m: {file: ok.wasm}}
forwarders: {f: {type: webhook, from: default, url: "https://a/b", headers: {X: {file: token}}}}`
	one := read(src)
	two := read(strings.ReplaceAll(src, "format: auto", "format: rfc3164"))
	if one.Inputs[0].Digest == two.Inputs[0].Digest || one.Inputs[1].Digest != two.Inputs[1].Digest {
		t.Error("the digest of the input that changed must change, and no other")
	}
	if same := read("# a comment\n" + src); one.Inputs[0].Digest != same.Inputs[0].Digest || one.Modules[0].Digest != same.Modules[0].Digest {
		t.Error("a comment changed a digest")
	}
	code, err := (&wasm.Manifest{Name: "new", ABI: wasm.ABI}).Append(mustRead(t, filepath.Join(dir, "ok.wasm")))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"ok.wasm": string(code), "token": "another"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	three := read(src)
	if one.Modules[0].Digest == three.Modules[0].Digest {
		t.Error("a new build of a module is not seen")
	}
	if one.Forwarders[0].Digest == three.Forwarders[0].Digest {
		t.Error("a new secret is not seen")
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestConfigThatOthersMayWriteIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runnel.yaml")
	if err := errors.Join(os.WriteFile(path, []byte("inputs: {a: {type: syslog}}"), 0o600), os.Chmod(path, 0o662)); err != nil {
		t.Fatal(err)
	}
	_, err := LoadConfig(path, fakeKinds())
	if err == nil || !strings.Contains(err.Error(), "lets others change it") {
		t.Errorf("got %v, want a refusal", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(path, fakeKinds()); err != nil {
		t.Errorf("got %v, want none", err)
	}
}

func TestModuleProblemsArePlaced(t *testing.T) {
	c, err := ParseConfig("runnel.yaml", []byte("modules:\n  a: {file: ok.wasm}\n  b: {file: ok.wasm}\n"), configDir(t), fakeKinds())
	if err != nil {
		t.Fatal(err)
	}
	err = c.moduleProblems(func(m ModuleConfig) error {
		if m.Name == "b" {
			return errors.New("is no WebAssembly")
		}
		return nil
	})
	want := "runnel.yaml:3:13: modules.b.file: is no WebAssembly\n    3 |   b: {file: ok.wasm}\n      |             ^^^^^^^"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if err := c.moduleProblems(func(ModuleConfig) error { return nil }); err != nil {
		t.Errorf("got %v, want none", err)
	}
}
