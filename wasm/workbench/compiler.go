package workbench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// ErrMissing: a compiler, or a part of one, is not installed.
type ErrMissing struct {
	What   string // what there is not
	Remedy string // what to type on this system
}

func (e *ErrMissing) Error() string { return e.What + "; " + e.Remedy }

// command is what builds a module.
type command struct {
	args   []string
	env    []string // beside the process's own
	output string   // where the module is then
}

// String is the command as one could type it.
func (c command) String() string {
	words := append([]string{}, c.env...)
	for _, a := range c.args {
		if strings.ContainsAny(a, " '\"$*;&|") {
			a = "'" + a + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// command finds the compiler of the project's language.
func (p *Project) command() (command, error) {
	if p.Command != "" {
		return command{args: []string{"sh", "-ec", p.Command}, output: p.Output()}, nil
	}
	switch p.Language {
	case "go":
		return p.goCommand()
	case "rust":
		return p.rustCommand()
	case "c":
		return p.clangCommand()
	}
	return p.ascCommand()
}

// oldestGo is the first Go that exports functions of a reactor: 1.24.
const oldestGo = 24

func (p *Project) goCommand() (command, error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return command{}, missing("no go command is in PATH", "go")
	}
	out, err := exec.Command(path, "env", "GOVERSION").Output()
	version := strings.TrimSpace(string(out))
	if err != nil {
		return command{}, fmt.Errorf("%s env GOVERSION: %w", path, err)
	}
	if minor := 0; minorOf(version, &minor) && minor < oldestGo {
		return command{}, missing(fmt.Sprintf("%s is older than go1.%d", version, oldestGo), "go")
	}
	return command{args: []string{path, "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", p.Name + ".wasm", "."},
		env: []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS="}, output: p.Output()}, nil
}

// minorOf reads the second number of a Go version; false for one built from source between versions.
func minorOf(version string, minor *int) bool {
	n, err := fmt.Sscanf(version, "go1.%d", minor)
	return n == 1 && err == nil
}

// rustTargets are the targets a module is built for, the better ones first.
var rustTargets = []string{"wasm32-wasip1", "wasm32-wasi", "wasm32-unknown-unknown"}

// rustCommand looks for a cargo whose rustc, beside it, has a WebAssembly target:
// rustup's stands first in PATH, but often has none where the system's does.
func (p *Project) rustCommand() (command, error) {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".cargo", "bin"))
	}
	found := ""
	for _, wanted := range rustTargets {
		for _, dir := range dirs {
			cargo, rustc := filepath.Join(dir, "cargo"), filepath.Join(dir, "rustc")
			if !executable(cargo) || !executable(rustc) {
				continue
			}
			found = cargo
			out, err := exec.Command(rustc, "--print", "sysroot").Output()
			if err != nil {
				continue
			}
			if libs, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "lib/rustlib", wanted, "lib", "libcore-*")); len(libs) == 0 {
				continue
			}
			file := strings.ReplaceAll(p.Name, "-", "_") + ".wasm"
			return command{args: []string{cargo, "build", "--release", "--offline", "--target", wanted}, env: []string{"RUSTC=" + rustc},
				output: filepath.Join(p.Dir, "target", wanted, "release", file)}, nil
		}
	}
	if found == "" {
		return command{}, missing("no cargo and rustc are in PATH", "rust")
	}
	return command{}, missing(fmt.Sprintf("%s has no WebAssembly target (one of %s)", found, strings.Join(rustTargets, ", ")), "rust")
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}

// clangCommand compiles every .c of the folder. A libc for WASI is used where there is one; a module that
// needs none is built without it.
func (p *Project) clangCommand() (command, error) {
	clang := "clang"
	args := []string{"--target=wasm32"}
	sysroot := os.Getenv("WASI_SDK_PATH")
	if sysroot != "" {
		clang = filepath.Join(sysroot, "bin", "clang")
		args = []string{"--target=wasm32-wasi", "--sysroot=" + filepath.Join(sysroot, "share", "wasi-sysroot")}
	}
	path, err := exec.LookPath(clang)
	if err != nil {
		return command{}, missing("no clang is in PATH, nor does WASI_SDK_PATH name a WASI SDK", "c")
	}
	libc := sysroot != ""
	if info, err := os.Stat("/usr/lib/wasm32-wasi/libc.a"); err == nil && sysroot == "" && info.Size() > 0 {
		libc, args = true, []string{"--target=wasm32-wasi"}
	}
	if out, err := exec.Command(path, "-print-targets").Output(); err == nil && !bytes.Contains(out, []byte("wasm32")) {
		return command{}, missing(path+" does not compile to WebAssembly", "c")
	}
	if sysroot == "" {
		if _, err := exec.LookPath("wasm-ld"); err != nil {
			return command{}, missing("no wasm-ld, the linker, is in PATH", "c")
		}
	}
	sources, err := filepath.Glob(filepath.Join(p.Dir, "*.c"))
	if err != nil || len(sources) == 0 {
		return command{}, fmt.Errorf("%s has no .c file", display(p.Dir))
	}
	args = append(args, "-std=c11", "-O2", "-Wall", "-mbulk-memory", "-msign-ext", "-mnontrapping-fptoint", "-nostdlib", "-Isdk",
		"-Wl,--no-entry", "-Wl,--stack-first", "-Wl,--strip-all", "-Wl,--gc-sections", "-Wl,-z,stack-size=32768", "-o", p.Name+".wasm")
	for _, s := range sources {
		args = append(args, filepath.Base(s))
	}
	if libc {
		args = append(args, "-lc")
	}
	return command{args: append([]string{path}, args...), output: p.Output()}, nil
}

