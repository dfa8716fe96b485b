package oracle

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
)

// Arrived is what has arrived, in the order of each sender. It is for any
// number of goroutines.
type Arrived struct {
	mu sync.Mutex
	// guarded by mu:
	run      string // of the first mark; others are unknown
	counts   counts // how often each number arrived
	last     []uint64
	disorder uint64
	records  uint64
	altered  uint64
	unknown  uint64
	journal  journal
	open     map[int]*stretch // of the journal
}

// stretch is numbers of one sender that arrived one after the other and are not
// in the journal yet.
type stretch struct{ from, to uint64 }

// NewArrived keeps what arrives in a file as well, unless path is empty.
func NewArrived(path string) (*Arrived, error) {
	j, err := newJournal(path)
	return &Arrived{journal: j, open: map[int]*stretch{}}, err
}

// ReadArrived reads what another oracle kept.
func ReadArrived(path string) (*Arrived, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a := &Arrived{open: map[int]*stretch{}}
	err = readJournal(f, func(word, run string, sender int, from, to uint64) {
		switch word {
		case "run":
			a.run = run
		case "arrived":
			for n := from; n <= to; n++ {
				a.arrive(sender, n)
			}
		case "altered":
			a.altered += from
		case "unknown":
			a.unknown += from
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// Take takes all messages in a text. A text without any is unknown.
func (a *Arrived) Take(text []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if found := Find(text, a.take); found == 0 {
		a.stranger()
	}
}

func (a *Arrived) stranger() {
	a.unknown++
	a.journal.write("unknown 1\n")
}

// take takes one mark. a.mu is held.
func (a *Arrived) take(m Mark) {
	if !m.Whole || m.Sender > maxSenders || m.Number > maxNumber {
		a.altered++
		a.journal.write("altered 1\n")
		return
	}
	if a.run == "" {
		a.run = string(m.Run)
		a.journal.write("run %s\n", a.run)
	}
	if a.run != string(m.Run) {
		a.stranger()
		return
	}
	a.arrive(m.Sender, m.Number)
	s := a.open[m.Sender]
	if s != nil && m.Number == s.to+1 {
		s.to++
		return
	}
	a.flush(m.Sender)
	a.open[m.Sender] = &stretch{m.Number, m.Number}
}

// arrive counts one record. a.mu is held, or nobody else has a yet.
func (a *Arrived) arrive(sender int, number uint64) {
	a.records++
	first := a.counts.get(sender, number) == 0
	a.counts.add(sender, number, number)
	for len(a.last) <= sender {
		a.last = append(a.last, 0)
	}
	if !first {
		return
	}
	if number+1 < a.last[sender] { // one that came for the first time, behind a later one
		a.disorder++
		return
	}
	a.last[sender] = number + 1
}

// flush writes the stretch of a sender. a.mu is held.
func (a *Arrived) flush(sender int) {
	if s := a.open[sender]; s != nil {
		a.journal.write("arrived %d %d %d\n", sender, s.from, s.to)
		delete(a.open, sender)
	}
}

// Records returns how many records have arrived, the altered among them.
func (a *Arrived) Records() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.records + a.altered
}

// Close writes what is left to the file and closes it; it returns what kept that
// from being written.
func (a *Arrived) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for sender := range a.open {
		a.flush(sender)
	}
	return a.journal.close()
}

// TakeLines takes every line that is not empty, up to the end.
func (a *Arrived) TakeLines(r io.Reader) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			a.Take(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
