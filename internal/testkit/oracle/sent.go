package oracle

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
)

// Sent is what senders have sent and what of it was acknowledged. It is for
// any number of goroutines.
type Sent struct {
	run string

	mu sync.Mutex
	// guarded by mu:
	counts  counts // how often each number was sent, flagged once it was acknowledged
	acked   uint64
	journal journal
	changed chan struct{} // closed when more is acknowledged
}

// NewSent begins a run of its own name. What it learns it keeps in a file as
// well, unless path is empty.
func NewSent(path string) (*Sent, error) {
	j, err := newJournal(path)
	if err != nil {
		return nil, err
	}
	s := &Sent{run: fmt.Sprintf("%08x", rand.Uint32()), journal: j, changed: make(chan struct{})}
	s.journal.write("run %s\n", s.run)
	return s, nil
}

// ReadSent reads what another oracle kept.
func ReadSent(path string) (*Sent, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &Sent{changed: make(chan struct{})}
	if err := s.read(f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (s *Sent) read(r io.Reader) error {
	return readJournal(r, func(word, run string, sender int, from, to uint64) {
		switch word {
		case "run":
			s.run = run
		case "sent":
			s.Offer(sender, from, to)
		case "acked":
			s.Acknowledge(sender, from, to)
		}
	})
}

// Run is the run's name, which every message carries.
func (s *Sent) Run() string { return s.run }

// Offer notes that the numbers from from to to, both included, are about to be sent.
func (s *Sent) Offer(sender int, from, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.add(sender, from, to)
	s.journal.write("sent %d %d %d\n", sender, from, to)
}

// Acknowledge notes that the numbers from from to to, both included, were acknowledged.
func (s *Sent) Acknowledge(sender int, from, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked += uint64(s.counts.mark(sender, from, to))
	s.journal.write("acked %d %d %d\n", sender, from, to)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Acknowledged returns how many records were acknowledged, and a channel that is
// closed when there are more.
func (s *Sent) Acknowledged() (n uint64, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked, s.changed
}

// Close closes the file, and returns what kept it from being written.
func (s *Sent) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.close()
}
