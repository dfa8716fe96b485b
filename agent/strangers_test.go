package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
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
	_ = b.SetDeadline(time.Now().Add(3 * patience)) // the test's own bound: these are many
	for i, name := range names[2:] {
		if i < mostRelayed-1 {
			if _, err := b.Write(b.frame(name, "x")); err != nil {
				t.Fatal(err)
			}
		} else if err := b.send(name, "x"); err != nil { // which waits for all of them
			t.Fatal(err)
		}
	}
	for _, name := range []string{"one-more", "s7", "named", "one-more"} {
		if err := b.send(name, "y"); err != nil {
			t.Errorf("stream %q: %v", name, err)
		}
	}
	if n := len(a.store.Streams()); n != mostRelayed+2 {
		t.Errorf("there are %d streams, want %d", n, mostRelayed+2)
	}
	if got := texts(t, a.store, "default"); !slices.Equal(got, []string{"y", "y"}) || a.metric("runnel_input_crowded_records_total") != 2 {
		t.Errorf("of the one that is too many, default has %q, and %d are counted", got, a.metric("runnel_input_crowded_records_total"))
	}
	messages(t, a.store, "default", func(_ uint64, v record.View) {
		if got := v.Origin(); string(got.Stream) != "one-more" {
			t.Errorf("it is from %q", got.Stream)
		}
	})
	if got := a.logs.String(); strings.Count(got, "more streams than there can be") == 0 {
		t.Error("nothing is said of it")
	}
}

// Where the pipeline has one stream for all, their names make none, and are no trouble.
func TestOneStreamForAllIsNeverCrowded(t *testing.T) {
	a := startAgent(t, shortDir(t), "inputs: {chain: {type: relay, listen: ['tcp://127.0.0.1:0']}}\npipelines: {p: {from: [chain], stream: all}}\n", nil)
	var names []string
	for i := range mostRelayed + 5 {
		names = append(names, fmt.Sprintf("s%d", i))
	}
	b := a.mustRelay(t, "chain", hostBelow, names...)
	_ = b.SetDeadline(time.Now().Add(3 * patience)) // the test's own bound
	for _, name := range names[1:] {
		if _, err := b.Write(b.frame(name, "x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.send(names[0], "x"); err != nil {
		t.Fatal(err)
	}
	a.stored(t, "all", len(names))
	if n := len(a.store.Streams()); n != 1 || a.metric("runnel_input_crowded_records_total") != 0 {
		t.Errorf("there are %d streams, and %d records too many", n, a.metric("runnel_input_crowded_records_total"))
	}
}
