package wasm

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// TestMalformedModules: what is no module, or almost one, is refused with a reason,
// and soon.
func TestMalformedModules(t *testing.T) {
	tr := newTrial(t, hostile{time: 30 * time.Millisecond, state: 1 << 20}, Auto)
	defer tr.close(t, nil)
	f := func(name string, code []byte, want string) {
		t.Helper()
		o := tr.options(t)
		o.File, o.Code = "", code
		before := process()
		m, err := tr.rt.Load(t.Context(), o)
		if spent := process() - before; spent > tr.allowance(time.Second/2) {
			t.Errorf("%s: took %v of CPU time", name, spent)
		}
		if m != nil {
			_ = m.Close(t.Context())
		}
		if err == nil != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	good := hostileCode(t, "state-churn")
	section := func(id byte, body ...byte) []byte { return appendSection(nil, id, body) }
	with := func(more ...byte) []byte { return append(slices.Clone(good), more...) }
	manifest := func(text string) []byte {
		return section(secCustom, append(appendName(nil, manifestSection), text...)...)
	}
	own := manifest(`{"name":"hostile","abi":1,"needs":["state"]}`)
	f("whole", good, "")
	f("with a manifest", with(own...), "")
	f("two manifests", with(append(slices.Clone(own), own...)...), "has 2 manifests")
	f("a manifest that is no JSON", with(manifest("name: hostile")...), "manifest that cannot be read")
	f("a manifest that is not UTF-8", with(manifest("{\"name\":\"\xff\"}")...), "not UTF-8")
	f("a manifest nested deep", with(manifest(`{"config":`+strings.Repeat(`{"a":`, 12_000))...), "manifest that cannot be read")
	f("a manifest that hides a need", with(manifest(`{"name":"hostile","abi":1}`)...), "its manifest does not list")
	f("a manifest of 64 KiB and a byte", with(manifest(`{"name":"`+strings.Repeat("n", 64<<10))...), "more than the limit of 65536")
	f("a custom section of nearly 8 MiB", with(section(secCustom, append(appendName(nil, "x"), make([]byte, maxFile-len(good)-16)...)...)...), "")
	f("a custom section of 8 MiB", with(section(secCustom, make([]byte, maxFile)...)...), "more than the limit of 8388608")
	f("a million custom sections", with(bytes.Repeat(section(secCustom, 0), 1_000_000)...), "more than 1000 custom sections")
	f("a custom section with a name beyond it", with(section(secCustom, 255, 255, 255, 255, 15)...), "")
	f("two code sections", with(section(secCode, 0)...), "out of order")
	f("an unknown section", with(section(77)...), "unknown kind 77")
	f("a section of 4 GiB", with(secCustom, 255, 255, 255, 255, 15), "cut off")
	f("a length of six bytes", with(secCustom, 128, 128, 128, 128, 128, 0), "cut off")
	for id := range byte(len(sectionNames)) {
		want := "is malformed: the " + sectionName(id) + " section ends in the middle of a value"
		switch id {
		case secCustom, secDataCount: // nothing that is asked for
			continue
		case secStart:
			want = "start section"
		case secCode:
			want = "is not a runnel module"
		}
		f("a huge count in the "+sectionName(id), slices.Concat(good[:8], section(id, 255, 255, 255, 255, 15)), want)
	}
	f("exports named by bytes that are no text", assembly{also: map[string]uint32{"\xff\xfe": 0}}.bytes(), "not valid UTF-8")
}

// TestDamagedModules: a module that was cut off or changed at any byte is refused,
// or is another module, and as bounded.
func TestDamagedModules(t *testing.T) {
	plain, _ := realRecords(t, 8)
	in := batchesOf(t, plain, 8)[0]
	code, loaded := hostileCode(t, "state-churn"), 0
	tr := newTrial(t, hostile{time: time.Millisecond, state: 1 << 20}, Interpreter) // which takes less to begin
	defer tr.close(t, nil)
	for at := range code {
		changed := slices.Clone(code)
		changed[at] ^= byte(1 + at%255)
		for _, one := range [][]byte{code[:at], changed} {
			if bounded(t, tr, one, in) {
				loaded++
			}
		}
	}
	if loaded == 0 || loaded > len(code) {
		t.Errorf("%d of %d were modules", loaded, 2*len(code))
	}
}

// bounded loads a module, if it is one, and runs it for a moment: the host must
// not fail, nor lose a record. It reports whether it was loaded.
func bounded(tb testing.TB, tr *trial, code []byte, in *record.Batch) bool {
	tb.Helper()
	o := tr.options(tb)
	o.File, o.Code = "", code
	m, err := tr.rt.Load(tb.Context(), o)
	if err != nil {
		return false
	}
	tr.tick, tr.flush = anyError, anyError
	tr.run(tb, m, []*record.Batch{in, in}, func(*record.Batch, *Outcome) {})
	if err := m.Close(tb.Context()); err != nil {
		tb.Error(err)
	}
	return true
}

func hostileCode(tb testing.TB, name string) []byte {
	tb.Helper()
	code, err := os.ReadFile("testdata/hostile/" + name + ".wasm")
	if err != nil {
		tb.Fatal(err)
	}
	return code
}
