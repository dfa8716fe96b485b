package syslog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// paused gives data and then times out for ever, as a connection does that is handed over.
type paused struct{ data []byte }

func (p *paused) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, timeout{}
	}
	n := copy(b, p.data)
	p.data = p.data[n:]
	return n, nil
}

// framesResumed reads data with one Framer up to cut, and with another from there on.
func framesResumed(t *testing.T, data []byte, cut, max int) (all []string) {
	t.Helper()
	take := func(f *Framer) error {
		for {
			frame, flags, err := f.Next()
			if err != nil {
				return err
			}
			text := string(frame)
			if names := flags.Names(); names != nil {
				text += " " + fmt.Sprint(names)
			}
			all = append(all, text)
		}
	}
	first := NewFramer(&paused{data[:cut]}, max)
	if err := take(first); !errors.As(err, new(timeout)) {
		return all // it ended before the cut
	}
	state := first.Suspend()
	if most := max + 64; len(state) > most {
		t.Fatalf("the state of a connection with messages of %d bytes has %d, want at most %d", max, len(state), most)
	}
	second, err := ResumeFramer(bytes.NewReader(data[cut:]), max, state)
	if err != nil {
		t.Fatal(err)
	}
	_ = take(second) // io.EOF or ErrFrameCount, as everySplit's other half
	return all
}

// TestResumeWithASmallerLimit: max_message may have changed between two runs.
func TestResumeWithASmallerLimit(t *testing.T) {
	first := NewFramer(&paused{[]byte("<13>" + strings.Repeat("x", 500))}, 1000)
	if _, _, err := first.Next(); !errors.As(err, new(timeout)) {
		t.Fatal(err)
	}
	second, err := ResumeFramer(strings.NewReader("yyy\n<13>next\n"), 40, first.Suspend())
	if err != nil {
		t.Fatal(err)
	}
	frame, flags, err := second.Next()
	if err != nil || len(frame) != 40 || flags != record.Truncated {
		t.Errorf("got %d bytes, %v, %v, want the first 40, truncated", len(frame), flags.Names(), err)
	}
	if frame, _, err := second.Next(); err != nil || string(frame) != "<13>next" {
		t.Errorf("got %q, %v, want what follows it", frame, err)
	}
}

// FuzzResume: no state, whoever wrote it, makes a Framer panic or run on for ever.
func FuzzResume(f *testing.F) {
	f.Add([]byte{suspendVersion, suspendLines, 0}, []byte("<1>a\n"))
	f.Add([]byte{suspendVersion, suspendSkipLine | suspendNULs, 5, 'a', 0}, []byte("b\x00<1>c\x00"))
	f.Add([]byte{2, 0, 0}, []byte{})
	f.Add([]byte{suspendVersion, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, []byte("x"))
	f.Fuzz(func(t *testing.T, state, data []byte) {
		framer, err := ResumeFramer(bytes.NewReader(data), 40, state)
		if err != nil {
			return
		}
		total := 0
		for {
			frame, _, err := framer.Next()
			if err != nil {
				if err != io.EOF && err != ErrFrameCount {
					t.Errorf("got %v", err)
				}
				break
			}
			if total += len(frame); len(frame) > 40 || total > len(state)+len(data) {
				t.Fatalf("a frame of %d bytes, %d in all, of %d", len(frame), total, len(state)+len(data))
			}
		}
	})
}
