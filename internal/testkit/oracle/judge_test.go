package oracle

import (
	"path/filepath"
	"strings"
	"testing"
)

// kept returns a run in which one sender has sent ten records and had answers
// for eight; 4 and 5 were sent twice.
func kept(t *testing.T, path string) *Sent {
	t.Helper()
	s, err := NewSent(path)
	if err != nil {
		t.Fatal(err)
	}
	s.Offer(0, 0, 5)
	s.Acknowledge(0, 0, 3)
	s.Offer(0, 4, 9)
	s.Acknowledge(0, 4, 7)
	return s
}

// TestEveryFaultIsFound plants one fault after the other in what arrives.
func TestEveryFaultIsFound(t *testing.T) {
	f := func(arrive string, want Verdict) {
		t.Helper()
		dir := t.TempDir()
		s := kept(t, filepath.Join(dir, "sent"))
		a, err := NewArrived(filepath.Join(dir, "arrived"))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range strings.Fields(arrive) {
			number := uint64(word[0] - '0')
			text := AppendMessage(nil, s.Run(), 0, number, 120)
			switch word[1:] {
			case "cut":
				text = text[:len(text)-1]
			case "changed":
				text[len(text)-3] ^= 1
			case "grown":
				text = append(text, " and more"...) // what stands around a message is the relay's
			case "stranger":
				text = []byte("rsyslogd: start")
			case "foreign":
				text = AppendMessage(nil, "other", 0, number, 120)
			case "unsent":
				text = AppendMessage(nil, s.Run(), 1, number, 120)
			}
			a.Take(text)
		}
		want.Run, want.Sent, want.Again, want.Acknowledged = s.Run(), 10, 2, 8
		check := func(how string, s *Sent, a *Arrived) {
			t.Helper()
			got := Judge(s, a)
			if got.Losses = nil; got.Run != want.Run || gotText(got) != gotText(want) {
				t.Errorf("%s, %s:\n got %s\nwant %s", arrive, how, gotText(got), gotText(want))
			}
		}
		check("in memory", s, a)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		s, err = ReadSent(filepath.Join(dir, "sent"))
		if err != nil {
			t.Fatal(err)
		}
		if a, err = ReadArrived(filepath.Join(dir, "arrived")); err != nil {
			t.Fatal(err)
		}
		check("from files", s, a)
	}
	f("0 1 2 3 4 5 6 7 8 9", Verdict{Arrived: 10, Unanswered: 2})
	f("0 1 2 3 4 5 6 7", Verdict{Arrived: 8})        // 8 and 9 had no answer
	f("0 1 2 3 5 6 7", Verdict{Arrived: 7, Lost: 1}) // 4 is lost
	f("", Verdict{Lost: 8})
	f("0 1 2 3 4 5 4 5 6 7", Verdict{Arrived: 8, Repeated: 2})                  // as often as sent
	f("0 1 2 3 4 5 4 5 4 6 7", Verdict{Arrived: 8, Repeated: 2, Duplicated: 1}) // more often
	f("0 1 1 2 3 4 5 6 7", Verdict{Arrived: 8, Duplicated: 1})                  // sent once
	f("0 1 3 2 4 5 6 7", Verdict{Arrived: 8, Disordered: 1})
	f("0 1 2 3 4 5 6 7 0 1", Verdict{Arrived: 8, Duplicated: 2}) // no disorder: they were there
	f("0 1 2cut 3 4 5 6 7", Verdict{Arrived: 7, Lost: 1, Altered: 1})
	f("0 1 2changed 2 3 4 5 6 7", Verdict{Arrived: 8, Altered: 1})
	f("0grown 1 2 3 4 5 6 7", Verdict{Arrived: 8})
	f("0 1 2 3 4 5 6 7 0stranger 0foreign 0unsent", Verdict{Arrived: 8, Another: 1, Unknown: 2})
	f("0foreign 1foreign 0 1 2foreign 2 3 1foreign 4 5 6 7", Verdict{Arrived: 8, Another: 4}) // an earlier run's come first, and in between
}

// gotText is a verdict without its run.
func gotText(v Verdict) string {
	var b strings.Builder
	v.Write(&b)
	return b.String()
}

