//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/agent/query"
)

// told is the last error of an agent's only forwarder.
func (a *agent) told(t *testing.T) string {
	t.Helper()
	answer, err := a.client.Get("http://agent/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var s query.Status
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s.Forwarders[0].LastError
}

// TestAFullDiskAboveIsToldBelow fills the disk of the upper of two agents: the lower one says that
// nothing is taken there and why, not that the other hangs. Once there is room all is there, once.
func TestAFullDiskAboveIsToldBelow(t *testing.T) {
	disk := mounted(t, "-t", "tmpfs", "-o", "size=96m", "runnel-test")
	dir, err := os.MkdirTemp("", "chain-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	above := startAgentIn(t, disk, `
inputs: {chain: {type: relay, listen: ['unix://$DIR/relay.sock']}}
streams: {app: {on_full: push_back}}
forwarders: {out: {type: relay, from: [app], to: ['unix://$DIR/nobody.sock']}} # which keeps what there is from giving way
agent: {name: central, data_dir: $DIR/data, max_size: 64MiB}
`)
	below := startAgentIn(t, dir, fmt.Sprintf(`
inputs: {in: {type: syslog, listen: ['unix://$DIR/in.sock']}}
pipelines: {main: {from: [in], stream: app}}
forwarders: {up: {type: relay, from: [app], to: ['unix://%s/relay.sock']}}
agent: {name: host, data_dir: $DIR/data}
`, disk))
	in, err := net.Dial("unix", filepath.Join(dir, "in.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	sent := 0
	say := func() {
		t.Helper()
		for range 100 {
			sent++
			if _, err := fmt.Fprintf(in, "<14>1 - vm app - - - %d\n", sent); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		say()
		eventually(t, "all to arrive", func() bool { return len(above.query(t, "stream=app")) == sent })
		f := newFiller(t, disk)
		eventually(t, "the one below to say why nothing is taken", func() bool {
			f.fill()
			say()
			said := below.told(t)
			return strings.Contains(said, "nothing is taken: the disk takes nothing: no space left on device") || strings.Contains(said, "nothing is taken: store is full")
		})
		f.empty(t)
	}
	eventually(t, "all to arrive", func() bool { return len(above.query(t, "stream=app")) >= sent })
	for i, r := range above.query(t, "stream=app") {
		if r.Message != fmt.Sprint(i+1) {
			t.Fatalf("record %d is %q", i+1, r.Message)
		}
	}
	if said := below.output.String(); strings.Contains(said, "acknowledges nothing") {
		t.Errorf("the one above was taken to hang:\n%s", said)
	}
}
