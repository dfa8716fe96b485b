package chain

import "testing"

// TestCompareFindsWhatWasDone holds a copy with each kind of damage against what it
// should be.
func TestCompareFindsWhatWasDone(t *testing.T) {
	make10 := func() (all []entry) {
		for i := range uint64(10) {
			all = append(all, entry{place{1, 7, i + 1}, 100 + i})
		}
		return all
	}
	f := func(want Difference, damage func([]entry) []entry) {
		t.Helper()
		first := &Copy{"host", map[string][]entry{"app": make10()}}
		c := &Copy{"central", map[string][]entry{"app": damage(make10())}}
		got := c.Compare(first)
		if (got.Text == "") != (want == Difference{}) {
			t.Errorf("it says %q", got.Text)
		}
		got.Text = ""
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	f(Difference{}, func(all []entry) []entry { return all })
	f(Difference{Lost: 2}, func(all []entry) []entry { return append(all[:3], all[5:]...) })
	f(Difference{Lost: 10}, func([]entry) []entry { return nil })
	f(Difference{Twice: 1}, func(all []entry) []entry { return append(all, all[2]) })
	f(Difference{Strange: 1}, func(all []entry) []entry { return append(all, entry{place{1, 8, 3}, 102}) })
	f(Difference{Altered: 1}, func(all []entry) []entry { all[4].text = 5; return all })
	f(Difference{Disordered: 1}, func(all []entry) []entry { all[4], all[5] = all[5], all[4]; return all })
	other := &Copy{"central", map[string][]entry{"app": make10(), "more": make10()[:1]}}
	if d := other.Compare(&Copy{"host", map[string][]entry{"app": make10()}}); d.Strange != 1 {
		t.Errorf("a stream that should not be there: %+v", d)
	}
}
