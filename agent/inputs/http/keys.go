package http

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/agent/inputs"
)

const (
	// keepKeys is how long a request's key is remembered, and maxKeys how many are.
	keepKeys = 24 * time.Hour
	maxKeys  = 1_000_000
	// pageKeys is how many are put together under one mark once they are
	// stored: a mark of its own costs the store four times the memory, and a
	// start with a million of them ten seconds.
	pageKeys = 64
)

// digest is the first half of a SHA-256.
type digest [16]byte

func digestOf(parts ...[]byte) (d digest) {
	h := sha256.New()
	for _, p := range parts {
		var size [8]byte
		binary.LittleEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:]) //nolint:errcheck // a hash takes everything
		h.Write(p)       //nolint:errcheck // likewise
	}
	copy(d[:], h.Sum(nil))
	return d
}

// answered is what became of the request of a key.
type answered struct {
	body     digest
	at       uint32 // by keys.clock
	accepted uint32 // records
}

// entry is an answered request with its key.
type entry struct {
	key digest
	answered
}

// page is the entries of one mark, in the order in which they were answered: one
// entry when it has just been made, pageKeys later.
type page struct {
	number  uint64 // the mark's key
	entries []entry
}

// keys are the requests with an Idempotency-Key that were answered in the last
// 24 hours, and those under way. Each is a mark in the transaction of its records.
// Marks are never written twice: a page takes the place of pageKeys single ones
// under a number of its own, so that no commit can undo another's, whatever their order.
type keys struct {
	now   func() time.Time
	began time.Time // by now, which is monotonic within the process
	base  uint32    // of clock: seconds since 1970 at began, and no less than any mark has
	most  int

	mu     sync.Mutex // guards all below
	done   map[digest]answered
	flight map[digest]chan struct{} // closed when the request has ended, either way
	next   uint64                   // number of the next mark
	single []entryAt                // stored, and not yet in a page; oldest first
	pages  []page                   // oldest first
	tidies bool                     // a unit under way has the changes of a tidying
	early  *metrics.Counter         // keys that had to go before their time
}

// entryAt is an entry that has a mark of its own.
type entryAt struct {
	number uint64
	entry
}

// newKeys reads what the marks say.
func newKeys(marks func(func(key string, value []byte)), most int, now func() time.Time) *keys {
	s := &keys{now: now, began: now(), most: most, done: make(map[digest]answered), flight: make(map[digest]chan struct{}), next: 1}
	s.base = uint32(s.began.Unix())
	marks(func(key string, value []byte) {
		number, entries, ok := parseMark(key, value)
		if !ok {
			return // of a later build
		}
		s.next = max(s.next, number+1)
		for _, e := range entries {
			s.base = max(s.base, e.at)
			if had, ok := s.done[e.key]; !ok || had.at <= e.at {
				s.done[e.key] = e.answered
			}
		}
		if len(entries) == 1 {
			s.single = append(s.single, entryAt{number, entries[0]})
		} else {
			s.pages = append(s.pages, page{number, entries})
		}
	})
	slices.SortFunc(s.pages, func(a, b page) int { return cmp.Compare(a.number, b.number) })
	slices.SortFunc(s.single, func(a, b entryAt) int { return cmp.Compare(a.number, b.number) })
	return s
}

// clock is the time in seconds, which never goes back: not within the process,
// and not below what an earlier one wrote.
func (s *keys) clock() uint32 {
	return s.base + uint32(max(0, s.now().Sub(s.began))/time.Second)
}

// expired reports whether an entry of that time is forgotten.
func (s *keys) expired(at uint32) bool {
	return int64(s.clock())-int64(at) >= int64(keepKeys/time.Second)
}

// evicted says where to count keys that go before their time.
func (s *keys) evicted(c *metrics.Counter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.early = c
}

// kept returns how many keys are remembered.
func (s *keys) kept() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.done)
}

// claim is the right to store the request of a key. It ends with settle.
type claim struct {
	keys    *keys
	entry   entry
	number  uint64
	ended   chan struct{}
	tidy    bool  // it has the changes of a tidying
	paged   *page // of those: made of the first single ones
	forgets bool  // of those: the first page goes
}

