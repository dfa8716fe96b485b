package relaywire

import (
	"errors"
	"reflect"
	"testing"
)

// TestWhatASenderMakesOfAnAnswer: it has written offsets 1 to 9, with 100 and the offset as sums; 4 it has
// no more.
func TestWhatASenderMakesOfAnAnswer(t *testing.T) {
	sum := func(at uint64) (uint64, bool) { return 100 + at, at != 4 }
	print := func(from, to uint64) Print { return Print{Range{from, to}, 100 + to - 1} }
	all := Ranges{{1, never}}
	f := func(what string, own Own, parts Ranges, tell Tell, want Outcome) {
		t.Helper()
		if own.Range == (Range{}) {
			own.Range = Range{1, 10}
		}
		got, err := tell.Compare(&Ask{Parts: parts}, own, sum)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v want %+v", what, got, err, want)
		}
	}
	f("nothing is there", Own{}, all, Tell{Missing: all}, Outcome{Send: all})
	f("as acknowledged", Own{Acked: Ranges{{1, 5}}}, all, Tell{Missing: Ranges{{5, never}}, Ends: Range{1, 5}, Prints: []Print{print(3, 6)}},
		Outcome{Send: Ranges{{5, never}}})
	f("the acknowledgement was lost", Own{Acked: Ranges{{1, 5}}, Running: true}, all,
		Tell{Missing: Ranges{{8, never}}, Ends: Range{1, 8}, Prints: []Print{print(1, 5), print(5, 8)}},
		Outcome{Delivered: Ranges{{5, 8}}, Send: Ranges{{8, never}}})
	f("some of it is proven", Own{Acked: Ranges{{1, 3}}}, all, Tell{Missing: Ranges{{8, never}}, Ends: Range{1, 8}, Prints: []Print{print(1, 6)}},
		Outcome{Delivered: Ranges{{3, 6}}, Doubt: Ranges{{6, 8}}, Send: Ranges{{8, never}}})
	f("nothing can be proven any more", Own{}, all, Tell{Missing: Ranges{{5, never}}, Ends: Range{1, 5}, Prints: []Print{print(1, 5)}},
		Outcome{Doubt: Ranges{{1, 5}}, Send: Ranges{{5, never}}})
	f("it was put back", Own{Acked: Ranges{{1, 8}}}, all, Tell{Missing: Ranges{{5, never}}, Ends: Range{1, 5}, Prints: []Print{print(1, 4)}},
		Outcome{Again: Ranges{{5, 8}}, Send: Ranges{{8, never}}})
	f("it has lost all", Own{Acked: Ranges{{1, 8}}}, Ranges{{1, 10}}, Tell{Missing: Ranges{{1, 10}}}, Outcome{Again: Ranges{{1, 8}}, Send: Ranges{{8, 10}}})
	f("it has lost pieces", Own{Acked: Ranges{{1, 10}}}, Ranges{{1, 10}}, Tell{Missing: Ranges{{2, 3}, {6, 8}}, Ends: Range{1, 10}},
		Outcome{Again: Ranges{{2, 3}, {6, 8}}})
	f("it forgot, and the line with it", Own{Acked: Ranges{{1, 8}}}, Ranges{{1, 10}}, Tell{Missing: Ranges{{1, 10}}, Forgot: true},
		Outcome{Forgotten: Ranges{{1, 8}}, Send: Ranges{{8, 10}}})
	f("it forgot how the line began, and has lost how it went on", Own{Acked: Ranges{{1, 8}}}, Ranges{{1, 10}},
		Tell{Missing: Ranges{{1, 4}, {6, 10}}, Ends: Range{4, 6}, Forgot: true}, Outcome{Forgotten: Ranges{{1, 4}}, Again: Ranges{{6, 8}}, Send: Ranges{{8, 10}}})
	f("others have a part", Own{Acked: Ranges{{1, 3}}}, Ranges{{1, 3}, {6, never}}, Tell{Missing: Ranges{{1, 3}, {7, never}}, Ends: Range{3, 7}, Prints: []Print{print(6, 7)}},
		Outcome{Again: Ranges{{1, 3}}, Delivered: Ranges{{6, 7}}, Send: Ranges{{7, never}}})
	f("another copy has written other records", Own{Acked: Ranges{{1, 3}}, Running: true}, all,
		Tell{Missing: Ranges{{6, never}}, Ends: Range{1, 6}, Prints: []Print{print(1, 3), {Range{3, 6}, 7}}},
		Outcome{Doubt: Ranges{{3, 10}}, Send: Ranges{{10, never}}, Other: true})
	f("another copy, and the receiver has lost some", Own{Acked: Ranges{{1, 6}}}, all,
		Tell{Missing: Ranges{{1, 3}, {6, never}}, Ends: Range{3, 6}, Prints: []Print{{Range{3, 6}, 7}}},
		Outcome{Again: Ranges{{1, 3}}, Doubt: Ranges{{6, 10}}, Send: Ranges{{10, never}}, Other: true})
	f("another copy has written on", Own{Running: true}, all, Tell{Missing: Ranges{{12, never}}, Ends: Range{1, 12}, Prints: []Print{print(1, 8), {Range{8, 12}, 7}}},
		Outcome{Doubt: Ranges{{1, 10}}, Send: Ranges{{12, never}}, Other: true})
	f("the line goes on, and this is a copy of the disk", Own{Acked: Ranges{{1, 3}}}, Ranges{{1, 10}},
		Tell{Ends: Range{1, 12}, Prints: []Print{print(3, 10), {Range{10, 12}, 7}}}, Outcome{Delivered: Ranges{{3, 10}}})
	f("a part of a frame was copied", Own{}, Ranges{{1, 10}}, Tell{Ends: Range{1, 12}, Prints: []Print{print(1, 6), {Range{6, 12}, 7}}},
		Outcome{Delivered: Ranges{{1, 6}}, Doubt: Ranges{{6, 10}}})
	f("prints of before what is here", Own{Range: Range{5, 10}, Acked: Ranges{{5, 7}}}, Ranges{{5, never}},
		Tell{Missing: Ranges{{7, never}}, Ends: Range{1, 7}, Prints: []Print{{Range{2, 4}, 7}}}, Outcome{Send: Ranges{{7, never}}})
}

