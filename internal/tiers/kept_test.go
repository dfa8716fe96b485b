package tiers

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// keep puts on a disk what is to be kept.
func keep(x *Tiers, all bool, disk map[relaywire.Agent][]byte) int {
	changes := x.Changes(all)
	for _, c := range changes {
		if disk[c.Agent] = c.Value; c.Value == nil {
			delete(disk, c.Agent)
		}
	}
	x.Kept(changes)
	return len(changes)
}

// again returns what an agent knows that has just started.
func again(t *testing.T, disk map[relaywire.Agent][]byte) *Tiers {
	t.Helper()
	x := New(hop(0))
	if err := x.Remember(disk); err != nil {
		t.Fatal(err)
	}
	return x
}

// Who was below is listed after a start, as it was, until it says something new.
func TestWhoWasBelowIsListedAfterAStart(t *testing.T) {
	x, disk, now := New(hop(0)), map[relaywire.Agent][]byte{}, time.Now()
	gone := x.Connected("in", hop(1), "v1")
	x.Identified(hop(1), "cert")
	lag := relaywire.Lag{Records: 1, Bytes: 2, Oldest: 3, Lost: 4}
	x.Reported("in", hop(1), &relaywire.Report{Lag: lag, Below: []relaywire.Below{{Hop: hop(2), Build: "v2", Via: 1, Seen: now.Add(-time.Hour), Lag: lag}}})
	gone()
	keep(x, true, disk)
	was := x.Below()

	x = again(t, disk)
	all := x.Below()
	if len(all) != 2 || !all[0].Before || !all[1].Before || all[0].Connections != 0 {
		t.Fatalf("below are %+v", all)
	}
	for i := range all {
		if !bytes.Equal(all[i].encode(), was[i].encode()) || all[i].Lag != lag {
			t.Errorf("got %+v, was %+v", all[i], was[i])
		}
	}
	if n := keep(x, true, disk); n != 0 {
		t.Errorf("%d are kept anew though nothing is new", n)
	}
	x.Connected("in", hop(1), "v3")
	x.Reported("in", hop(1), &relaywire.Report{Below: []relaywire.Below{{Hop: hop(2), Via: 1, Seen: now.Add(-2 * time.Hour)}}})
	if all = x.Below(); all[0].Before || all[0].Build != "v3" || !all[1].Before || all[1].Lag != lag {
		t.Errorf("below are %+v", all)
	}
	x.Reported("in", hop(1), &relaywire.Report{Below: []relaywire.Below{{Hop: hop(2), Via: 1, Seen: now}}})
	if all = x.Below(); all[1].Before || all[1].Lag == lag {
		t.Errorf("below are %+v", all)
	}
}

// A report that says what the one before has said is not kept; who has not been heard of for
// long is forgotten there too.
func TestLittleIsKeptAnew(t *testing.T) {
	x, disk := New(hop(0)), map[relaywire.Agent][]byte{}
	x.Connected("in", hop(1), "v")
	f := func(all bool, want int) {
		t.Helper()
		if got := keep(x, all, disk); got != want {
			t.Errorf("%d are kept, want %d", got, want)
		}
	}
	f(false, 1)
	for i := range 10 {
		x.Reported("in", hop(1), &relaywire.Report{Lag: relaywire.Lag{Records: uint64(i)}})
		f(false, 0)
	}
	x.Reported("in", hop(1), &relaywire.Report{Lag: relaywire.Lag{Lost: 1}})
	f(false, 1)
	x.below[hop(1).Agent].kept.at = time.Now().Add(-keptFor - time.Second)
	f(false, 1)
	x.Reported("in", hop(1), &relaywire.Report{Lag: relaywire.Lag{Records: 99, Lost: 1}})
	f(true, 1)
	if b := again(t, disk).Below()[0]; b.Lag.Records != 99 {
		t.Errorf("got %+v", b)
	}
	x.below[hop(1).Agent].Connections, x.below[hop(1).Agent].Seen = 0, time.Now().Add(-forgetAfter-time.Minute)
	f(false, 1)
	f(false, 0)
	if len(disk) != 0 {
		t.Errorf("%v is kept", disk)
	}
}

// What is on disk may be of a clock that was ahead, too old, or damaged: none of it harms.
func TestWhatIsKeptMayBeBad(t *testing.T) {
	ahead, old := &Below{Below: relaywire.Below{Via: 1, Seen: time.Now().Add(time.Hour)}, Reported: time.Now().Add(time.Hour)}, &Below{Below: relaywire.Below{Via: 1, Seen: time.Now().Add(-forgetAfter - time.Hour)}}
	x := New(hop(0))
	err := x.Remember(map[relaywire.Agent][]byte{{1}: ahead.encode(), {2}: old.encode(), {3}: nil, {4}: {9, 9}, {5}: ahead.encode()[:9]})
	if all := x.Below(); err == nil || len(all) != 1 || all[0].Agent != (relaywire.Agent{1}) || all[0].Seen.After(time.Now()) || all[0].Reported.After(time.Now()) {
		t.Errorf("%v, below are %+v", err, all)
	}
	var gone []byte
	for _, c := range x.Changes(false) {
		if c.Value == nil {
			gone = append(gone, c.Agent[0])
		}
	}
	if slices.Sort(gone); !slices.Equal(gone, []byte{2, 3, 4, 5}) {
		t.Errorf("%v are kept no longer", gone)
	}
}

func FuzzKept(f *testing.F) {
	f.Add((&Below{Below: relaywire.Below{Hop: hop(1), Build: "v", Via: 2, Seen: time.Now(), Lag: relaywire.Lag{Records: 1, Lost: 300}}, Input: "in", Through: hop(2), Identity: "x", Reported: time.Now()}).encode())
	f.Add([]byte{keptVersion, 1, 0x80, 0x80})
	f.Fuzz(func(t *testing.T, value []byte) {
		b, err := decode(relaywire.Agent{1}, value)
		if err != nil {
			return
		}
		same, err := decode(relaywire.Agent{1}, b.encode())
		if err != nil || !bytes.Equal(same.encode(), b.encode()) || same.Lag != b.Lag {
			t.Errorf("%v: got %+v, want %+v", err, same, b)
		}
	})
}
