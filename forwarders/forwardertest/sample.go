package forwardertest

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/record"
)

// Decode reads a forwarder's section of the config, without the keys that are
// the agent's (type, from, where, start), and returns what is wrong with it.
func Decode(t testing.TB, kind forwarders.Kind, text string) (config.Options, config.Problems) {
	t.Helper()
	n, ps := config.ParseIn("runnel.yaml", t.TempDir(), []byte(text))
	o := kind.Options()
	if len(ps) == 0 {
		config.Decode(n, o, &ps)
	}
	return o, ps
}

// Sample checks that the kind's sample.yaml decodes, names its kind, and shows
// every key. Keys whose value in the sample is not the default are named in except.
func Sample(t *testing.T, kind forwarders.Kind, replace *strings.Replacer, except ...string) {
	t.Helper()
	head := "type: " + kind.Name + "\n"
	before, after, found := strings.Cut(kind.Sample, head)
	if !found {
		t.Fatalf("sample.yaml has no line %q", head)
	}
	got, ps := Decode(t, kind, replace.Replace(before+after))
	if len(ps) > 0 {
		t.Fatalf("sample.yaml is not right:\n%v", ps)
	}
	compare(t, "", reflect.ValueOf(got).Elem(), reflect.ValueOf(kind.Options()).Elem(), kind.Sample, except)
}

func compare(t *testing.T, prefix string, got, want reflect.Value, sample string, except []string) {
	t.Helper()
	for i := range got.NumField() {
		key := got.Type().Field(i).Tag.Get("yaml")
		if !strings.Contains(sample, key+":") {
			t.Errorf("sample.yaml does not show %s%s", prefix, key)
		}
		a, b := got.Field(i), want.Field(i)
		switch {
		case a.Kind() == reflect.Struct:
			compare(t, prefix+key+".", a, b, sample, except)
		case strings.Contains(" "+strings.Join(except, " ")+" ", " "+prefix+key+" "):
		case a.Kind() == reflect.Map && a.Len() == 0 && b.Len() == 0:
		case !reflect.DeepEqual(a.Interface(), b.Interface()):
			t.Errorf("sample.yaml says %s%s: %v, the default is %v", prefix, key, a, b)
		}
	}
}

// ConfigErrors decodes sections of the config, each with one mistake, and wants
// each to be reported once, at its key and with words that fit a pattern.
func ConfigErrors(t *testing.T, kind forwarders.Kind, cases map[string]string) {
	t.Helper()
	for text, want := range cases {
		_, ps := Decode(t, kind, text)
		key, words, _ := strings.Cut(want, ": ")
		if len(ps) != 1 || ps[0].Path != key || !strings.Contains(ps[0].Text, words) {
			t.Errorf("%q:\ngot  %v\nwant %s", text, ps, want)
		}
	}
}

var update = flag.Bool("update", false, "write what was got into the golden files")

// Golden compares got with the file testdata/name; with -update it writes it.
func Golden(t testing.TB, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s:\ngot  %q\nwant %q", name, got, want)
	}
}

// Samples is a batch of records of every shape that an encoder meets, for
// golden tests: ordinary, with everything set, with nothing set, of several
// lines, and of bytes that nothing could parse.
func Samples(t testing.TB) *forwarders.Batch {
	t.Helper()
	full := Record(2, "with everything")
	full.MsgID = []byte("ID47")
	full.SD = []byte(`[origin@123 ip="10.0.0.1" note="a \"b\" \] c"]`)
	full.Flags = record.Truncated | record.HostFilled
	full.Agent = []byte("edge-3")
	full.Attrs.SetInt("status", 200)
	full.Attrs.SetString("user", "Zoë \"Z\"")
	bare := new(record.Record)
	bare.Reset()
	bare.Received = full.Received
	bare.Message = []byte(mark(3))
	lines := Record(4, "first\n\tsecond\r\nthird\n")
	broken := new(record.Record)
	broken.Reset()
	broken.Received = full.Received
	broken.Flags = record.Malformed
	broken.Message = []byte(mark(5) + "<999>\x00\x1b[31m\xff\xfe \u2028")
	b := &forwarders.Batch{Stream: "app", Records: new(record.Batch), Key: AgentID + "/3/app/1-5", Offsets: []uint64{1, 2, 3, 4, 5}}
	for _, r := range []*record.Record{Record(1, "GET /healthz 200"), full, bare, lines, broken} {
		if err := b.Records.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	return b
}