func TestAnAnswerThatCannotBeIsRefused(t *testing.T) {
	q := &Ask{Stream: "app", Epoch: 3, Parts: Ranges{{1, 5}, {8, never}}}
	f := func(tell Tell) {
		t.Helper()
		if o, err := tell.Compare(q, Own{Range: Range{1, 10}}, nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("got %+v, %v", o, err)
		}
	}
	f(Tell{Stream: "else", Epoch: 3, Missing: q.Parts})
	f(Tell{Stream: "app", Epoch: 4, Missing: q.Parts})
	f(Tell{Stream: "app", Epoch: 3, Missing: Ranges{{1, never}}})
	f(Tell{Stream: "app", Epoch: 3, Missing: Ranges{{4, 6}}, Ends: Range{1, never}})
	f(Tell{Stream: "app", Epoch: 3, Missing: Ranges{{6, 7}}, Ends: Range{1, never}})
	f(Tell{Stream: "app", Epoch: 3, Missing: Ranges{{8, never}}}) // 1 to 4 are there, and the line has nothing
	f(Tell{Stream: "app", Epoch: 3, Missing: Ranges{{8, never}}, Ends: Range{1, 4}})
}

// A line that goes on behind what its run has written is shown to, and one that has just begun is nobody else's.
func TestAnotherCopyIsShown(t *testing.T) {
	sum := func(at uint64) (uint64, bool) { return 100 + at, true }
	f := func(own Own, ends Range, refused bool, prints ...Print) {
		t.Helper()
		own.Range, own.Running = Range{1, 10}, true
		all := Ranges{{1, never}}
		o, err := (&Tell{Missing: all, Ends: ends, Prints: prints}).Compare(&Ask{Parts: all}, own, sum)
		if refused && (!errors.Is(err, ErrMalformed) || !reflect.DeepEqual(o, Outcome{})) || !refused && (err != nil || !o.Other) {
			t.Errorf("%+v, %v with prints %v: got %+v, %v", own, ends, prints, o, err)
		}
	}
	f(Own{}, Range{1, 1 << 60}, true)
	f(Own{}, Range{1, 12}, true, Print{Range{5, 10}, 109})
	f(Own{}, Range{1, 12}, false, Print{Range{5, 10}, 7})
	f(Own{}, Range{1, 12}, false, Print{Range{5, 12}, 7})
	f(Own{Unsaid: true}, Range{1, 12}, true, Print{Range{5, 12}, 7})
	f(Own{Unsaid: true}, Range{1, 10}, true, Print{Range{5, 10}, 7})
}
