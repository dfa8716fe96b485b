package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// Agents below can make so many streams here and no more, whatever they send; those that
// are there already, and those that the configuration names, go on.
func TestStreamsFromBelowAreBounded(t *testing.T) {
	a := startAgent(t, shortDir(t), "inputs: {chain: {type: relay, listen: ['tcp://127.0.0.1:0']}}\nstreams: {named: {max_age: 24h}}\n", nil)
	names := []string{"one-more", "named"}
	for i := range mostRelayed {
		names = append(names, fmt.Sprintf("s%d", i))
	}
	b := a.mustRelay(t, "chain", hostBelow, names...)
	for i, name := range names[2:] {
		if i < mostRelayed-1 {
			if _, err := b.Write(b.frame(name, "x")); err != nil {
				t.Fatal(err)
			}
		} else if err := b.send(name, "x"); err != nil { // which waits for all of them
			t.Fatal(err)
		}
	}
	var refused *relaywire.Nack
	if err := b.send("one-more", "x"); !errors.As(err, &refused) || refused.Code != relaywire.CodeFull || !strings.Contains(refused.Text, "name it under streams") {
		t.Errorf("one stream more: %v", err)
	}
	b = a.mustRelay(t, "chain", hostBelow, "s7", "named")
	for _, name := range []string{"s7", "named"} {
		if err := b.send(name, "y"); err != nil {
			t.Errorf("stream %q: %v", name, err)
		}
	}
	if n := len(a.store.Streams()); n != mostRelayed+1 {
		t.Errorf("there are %d streams, want %d", n, mostRelayed+1)
	}
}