// claim asks for a key. It returns the right to it; or what was answered to its
// request; or a channel that is closed when a request of that key, which is under
// way, has ended: then ask again.
func (s *keys) claim(key, body digest) (c *claim, was *answered, wait <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ended, ok := s.flight[key]; ok {
		return nil, nil, ended
	}
	if a, ok := s.done[key]; ok && !s.expired(a.at) {
		return nil, &a, nil
	}
	c = &claim{keys: s, entry: entry{key: key, answered: answered{body: body}}, ended: make(chan struct{})}
	s.flight[key] = c.ended
	return c, nil, nil
}

// marks returns what is to be committed with the records of the request.
func (c *claim) marks(accepted int) []inputs.Mark {
	s := c.keys
	s.mu.Lock()
	defer s.mu.Unlock()
	c.entry.at, c.entry.accepted = s.clock(), uint32(accepted)
	c.number = s.number()
	marks := []inputs.Mark{c.entry.mark(c.number)}
	if s.tidies {
		return marks
	}
	if len(s.single) >= 2*pageKeys {
		c.tidy, c.paged = true, &page{number: s.number(), entries: make([]entry, pageKeys)}
		for i, e := range s.single[:pageKeys] {
			c.paged.entries[i] = e.entry
			marks = append(marks, inputs.Mark{Key: markKey(e.number)})
		}
		marks = append(marks, c.paged.mark())
	}
	if len(s.pages) > 0 && (len(s.done) >= s.most || s.expired(s.pages[0].newest())) {
		c.tidy, c.forgets = true, true
		marks = append(marks, inputs.Mark{Key: markKey(s.pages[0].number)})
	}
	s.tidies = c.tidy
	return marks
}

func (s *keys) number() uint64 {
	n := s.next
	s.next++
	return n
}

// settle ends the claim: the records and their marks are stored, or they are not.
func (c *claim) settle(stored bool) {
	s := c.keys
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flight, c.entry.key)
	close(c.ended)
	if c.tidy {
		s.tidies = false
	}
	if !stored {
		return
	}
	if c.forgets {
		s.forget(s.pages[0])
		s.pages = s.pages[1:]
	}
	if c.paged != nil {
		s.pages = append(s.pages, *c.paged)
		s.single = append([]entryAt(nil), s.single[pageKeys:]...)
	}
	s.done[c.entry.key] = c.entry.answered
	s.single = append(s.single, entryAt{c.number, c.entry})
}

// forget takes a page's keys out, but for those that have been answered anew.
func (s *keys) forget(p page) {
	for _, e := range p.entries {
		if s.done[e.key] != e.answered {
			continue
		}
		delete(s.done, e.key)
		if !s.expired(e.at) && s.early != nil {
			s.early.Inc()
		}
	}
}

// newest is the time of the last entry.
func (p *page) newest() uint32 { return p.entries[len(p.entries)-1].at }

// The marks: the key is the number, big-endian; the value a version and entries
// of key, body, time and count, little-endian.
const (
	markVersion = 1
	entrySize   = 16 + 16 + 4 + 4
)

func markKey(number uint64) string {
	return string(binary.BigEndian.AppendUint64(nil, number))
}

func (e *entry) mark(number uint64) inputs.Mark {
	return inputs.Mark{Key: markKey(number), Value: e.append([]byte{markVersion})}
}

func (p *page) mark() inputs.Mark {
	value := append(make([]byte, 0, 1+pageKeys*entrySize), markVersion)
	for i := range p.entries {
		value = p.entries[i].append(value)
	}
	return inputs.Mark{Key: markKey(p.number), Value: value}
}

func (e *entry) append(b []byte) []byte {
	b = append(append(b, e.key[:]...), e.body[:]...)
	b = binary.LittleEndian.AppendUint32(b, e.at)
	return binary.LittleEndian.AppendUint32(b, e.accepted)
}

// parseMark reads a mark; false if it is none of this build's.
func parseMark(key string, value []byte) (number uint64, entries []entry, ok bool) {
	if len(key) != 8 || len(value) <= 1 || value[0] != markVersion || (len(value)-1)%entrySize != 0 {
		return 0, nil, false
	}
	for b := value[1:]; len(b) > 0; b = b[entrySize:] {
		var e entry
		copy(e.key[:], b)
		copy(e.body[:], b[16:])
		e.at = binary.LittleEndian.Uint32(b[32:])
		e.accepted = binary.LittleEndian.Uint32(b[36:])
		entries = append(entries, e)
	}
	return binary.BigEndian.Uint64([]byte(key)), entries, true
}
