package agent

import "testing"

func TestEdgesAreKeptUntilTheyArePassed(t *testing.T) {
	e := make(edges)
	f := func(at, end uint64, want bool) {
		t.Helper()
		if got, ok := e.after("app", at); got != end || ok != want {
			t.Errorf("a batch from %d ends before %d, %v; want %d, %v", at, got, ok, end, want)
		}
	}
	f(1, 0, false)
	e.handed("app", 11)
	e.handed("app", 31)
	e.handed("app", 21)
	e.handed("app", 21)
	f(1, 11, true)
	f(11, 21, true)
	f(12, 21, true)
	e.passed("app", 15)
	f(1, 21, true)
	e.passed("app", 31)
	f(1, 0, false)
	if len(e) != 0 {
		t.Errorf("%v is left", e)
	}
}