func (p *Project) ascCommand() (command, error) {
	if _, err := exec.LookPath("node"); err != nil {
		return command{}, missing("no node is in PATH, on which the AssemblyScript compiler runs", "assemblyscript")
	}
	for dir, last := p.abs(), ""; dir != last; dir, last = filepath.Dir(dir), dir {
		asc := filepath.Join(dir, "node_modules", ".bin", "asc")
		if executable(asc) {
			return command{args: []string{asc, "assembly/index.ts", "--config", "asconfig.json", "--target", "release", "--outFile", p.Name + ".wasm"}, output: p.Output()}, nil
		}
	}
	if _, err := exec.LookPath("npm"); err != nil {
		return command{}, missing("no npm is in PATH, which installs the AssemblyScript compiler", "assemblyscript")
	}
	return command{}, &ErrMissing{"the AssemblyScript compiler is not in node_modules",
		fmt.Sprintf("type: runnel module build --install, or in %s: %s", display(p.Dir), strings.Join(p.npm(), " "))}
}

// npm is the command that installs what package.json names.
func (p *Project) npm() []string {
	verb := "install"
	if _, err := os.Stat(filepath.Join(p.Dir, "package-lock.json")); err == nil {
		verb = "ci"
	}
	return []string{"npm", verb, "--no-audit", "--no-fund"}
}

func (p *Project) abs() string {
	if dir, err := filepath.Abs(p.Dir); err == nil {
		return dir
	}
	return p.Dir
}

// packages are what installs a language's compiler, by the system's own tool.
var packages = map[string]map[string]string{
	"debian": {"rust": "rustc cargo libstd-rust-dev-wasm32 lld", "c": "clang lld wasi-libc", "assemblyscript": "nodejs npm"},
	"fedora": {"go": "golang", "rust": "rust cargo rust-std-static-wasm32-wasip1", "c": "clang lld", "assemblyscript": "nodejs-npm"},
	"alpine": {"go": "go", "rust": "rust cargo rust-wasm lld", "c": "clang lld wasi-libc", "assemblyscript": "nodejs npm"},
	"arch":   {"go": "go", "rust": "rust rust-wasm lld", "c": "clang lld wasi-libc", "assemblyscript": "nodejs npm"},
	"darwin": {"go": "go", "c": "llvm lld", "assemblyscript": "node"},
}

// installers are each system's tool.
var installers = map[string]string{"debian": "apt-get install", "fedora": "dnf install", "alpine": "apk add", "arch": "pacman -S", "darwin": "brew install"}

// elsewhere is what to do where the system has no package, or an old one.
var elsewhere = map[string]string{
	"go":             "install Go 1.24 or later from https://go.dev/dl",
	"rust":           "install Rust from https://rustup.rs, then type: rustup target add wasm32-wasip1",
	"c":              "install clang and lld of LLVM 14 or later, or a WASI SDK named by WASI_SDK_PATH",
	"assemblyscript": "install Node.js 20 or later with npm from https://nodejs.org",
}

// missing says what there is not and how this system gets it.
func missing(what, language string) error {
	system := systemName()
	names := packages[system][language]
	if names == "" {
		return &ErrMissing{what, elsewhere[language]}
	}
	remedy := fmt.Sprintf("type: %s %s", installers[system], names)
	if language == "rust" {
		remedy += "; or with rustup: rustup target add wasm32-wasip1"
	}
	if language == "assemblyscript" {
		remedy = fmt.Sprintf("install Node.js 20 or later: %s %s, or, where that is older, from https://nodejs.org", installers[system], names)
	}
	return &ErrMissing{what, remedy}
}

// systemName returns the family of the system that runnel runs on; empty: unknown.
func systemName() string {
	if runtime.GOOS != "linux" {
		return runtime.GOOS
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(release)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key != "ID" && key != "ID_LIKE" {
			continue
		}
		for _, id := range strings.Fields(strings.Trim(value, `"`)) {
			switch id {
			case "ubuntu", "debian":
				return "debian"
			case "rhel", "centos", "fedora":
				return "fedora"
			case "alpine", "arch":
				return id
			}
		}
	}
	return ""
}
