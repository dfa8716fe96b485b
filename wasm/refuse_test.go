package wasm

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
)

// refusal loads a module that must be refused and returns why.
func refusal(t *testing.T, o Options) string {
	t.Helper()
	rt, err := NewRuntime(t.Context(), RuntimeOptions{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	o.Name = "test"
	m, err := rt.Load(t.Context(), o)
	if err == nil {
		m.Close(t.Context())
		t.Fatal("the module was not refused")
	}
	if err := rt.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return err.Error()
}

// TestRefusedModules: each module that cannot be used is refused with what is
// wrong and what to do.
func TestRefusedModules(t *testing.T) {
	good := assembly{}.bytes()
	f := func(code []byte, want string) {
		t.Helper()
		if got := refusal(t, Options{Code: code, Memory: 4 << 20}); got != "built-in module"+want {
			t.Errorf("\ngot  %s\nwant built-in module%s", got, want)
		}
	}
	load(t, Options{Code: good}) // the one the others differ from is sound

	f([]byte{}, " is empty; build the module again")
	f([]byte("#!/bin/sh\nexec true\n"), ` is not WebAssembly: it begins with "#!/bin/sh\nexec t", not with "\x00asm"; name the file the compiler made`)
	f([]byte("\x7fELF\x02\x01\x01"), ` is not WebAssembly: it begins with "\x7fELF\x02\x01\x01", not with "\x00asm"; name the file the compiler made`)
	f([]byte("\x00as"), ` is not WebAssembly: it begins with "\x00as", not with "\x00asm"; name the file the compiler made`)
	f(good[:6], " is truncated: it ends within the header, after 6 bytes; build or copy it again")
	f(good[:len(good)-3], " is truncated: the code section at byte 123 is cut off by the end of the file at byte 144; build or copy it again")
	f([]byte("\x00asm\x0d\x00\x01\x00"), " is a WebAssembly component; build it as a core module (wasm32-wasip1, not wasip2)")
	f([]byte("\x00asm\x02\x00\x00\x00"), " has WebAssembly version 02 00 00 00; this host reads version 1")
	f(append(bytes.Clone(good), 77, 0), " has a section of unknown kind 77 at byte 147; build it without exceptions, threads and other proposals")
	f(append(bytes.Clone(good), 1, 1, 0), " is malformed: the type section at byte 147 is out of order")
	f(make([]byte, maxFile+1), " is 8388609 bytes, more than the limit of 8388608; strip it (go build -ldflags='-s -w', wasm-strip)")

	f([]byte("\x00asm\x01\x00\x00\x00"), " is not a runnel module: it exports nothing but not runnel_abi_v1; build it with a guest SDK (guest-sdk/ABI.md §2)")
	f(assembly{without: "runnel_abi_v1"}.bytes(), ` is not a runnel module: it exports "memory", "runnel_alloc", "runnel_init", "runnel_process" but not runnel_abi_v1; build it with a guest SDK (guest-sdk/ABI.md §2)`)
	f(assembly{rename: map[string]string{"runnel_abi_v1": "_start"}}.bytes(), ` is a program, not a reactor: it exports "memory", "_start", "runnel_alloc", "runnel_init", "runnel_process" but not runnel_abi_v1; build it with -buildmode=c-shared (Go), --no-entry (clang) or crate-type cdylib (Rust), with the SDK`)
	f(assembly{rename: map[string]string{"runnel_abi_v1": "runnel_abi_v2"}}.bytes(), " speaks runnel_abi_v2; this host speaks runnel_abi_v1; build it with the SDK of this version")
	f(assembly{without: "runnel_process"}.bytes(), ` speaks runnel_abi_v1 but does not export runnel_process; it exports "memory", "runnel_abi_v1", "runnel_alloc", "runnel_init" (ABI §2.1)`)
	f(assembly{without: "memory"}.bytes(), ` does not export its memory as "memory" (ABI §2.1)`)
	f(assembly{rename: map[string]string{"runnel_process": "other"}, also: map[string]uint32{"runnel_process": 2}}.bytes(), " exports runnel_process, but not as a function (i32, i32) → i64 (ABI §2.1)")
	f(assembly{also: map[string]uint32{"_start": 1}}.bytes(), " is a program, not a reactor: it exports _start; build it with -buildmode=c-shared (Go), --no-entry (clang) or crate-type cdylib (Rust)")
	f(assembly{also: map[string]uint32{"_initialize": 1}}.bytes(), " exports _initialize, but not as a function () → () (ABI §2.1)")

	f(assembly{imports: [][2]string{{"env", "puts"}}}.bytes(), ` imports env.puts: a function was declared but not linked; a guest may import from "runnel" and "wasi_snapshot_preview1" only`)
	f(assembly{imports: [][2]string{{"gojs", "runtime.wasmExit"}}}.bytes(), ` imports "gojs"."runtime.wasmExit": it was built for a browser; build it with GOOS=wasip1`)
	f(assembly{imports: [][2]string{{"wasi_unstable", "fd_write"}}}.bytes(), ` imports "wasi_unstable"."fd_write"; a guest may import from "runnel" and "wasi_snapshot_preview1" only`)
	f(assembly{imports: [][2]string{{"wasi_snapshot_preview1", "thread_spawn"}}}.bytes(), " imports wasi_snapshot_preview1.thread_spawn, which WASI preview 1 does not have")
	f(assembly{imports: [][2]string{{"runnel", "state_get"}}}.bytes(), " imports runnel.state_get, which needs state; write grant: [state] in the module's config if it may keep state")
	f(assembly{imports: [][2]string{{"runnel", "exec"}}}.bytes(), " imports runnel.exec, which ABI v1 does not have")
	f(assembly{imports: [][2]string{{"runnel", "fuel"}}}.bytes(), " imports runnel.fuel, which ABI v1 does not have")
	f(assembly{imports: [][2]string{{"runnel", "now"}}}.bytes(), `: instantiate: import func[runnel.now]: signature mismatch: i32i32i32_v != v_i64`)

	f(assembly{memory: []byte{0, 65}}.bytes(), " needs 4160 KiB of memory to begin with, more than its limit of 4 MiB; raise memory in its config")
	f(assembly{memory: []byte{1, 16, 128, 1}}.bytes(), " declares up to 8 MiB of memory, more than its limit of 4 MiB; raise memory in its config or link it with a lower maximum")
	f(assembly{memory: []byte{3, 16, 16}}.bytes(), " has a shared or 64-bit memory; build it without threads, for wasm32")
	f(assembly{table: []byte{0, 0x91, 0x4e}}.bytes(), " has a table of 10001 elements, more than the limit of 10000")
	f(assembly{start: true}.bytes(), " has a start section, which would run before it can be bounded; build it as a reactor (-buildmode=c-shared, --no-entry)")

	f(assembly{process: []byte{0xfd, 12}}.bytes(), " uses the instruction 0xfd (SIMD), which this host cannot bound; build without it (see ABI §2.4)")
	f(assembly{process: []byte{0xfe, 3, 0}}.bytes(), " uses the instruction 0xfe (atomics), which this host cannot bound; build without it (see ABI §2.4)")
	f(assembly{process: []byte{0x12, 0}}.bytes(), " uses the instruction 0x12 (tail call), which this host cannot bound; build without it (see ABI §2.4)")
	f(assembly{process: []byte{0x06, 0x40}}.bytes(), " uses the instruction 0x06 (exceptions), which this host cannot bound; build without it (see ABI §2.4)")
	f(assembly{process: []byte{opPrefix, bulkTableGrow, 0}}.bytes(), " uses the instruction table.grow (0xfc 0x0f), which this host cannot bound; build without it (see ABI §2.4)")
	f(assembly{process: join(i32(0x7fffffff), []byte{opGlobalSet, 0})}.bytes(), " is malformed: it uses global 0 of 0")
	f(assembly{process: call1(4)}.bytes(), " is malformed: it calls function 4 of 4")
	f(assembly{process: []byte{opI32Const, 0}}.bytes(), ": compile: invalid function[3] export[\"runnel_process\"]: cannot use i32 as result[0] type i64")
	f(assembly{process: []byte{opLoop, voidBlock}}.bytes(), " is malformed: function 3 ends in the middle of a value")

	f(assembly{init: i32(7)}.bytes(), ": refused its config without saying why (runnel_init returned 7)")
	f(assembly{init: []byte{0}}.bytes(), ": runnel_init: guest trapped: unreachable")
	f(assembly{alloc: []byte{0}}.bytes(), ": runnel_alloc: guest trapped: unreachable")
	f(assembly{alloc: i32(-1)}.bytes(), ": runnel_alloc gave address 4294967295, beyond the guest's memory of 2097152 bytes")
	f(assembly{extra: []function{{typeVoid, []byte{0}}}, also: map[string]uint32{"_initialize": 4}}.bytes(), ": _initialize: guest trapped: unreachable")

	// A second's worth of fuel, or a second of CPU time: the machine decides which is used up first.
	endless := assembly{init: []byte{opLoop, voidBlock, opBr, 0, opEnd, opI32Const, 0}}.bytes()
	got := refusal(t, Options{Code: endless, Memory: 4 << 20})
	if late := "built-in module: runnel_init: not done after 1s "; got != late+"worth of fuel" && got != late+"of CPU time" {
		t.Errorf("\ngot  %s\nwant %sworth of fuel, or of CPU time", got, late)
	}
}

func TestRefusedFiles(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "none.wasm")
	if got, want := refusal(t, Options{File: missing}), missing+" does not exist; build it, or name the file the compiler made"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
	if got, want := refusal(t, Options{}), "no module file is named; write file: PATH"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
	if got := refusal(t, Options{File: dir}); !strings.HasPrefix(got, "read module: ") {
		t.Errorf("got %s", got)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := refusal(t, Options{File: pipe}), "read module: "+pipe+" is not a regular file"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
	if _, err := LoadTable(pipe, ""); err == nil || err.Error() != "read table: "+pipe+" is not a regular file" {
		t.Errorf("table: got %v", err)
	}
	big := filepath.Join(dir, "big.wasm")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := refusal(t, Options{File: big}), big+" is more than the limit of 8388608 bytes; strip it (go build -ldflags='-s -w', wasm-strip)"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

// TestRefusedConfig: a guest that does not like its config says why, and its
// words reach whoever wrote it.
func TestRefusedConfig(t *testing.T) {
	f := func(folder, config, want string) {
		t.Helper()
		file := guest(t, folder)
		if got := refusal(t, granted(t, Options{File: file, Config: []byte(config)})); got != file+": "+want {
			t.Errorf("%s:\ngot  %s\nwant %s", config, got, file+": "+want)
		}
	}
	f(classifyFolder, `{"drop_debgu":true}`, `refused its config: unknown key "drop_debgu"; known are: drop_debug, redact, errors_stream (runnel_init returned 1)`)
	f(classifyFolder, `{"drop_debug":"yes"}`, `refused its config: drop_debug is "yes", not true or false (runnel_init returned 1)`)
	f(classifyFolder, `[1]`, `refused its config: it is not a JSON object (runnel_init returned 1)`)
	f(conformanceFolder, `{"panic":true}`, `runnel_init: guest trapped: unreachable; it wrote "panic: asked to"`)
}

// FuzzRewrite: no bytes make the checks or the rewriter panic, and what they
// let through is for the engine's validator to judge.
func FuzzRewrite(f *testing.F) {
	f.Add(assembly{}.bytes())
	f.Add(assembly{process: forever(), extra: chain(3), table: []byte{0, 4}, elements: []byte{1, 0, opI32Const, 0, opEnd, 1, 4}}.bytes())
	f.Add(assembly{process: join(i32(0), i32(0), i32(1), []byte{opPrefix, bulkMemoryFill, 0, 0x42, 0})}.bytes())
	f.Fuzz(func(t *testing.T, code []byte) {
		list, err := sections(code)
		if err != nil {
			return
		}
		s := examine(code, list, &Options{Memory: DefaultMemory})
		if s.refused() != nil {
			return
		}
		once, err := rewrite(list, s)
		if err != nil {
			return
		}
		again, _ := rewrite(list, s)
		if !bytes.Equal(once, again) {
			t.Error("the same module was rewritten in two ways")
		}
		if _, err := sections(once); err != nil && len(once) <= maxFile {
			t.Errorf("what was rewritten is no module: %v", err)
		}
	})
}
