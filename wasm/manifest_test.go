package wasm

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestManifestIsReadAsItWasWritten(t *testing.T) {
	code := assembly{}.bytes()
	m := &Manifest{Name: "throttle", Version: "1.2", ABI: 1, Description: "a <b> & c", Needs: []string{"state"}, Config: json.RawMessage(`{"type":"object"}`)}
	once, err := m.Append(code)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadManifest(once)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("got %+v, %v want %+v", got, err, m)
	}
	if again, err := m.Append(once); err != nil || !bytes.Equal(again, once) {
		t.Errorf("appending it again gave other bytes: %v", err)
	}
	m.Needs = nil
	other, err := m.Append(once)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = ReadManifest(other); err != nil || len(got.Needs) != 0 {
		t.Errorf("got %+v, %v, want the later one", got, err)
	}
	if got, err = ReadManifest(code); got != nil || err != nil {
		t.Errorf("got %+v, %v of a module without", got, err)
	}
	load(t, Options{Code: once})
}

// withManifest is a module that carries a text as its manifest.
func withManifest(code []byte, texts ...string) []byte {
	for _, text := range texts {
		code = appendSection(bytes.Clone(code), secCustom, append(appendName(nil, manifestSection), text...))
	}
	return code
}

func TestRefusedManifests(t *testing.T) {
	f := func(want string, texts ...string) {
		t.Helper()
		if got := refusal(t, Options{Code: withManifest(assembly{}.bytes(), texts...)}); got != "built-in module"+want {
			t.Errorf("\ngot  %s\nwant built-in module%s", got, want)
		}
	}
	f(" has a manifest that cannot be read: unexpected end of JSON input; build it again with runnel module build", "")
	f(" has a manifest that cannot be read: cannot unmarshal array into Go value of type wasm.Manifest; build it again with runnel module build", "[]")
	f(" has a manifest that is not UTF-8; build it again with runnel module build", "{\"name\":\"\xff\"}")
	f(` has a manifest whose name "" is not 1 to 64 letters, digits, "-" and "_"; mend its module.yaml and build it again`, `{}`)
	f(` has a manifest whose abi is 2; this host speaks 1; mend its module.yaml and build it again`, `{"name":"x","abi":2}`)
	f(` has a manifest whose needs list "network"; known are state, metrics and lookup; mend its module.yaml and build it again`, `{"name":"x","abi":1,"needs":["network"]}`)
	f(` has a manifest whose config is not an object, which a JSON Schema of it would be; mend its module.yaml and build it again`, `{"name":"x","abi":1,"config":true}`)
	f(" has 2 manifests; build it again with runnel module build", `{"name":"x","abi":1}`, `{"name":"x","abi":1}`)
	f(" has a manifest of 65537 bytes, more than the limit of 65536; shorten its description or config schema", strings.Repeat("x", maxManifest+1))
}

func TestServicesAreGrantedByName(t *testing.T) {
	needs := func(need string) string { return `{"name":"x","abi":1,"needs":["` + need + `"]}` }
	f := func(service, manifest string, o Options, want string) {
		t.Helper()
		o.Code = callers()[service]
		if manifest != "" {
			o.Code = withManifest(o.Code, manifest)
		}
		if want == "" {
			load(t, o)
		} else if got := refusal(t, o); got != "built-in module "+want {
			t.Errorf("%s:\ngot  %s\nwant %s", service, got, want)
		}
	}
	f("scan", needs("state"), Options{}, "")
	f("metric_add", "", Options{}, "imports runnel.metric_add, which needs metrics; write grant: [metrics] in the module's config if it may count")
	f("metric_add", "", Options{Grant: Grants{Metrics: true}}, "")
	f("metric_add", needs("metrics"), Options{Grant: Grants{Metrics: true}}, "")
	f("metric_add", needs("state"), Options{Grant: Grants{Metrics: true}}, "imports runnel.metric_add, which needs metrics, but its manifest does not list that; write needs: [state, metrics] in its module.yaml and build it again")
	f("lookup", "", Options{}, "imports runnel.lookup, which needs lookup; write tables: {NAME: {file: FILE}} in the module's config, of the tables it may look into")
	f("lookup", "", Options{Tables: map[string]*Table{"hosts": nil}}, "")
	state := assembly{imports: [][2]string{{"runnel", "state_get"}}}.bytes()
	if got := refusal(t, Options{Code: state}); got != "built-in module imports runnel.state_get, which needs state; write grant: [state] in the module's config if it may keep state" {
		t.Error(got)
	}
}