func TestLossesAreNamed(t *testing.T) {
	s := kept(t, "")
	a, err := NewArrived("")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{0, 3, 4, 5, 7} {
		a.Take(AppendMessage(nil, s.Run(), 0, n, 0))
	}
	v := Judge(s, a)
	if len(v.Losses) != 2 || v.Losses[0] != (Loss{0, 1, 2}) || v.Losses[1] != (Loss{0, 6, 6}) || v.Lost != 3 {
		t.Errorf("got %+v", v)
	}
}

// TestLossesThatAreNotNamedAreCounted: every other number is lost, which is more stretches than
// a verdict names.
func TestLossesThatAreNotNamedAreCounted(t *testing.T) {
	s, err := NewSent("")
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewArrived("")
	if err != nil {
		t.Fatal(err)
	}
	s.Offer(0, 0, 99)
	s.Acknowledge(0, 0, 99)
	for n := uint64(0); n < 100; n += 2 {
		a.Take(AppendMessage(nil, s.Run(), 0, n, 0))
	}
	v := Judge(s, a)
	if text := gotText(v); v.Lost != 50 || !strings.HasSuffix(text, "  lost: sender 0, 39 to 39\n  and 30 more\n") {
		t.Errorf("got\n%s", text)
	}
}

// TestAnEarlierRunsMessagesAccuseNobody: the relay delivers what it had of an earlier run
// first. The later run is judged by its own, and so is the earlier one.
func TestAnEarlierRunsMessagesAccuseNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arrived")
	a, err := NewArrived(path)
	if err != nil {
		t.Fatal(err)
	}
	earlier, later := kept(t, ""), kept(t, "")
	for _, s := range []*Sent{earlier, later} {
		for n := range uint64(10) {
			a.Take(AppendMessage(nil, s.Run(), 0, n, 0))
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	read, err := ReadArrived(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*Arrived{a, read} {
		for _, s := range []*Sent{earlier, later} {
			if v := Judge(s, a); v.Lost+v.Duplicated+v.Disordered+v.Unknown > 0 || v.Arrived != 10 || v.Another != 10 {
				t.Errorf("got %+v", v)
			}
		}
	}
}

// TestAnotherRunIsNotThisOne: a file of another run holds nothing of this one.
func TestAnotherRunIsNotThisOne(t *testing.T) {
	s := kept(t, "")
	a, err := NewArrived("")
	if err != nil {
		t.Fatal(err)
	}
	a.Take(AppendMessage(nil, "other", 0, 1, 0))
	if v := Judge(s, a); v.Lost != 8 || v.Another != 1 || v.Unknown != 0 {
		t.Errorf("got %+v", v)
	}
}

func TestMarksAreFoundInAnySyntax(t *testing.T) {
	one, two := string(AppendMessage(nil, "r", 1, 2, 60)), string(AppendMessage(nil, "r", 3, 4, 0))
	f := func(text string, whole ...bool) {
		t.Helper()
		var got []bool
		if n := Find([]byte(text), func(m Mark) { got = append(got, m.Whole) }); n != len(whole) {
			t.Fatalf("%q: got %d marks, want %d", text, n, len(whole))
		}
		for i := range whole {
			if got[i] != whole[i] {
				t.Errorf("%q: mark %d: whole is %v", text, i, got[i])
			}
		}
	}
	f(one, true)
	f(`[{"log":"`+one+`","x":1},{"log":"`+two+`"}]`, true, true)
	f("<14>1 - - - - - - "+one+"\n"+one[:20]+"\n"+two, true, false, true)
	f(one[:len(one)-1]+two, false, true) // two run together, the first cut
	f("nothing")
	f("oracle/", false)
}

func FuzzFind(f *testing.F) {
	f.Add([]byte("x oracle/r/1/2/3/00000000/abc"))
	f.Add(AppendMessage(nil, "run", 3, 1<<33, 90))
	f.Fuzz(func(t *testing.T, text []byte) {
		Find(text, func(m Mark) {
			if !m.Whole {
				return
			}
			found := 0
			Find(AppendMessage(nil, string(m.Run), m.Sender, m.Number, 200), func(again Mark) {
				if found++; !again.Whole || again.Sender != m.Sender || again.Number != m.Number {
					t.Errorf("got %+v again as %+v", m, again)
				}
			})
			if found != 1 {
				t.Errorf("%+v is found %d times", m, found)
			}
		})
	})
}
