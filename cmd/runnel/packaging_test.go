package main

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/agent"
)

// TestPackagedConfigurationNamesThePackagedSockets: runnel.yaml beside the units is right, and
// has an input for every socket of runnel.socket, whose senders would otherwise wait for ever.
func TestPackagedConfigurationNamesThePackagedSockets(t *testing.T) {
	const folder = "../../packaging/systemd/"
	text, err := os.ReadFile(folder + "runnel.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.ParseConfig("runnel.yaml", text, t.TempDir(), kinds()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		if url, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
			got = append(got, url)
		}
	}
	unit, err := os.Open(folder + "runnel.socket")
	if err != nil {
		t.Fatal(err)
	}
	defer unit.Close()
	var want []string
	for lines := bufio.NewScanner(unit); lines.Scan(); {
		kind, at, _ := strings.Cut(lines.Text(), "=")
		scheme := map[string][2]string{"ListenStream": {"tcp", "unix"}, "ListenDatagram": {"udp", "unixgram"}}[kind]
		switch {
		case scheme[0] == "":
		case strings.HasPrefix(at, "/"):
			want = append(want, scheme[1]+"://"+at)
		default:
			want = append(want, scheme[0]+"://:"+at)
		}
	}
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) || len(got) == 0 {
		t.Errorf("the configuration listens at %q, the sockets are %q", got, want)
	}
}
