//go:build integration

package chain

import (
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/testkit/oracle"
)

// TestClonesSpeakForThemselves: a host is copied with its disk, and both run at once, as
// two machines made of one image do. What either has is at the last tier once.
func TestClonesSpeakForThemselves(t *testing.T) {
	t.Parallel()
	by := newSeed()
	t.Logf("seed %d", by)
	c := newChain(t, Options{Seed: by})
	trial := Trial{Chain: c, Rate: chainRate, Senders: 2, Within: 90 * time.Second}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, each := range c.Tiers() {
		must(each.Start())
	}
	must(trial.ready(t.Context()))
	sent, err := oracle.NewSent("")
	must(err)
	load := oracle.Load{To: func() string { return c.Keyed }, Senders: 2, Rate: chainRate, Count: uint64(cloneRecords), Keys: true}
	must(oracle.Send(t.Context(), load, sent, nil))
	c.Host.Kill()
	clone, err := c.Clone()
	must(err)
	must(c.Host.Start())
	must(clone.Start())
	t.Cleanup(clone.Kill)
	must(trial.ready(t.Context()))
	must(clone.Ready(t.Context()))
	done := make(chan error, 2) // one value of each
	for first, to := range map[int]string{10: c.Keyed, 20: strings.Replace(c.Keyed, "/host/", "/clone/", 1)} {
		load := load
		load.First, load.To = first, func() string { return to }
		go func() { done <- oracle.Send(t.Context(), load, sent, nil) }()
	}
	must(<-done)
	must(<-done)
	c.Calm()
	o := &Outcome{}
	trial.rest(t.Context(), o, append([]*Tier{clone}, c.Passing()...)...)
	for _, each := range append(c.Tiers(), clone) {
		var l ledger
		must(each.Ask("/api/v1/audit", &l))
		l.judge(o, each.Name)
		must(each.Stop())
	}
	want, err := Read(t.Context(), c.Host)
	must(err)
	other, err := Read(t.Context(), clone)
	must(err)
	want.Join(other)
	for _, each := range append(c.Clusters, c.Central) {
		got, err := Read(t.Context(), each)
		must(err)
		d := got.Compare(want)
		if d.Lost+d.Twice+d.Strange+d.Altered > 0 { // whose comes first is not said
			t.Errorf("%+v\n%s", d, d.Text)
		}
	}
	if all := 6 * cloneRecords; want.Len() != all {
		t.Errorf("the two have %d records, want %d", want.Len(), all)
	}
	for _, w := range o.Wrong {
		t.Error(w)
	}
}