// What several services want is said at once, in words that can be copied.
func TestAllGrantsAreNamedAtOnce(t *testing.T) {
	var imports [][2]string
	for _, name := range []string{"state_get", "metric_add", "state_set", "held", "lookup"} {
		imports = append(imports, [2]string{"runnel", name})
	}
	code := assembly{imports: imports}.bytes()
	f := func(code []byte, o Options, want ...Refusal) {
		t.Helper()
		if got := Refusals(code, o); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	tables := Refusal{"tables", "imports runnel.lookup, which needs lookup; write tables: {NAME: {file: FILE}} in the module's config, of the tables it may look into"}
	f(code, Options{}, Refusal{"grant", "imports runnel.state_get and runnel.metric_add, which need state and metrics; write grant: [state, metrics] in the module's config if it may keep state and count"}, tables)
	f(code, Options{Grant: Grants{Metrics: true}}, Refusal{"grant", "imports runnel.state_get, which needs state; write grant: [state, metrics] in the module's config if it may keep state"}, tables)
	all := Options{Grant: Grants{State: true, Metrics: true}, Tables: map[string]*Table{"hosts": nil}}
	f(code, all)
	f(withManifest(code, `{"name":"x","abi":1}`), all,
		Refusal{"", "imports runnel.state_get, runnel.metric_add and runnel.lookup, which need state, metrics and lookup, but its manifest does not list that; write needs: [state, metrics, lookup] in its module.yaml and build it again"})
	small := Refusals(code, Options{Memory: pageSize})
	if len(small) != 3 || small[0].Key != "memory" {
		t.Errorf("got %q", small)
	}
	if got := Refusals([]byte("#!/bin/sh"), all); len(got) != 1 || got[0].Key != "" {
		t.Errorf("got %q", got)
	}
}

// TestInspectTellsAll: every reason, and not the first alone.
func TestInspectTellsAll(t *testing.T) {
	bad := assembly{imports: [][2]string{{"env", "puts"}, {"runnel", "exec"}}, start: true, without: "runnel_alloc", memory: []byte{3, 1, 2},
		process: []byte{0xfd, 12}, extra: []function{{typeVoid, []byte{0xfe, 3, 0}}}}.bytes()
	d, err := Inspect(bad)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"imports env.puts", "imports runnel.exec", "start section", "does not export runnel_alloc", "shared or 64-bit memory", "0xfd (SIMD)", "0xfe (atomics)"} {
		if !strings.Contains(strings.Join(d.Refusals, "\n"), want) {
			t.Errorf("not told: %s in %q", want, d.Refusals)
		}
	}
	d, err = Inspect(assembly{process: []byte{opI32Const, 0}}.bytes())
	if err != nil || len(d.Refusals) != 1 || !strings.HasPrefix(d.Refusals[0], "does not validate: invalid function[3]") {
		t.Errorf("got %+v, %v", d, err)
	}
	good := withManifest(callers()["metric_add"], `{"name":"x","abi":1,"needs":["metrics"]}`)
	d, err = Inspect(good)
	if err != nil || len(d.Refusals) != 0 || d.Ordered || d.MemoryMin != 32*pageSize || d.MemoryMax != -1 || d.Functions != 4 || d.Manifest.Name != "x" ||
		!reflect.DeepEqual(d.Needs, []string{"metrics"}) || !reflect.DeepEqual(d.Imports, []Import{{"runnel", "metric_add", "metrics"}}) {
		t.Errorf("got %+v, %v", d, err)
	}
	if got := d.Against(Options{Memory: pageSize}); len(got) != 2 || !strings.Contains(got[0]+got[1], "raise memory") || !strings.Contains(got[0]+got[1], "grant: [metrics]") {
		t.Errorf("got %q", got)
	}
	if got := d.Against(Options{Grant: Grants{Metrics: true}}); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	d, err = Inspect(assembly{process: join([]byte{opLocalGet, 0, 0xc0, 0x1a}, i32(0), i32(0), i32(0), []byte{opPrefix, bulkMemoryFill, 0, 0x42, 0})}.bytes())
	if err != nil || !reflect.DeepEqual(d.Features, []string{"sign extension", "bulk memory"}) {
		t.Errorf("got %+v, %v", d, err)
	}
	if _, err := Inspect([]byte("#!/bin/sh")); err == nil {
		t.Error("a script is no module")
	}
}
