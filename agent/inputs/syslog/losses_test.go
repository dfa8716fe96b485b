package syslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// TestLinesOfWhatIsLostAddUp: the first at once, then one every ten seconds with the sum,
// and at the end what is left.
func TestLinesOfWhatIsLostAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		e := newEvents(zerolog.New(&out))
		f := func(want ...int) {
			t.Helper()
			synctest.Wait()
			var got []int
			for line := range strings.Lines(out.String()) {
				var one struct {
					Records int
					Error   string
				}
				if err := json.Unmarshal([]byte(line), &one); err != nil || one.Error != "store is full" {
					t.Fatalf("%v: %s", err, line)
				}
				got = append(got, one.Records)
			}
			out.Reset()
			if len(got) != len(want) {
				t.Fatalf("got %d, want %d", got, want)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("got %d, want %d", got, want)
				}
			}
		}
		lose := func(n int) { e.notTaken("udp://:514", n, errors.New("store is full")) }
		lose(3)
		f(3)
		for range 90 {
			lose(2)
		}
		f()
		<-time.After(lossEvery)
		f(180)
		lose(1)
		<-time.After(lossEvery)
		f(1)
		<-time.After(2 * lossEvery)
		f()
		lose(5)
		lose(6)
		f(5)
		e.lost.end()
		f(6)
		e.lost.end()
		<-time.After(2 * lossEvery)
		f()
	})
}
