package query

import (
	"testing"
	"time"
)

// FuzzInstant: what is taken for a time is one that nanoseconds can say, and a
// span from now lies on the side of now that its sign says.
func FuzzInstant(f *testing.F) {
	for _, s := range []string{"now", "-15m", "+5m", " 5m", "-7d", "1700000000.25", "2026-11-22T10:07:05+02:00", "-1e9h", "99999999999999999999", "-2562047h", "0001-01-01T00:00:00Z"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		ns, err := instant(text, now)
		if err != nil {
			return
		}
		if text[0] == '-' && ns > now.UnixNano() || text[0] == '+' && ns < now.UnixNano() {
			t.Errorf("%q is %s", text, time.Unix(0, ns))
		}
		if again, err := instant(time.Unix(0, ns).UTC().Format(time.RFC3339Nano), now); err != nil || again != ns {
			t.Errorf("%q is %d, written out %d, %v", text, ns, again, err)
		}
	})
}
