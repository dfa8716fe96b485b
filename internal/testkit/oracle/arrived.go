package oracle

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// Arrived is what has arrived, in the order of each sender. It is for any
// number of goroutines.
type Arrived struct {
	mu sync.Mutex
	// guarded by mu:
	runs    map[string]*run // of every run whose messages have come: which one is meant, Judge knows
	written string          // the run that the journal's next lines are of
	altered uint64
	unknown uint64
	journal journal
}

// run is what has arrived of one run.
type run struct {
	name     string
	counts   counts // how often each number arrived
	last     []uint64
	disorder uint64
	records  uint64
	open     map[int]*stretch // of the journal
}

// stretch is numbers of one sender that arrived one after the other and are not
// in the journal yet.
type stretch struct{ from, to uint64 }

// NewArrived keeps what arrives in a file as well, unless path is empty.
func NewArrived(path string) (*Arrived, error) {
	j, err := newJournal(path)
	return &Arrived{journal: j, runs: map[string]*run{}}, err
}

// ReadArrived reads what another oracle kept.
func ReadArrived(path string) (*Arrived, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a := &Arrived{runs: map[string]*run{}}
	err = readJournal(f, func(word, name string, sender int, from, to uint64) {
		switch word {
		case "run":
			a.written = name
		case "arrived":
			for n := from; n <= to; n++ {
				a.of(a.written).arrive(sender, n)
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
	r := a.runs[string(m.Run)]
	if r == nil {
		r = a.of(string(m.Run))
	}
	r.arrive(m.Sender, m.Number)
	s := r.open[m.Sender]
	if s != nil && m.Number == s.to+1 {
		s.to++
		return
	}
	a.flush(r, m.Sender)
	r.open[m.Sender] = &stretch{m.Number, m.Number}
}

// of returns the run of that name, a new one if nothing of it has come. a.mu is held, or
// nobody else has a yet.
func (a *Arrived) of(name string) *run {
	r := a.runs[name]
	if r == nil {
		name = strings.Clone(name)
		r = &run{name: name, open: map[int]*stretch{}}
		a.runs[name] = r
	}
	return r
}

// arrive counts one record.
func (r *run) arrive(sender int, number uint64) {
	r.records++
	first := r.counts.get(sender, number) == 0
	r.counts.add(sender, number, number)
	for len(r.last) <= sender {
		r.last = append(r.last, 0)
	}
	if !first {
		return
	}
	if number+1 < r.last[sender] { // one that came for the first time, behind a later one
		r.disorder++
		return
	}
	r.last[sender] = number + 1
}

// flush writes the stretch of a sender. a.mu is held.
func (a *Arrived) flush(r *run, sender int) {
	s := r.open[sender]
	if s == nil {
		return
	}
	if a.written != r.name {
		a.written = r.name
		a.journal.write("run %s\n", r.name)
	}
	a.journal.write("arrived %d %d %d\n", sender, s.from, s.to)
	delete(r.open, sender)
}

// Records returns how many records have arrived, of whatever run, the altered among them.
func (a *Arrived) Records() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.altered
	for _, r := range a.runs {
		n += r.records
	}
	return n
}

// Close writes what is left to the file and closes it; it returns what kept that
// from being written.
func (a *Arrived) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.runs {
		for sender := range r.open {
			a.flush(r, sender)
		}
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
