package tiers

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/relaywire"
)

func hop(n byte) relaywire.Hop {
	return relaywire.Hop{Agent: relaywire.Agent{n}, Name: string(rune('a' + n))}
}

func TestAboveIsEveryoneOnce(t *testing.T) {
	x := New(hop(0))
	x.Told("one", []relaywire.Hop{hop(1), hop(3)})
	x.Told("two", []relaywire.Hop{hop(2), hop(3)})
	if got, want := x.Above(), []relaywire.Hop{hop(0), hop(1), hop(3), hop(2)}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	x.Told("one", nil)
	if got, want := x.Above(), []relaywire.Hop{hop(0), hop(2), hop(3)}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Who is connected says itself how it does; of others the newest word counts.
func TestTheNearestWordCounts(t *testing.T) {
	x, now := New(hop(0)), time.Now()
	goneOne, goneTwo := x.Connected("in", hop(1), "v1"), x.Connected("in", hop(2), "v2")
	lost := func(n byte) uint64 {
		for _, b := range x.Below() {
			if b.Agent == hop(n).Agent {
				return b.Lag.Lost
			}
		}
		return 0
	}
	say := func(from, of byte, at time.Time, lost uint64) {
		x.Reported("in", hop(from), &relaywire.Report{Lag: relaywire.Lag{Lost: uint64(from)}, Below: []relaywire.Below{
			{Hop: hop(of), Via: 1, Seen: at, Lag: relaywire.Lag{Lost: lost}}}})
	}
	f := func(of byte, want uint64) {
		t.Helper()
		if got := lost(of); got != want {
			t.Errorf("agent %d has lost %d, want %d", of, got, want)
		}
	}
	say(1, 5, now.Add(-time.Minute), 50)
	say(2, 5, now.Add(-time.Hour), 40) // it has been there before
	f(5, 50)
	say(2, 5, now, 60)
	f(5, 60)
	say(1, 2, now.Add(time.Hour), 70)
	f(2, 2)
	say(1, 0, now, 80) // this agent itself is not below
	say(1, 6, now.Add(time.Hour), 90)
	if got := x.Below(); len(got) != 4 || got[0].Via != 1 || got[2].Via != 2 || got[2].Through != hop(2) || got[3].Seen.After(time.Now()) {
		t.Errorf("got %+v", got)
	}
	if got := x.Reports(); len(got) != 4 || got[3].Via != 2 {
		t.Errorf("got %+v", got)
	}
	goneOne()
	goneTwo()
	for _, b := range x.Below() {
		if b.Connections != 0 {
			t.Errorf("%s has %d connections", b.Name, b.Connections)
		}
	}
}

// agents returns made-up ones from one number to another, exclusive.
func agents(from, to uint32, seen time.Time, name string) *relaywire.Report {
	r := new(relaywire.Report)
	most := relaywire.Lag{Records: math.MaxUint64, Bytes: math.MaxUint64, Oldest: math.MaxInt64, Lost: math.MaxUint64}
	for i := from; i < to; i++ {
		b := relaywire.Below{Hop: relaywire.Hop{Agent: relaywire.Agent{9}, Name: name}, Build: name, Via: 1, Seen: seen, Lag: most}
		binary.BigEndian.PutUint32(b.Agent[1:], i)
		r.Below = append(r.Below, b)
	}
	return r
}

// Whatever agents below call themselves and those below them: what goes upwards is small.
func TestReportsAreSmallWhateverAgentsAreCalled(t *testing.T) {
	x, long := New(hop(0)), strings.Repeat("ü", 2048)
	x.Connected("in", relaywire.Hop{Agent: hop(1).Agent, Name: long}, long)
	for i := range uint32(3) {
		x.Reported("in", relaywire.Hop{Agent: hop(1).Agent, Name: long}, agents(i*400, (i+1)*400, time.Now(), long))
	}
	x.Told("f", []relaywire.Hop{{Agent: hop(2).Agent, Name: long}})
	all := x.Below()
	if len(all) != 1201 {
		t.Fatalf("%d agents are below, want 1201", len(all))
	}
	for _, b := range all {
		for _, text := range []string{b.Name, b.Build, b.Through.Name, x.Above()[1].Name} {
			if len(text) > 255 || strings.Trim(text, "ü") != "" {
				t.Fatalf("%q is kept", text)
			}
		}
	}
	r := x.Reports()
	if len(r) != relaywire.MaxBelow || !strings.HasPrefix(long, r[0].Name) || len(r[0].Name) < 60 {
		t.Errorf("%d agents are told of, the first as %q", len(r), r[0].Name)
	}
	most := agents(0, 1, time.Now(), "").Below[0].Lag
	if n := len(relaywire.Append(nil, &relaywire.Report{Lag: most, Below: r})); n > 256<<10 {
		t.Errorf("a report of %d bytes", n)
	}
}

// However many agents others tell of: who is connected is listed, and a report costs little.
func TestWhoIsConnectedIsAlwaysListed(t *testing.T) {
	x, now := New(hop(0)), time.Now()
	x.Connected("in", hop(1), "v")
	x.Connected("in", hop(2), "v")()
	for i := uint32(0); i < 2*mostBelow; i += 1000 {
		x.Reported("in", hop(byte(10+i/2000)), agents(i, i+1000, now.Add(time.Hour), ""))
	}
	if n := len(x.below); n > mostBelow || n < mostBelow/16*15 {
		t.Errorf("%d agents are remembered, want %d", n, mostBelow)
	}
	swept := x.swept
	x.Reported("in", hop(1), agents(50_000, 51_000, now, ""))
	if x.swept != swept {
		t.Error("all were looked through for one report more")
	}
	for n := range byte(100) {
		x.Connected("in", hop(100+n), "v")
	}
	if n := len(x.below); n > mostBelow {
		t.Errorf("%d agents are remembered, more than %d", n, mostBelow)
	}
	for _, n := range []byte{1, 100, 199} {
		if b := x.below[hop(n).Agent]; b == nil || b.Connections != 1 {
			t.Errorf("agent %d is connected, and known as %+v", n, b)
		}
	}
	most := 0
	for _, n := range x.of {
		most = max(most, n)
	}
	if fair := mostBelow / 22; most > 2*fair {
		t.Errorf("one of 22 who report has %d of %d agents", most, len(x.below))
	}
	if want := uint64(2*mostBelow + 1000 + 102 - len(x.below)); x.Full() != want {
		t.Errorf("for %d agents there was no room, want %d", x.Full(), want)
	}
}

// What one certificate says of others fills its own share, and nobody else's: its oldest go.
func TestOneCertificateCannotFillTheTable(t *testing.T) {
	x, now := New(hop(0)), time.Now()
	x.Connected("in", hop(1), "v")
	x.Identified(hop(1), "honest")
	x.Reported("in", hop(1), agents(1_000_000, 1_000_500, now.Add(-time.Hour), "theirs"))
	for i := range byte(30) { // one certificate, under many ids
		liar := relaywire.Hop{Agent: relaywire.Agent{77, i}, Name: "liar"}
		gone := x.Connected("in", liar, "v")
		x.Identified(liar, "liar")
		x.Reported("in", liar, agents(uint32(i)*1000, uint32(i+1)*1000, now, "made up"))
		gone()
	}
	named := map[string]int{}
	for _, b := range x.Below() {
		named[b.Name]++
	}
	if named["theirs"] != 500 || named["b"] != 1 {
		t.Errorf("listed are %v, and the others are not", named)
	}
	if lies := named["made up"] + named["liar"]; lies > mostOf || lies < mostOf/16*14 || x.Full() != uint64(30*1001-lies) {
		t.Errorf("listed are %v, %d were not, want %d lies", named, x.Full(), mostOf)
	}
	if b := x.below[relaywire.Agent{77, 29}]; b == nil || b.Identity != "liar" {
		t.Error("the newest is not listed")
	}
}

// Who connects counts for itself, whoever reported it before.
func TestWhoConnectsIsNobodysShare(t *testing.T) {
	x := New(hop(0))
	x.Connected("in", hop(1), "v")
	x.Reported("in", hop(1), agents(0, 1000, time.Now(), ""))
	for _, b := range x.Below()[:500] {
		if b.Via == 2 {
			x.Connected("in", b.Hop, "v")
		}
	}
	if n := x.of[source{agent: hop(1).Agent}]; n != 501 || x.of[source{}] != 500 {
		t.Errorf("%d are reported by one, and %v by all", n, x.of)
	}
}

func TestNobodyIsNoTrouble(t *testing.T) {
	var x *Tiers
	x.Told("f", nil)
	x.Connected("in", hop(1), "")()
	x.Reported("in", hop(1), &relaywire.Report{})
	if x.Above() != nil || x.Below() != nil || len(x.Reports()) != 0 {
		t.Error("a nil Tiers knows somebody")
	}
}

// What a certificate calls an agent is kept, and told of once where that differs.
func TestCertificateNameIsTold(t *testing.T) {
	x := New(hop(0))
	f := func(n byte, name, identity string, differs, shared bool) {
		t.Helper()
		h := relaywire.Hop{Agent: relaywire.Agent{n}, Name: name}
		x.Connected("in", h, "")
		if d, s := x.Identified(h, identity); d != differs || s != shared {
			t.Errorf("%s of %s: differs %t, shared %t", name, identity, d, s)
		}
	}
	f(1, "web", "web.example.com", false, false)
	f(1, "web", "db", true, false)
	f(1, "web", "db", false, false)
	f(2, "web", "web", false, true)
	f(3, "db", "", false, false)
	if all := x.Below(); all[0].Name != "db" || all[1].Identity != "db" || all[1].Connections != 3 {
		t.Errorf("below are %+v", all)
	}
	if d, s := x.Identified(hop(9), "nobody"); d || s {
		t.Error("somebody unknown has a name")
	}
}

func TestCopiesAreTwoForAWhile(t *testing.T) {
	x := New(hop(0))
	gone := x.Connected("in", hop(1), "")
	x.Connected("in", hop(1), "")
	copies := func() int { return x.Below()[0].Copies() }
	if copies() != 1 || !x.Copied(hop(1).Agent) || x.Copied(hop(1).Agent) || copies() != 2 {
		t.Error("two are not two, or told of twice")
	}
	if gone(); copies() != 1 {
		t.Error("one is two")
	}
	if x.Copied(hop(2).Agent) {
		t.Error("nobody was copied")
	}
}
