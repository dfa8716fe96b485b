package agent

import (
	"strings"
	"testing"
)

// What retention took below before it was delivered is stated above, once: whether the
// forwarder has seen it go while its receiver was away or not, whatever sessions
// fail in between, and not again where sessions begin anew.
func TestWhatRetentionTookBelowIsStatedAboveOnce(t *testing.T) {
	f := func(name string, during int, where string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			below, above, config := tiersOf(t, where)
			kept := config[0]
			feed(t, below, 1, 501)
			delivered(t, below, 501)
			above.stop(t)
			feed(t, below, 501, 1201)
			if err := below.reload(kept + "streams: {app: {max_age: 1s}}\n"); err != nil {
				t.Fatal(err)
			}
			waitUntil(t, "retention to take all", func() bool { at, _ := below.store.Cursor("up", "app"); return at == 1201 })
			if err := below.reload(kept); err != nil {
				t.Fatal(err)
			}
			if n := 1201 + during; during > 0 {
				failed := func() int { return strings.Count(below.logs.String(), "delivery failed") }
				before := failed()
				feed(t, below, 1201, n)
				waitUntil(t, "a session to fail", func() bool { return failed() > before })
			}
			above = startAgent(t, above.dir, config[1], nil)
			feed(t, below, 1201+during, 1301)
			above.stored(t, "app", 600)
			delivered(t, below, 1301)
			const gone = `runnel_input_gone_records_total{input="chain",reason="retention"}`
			if n := above.metric(gone); n != 700 {
				t.Errorf("%d records are said to be gone, want 700", n)
			}
			if !strings.Contains(above.logs.String(), "an agent below has no more what it should have sent") {
				t.Error("the log does not say so")
			}
			above.stop(t)
			above = startAgent(t, above.dir, config[1], nil)
			feed(t, below, 1301, 1401)
			above.stored(t, "app", 700)
			if n := above.metric(gone); n != 0 {
				t.Errorf("%d records are said to be gone once more", n)
			}
		})
	}
	f("nothing came", 0, "")
	f("sessions failed", 50, "")
	f("filtered", 50, ", where: 'int(message) > 0'")
}
