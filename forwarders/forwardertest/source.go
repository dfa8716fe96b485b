package forwardertest

import (
	"encoding/hex"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
)

// Source is an agent's store in memory. The zero value has all of every stream, written under
// Epoch, and no record of it to show; fields that are set say otherwise. What a test changes
// it changes through Set.
type Source struct {
	Now   uint32                       // the epoch of what is written now; 0: Epoch
	Of    map[string][]forwarders.Part // by stream
	Texts func(offset uint64) string   // of the records (Batch); nil: they cannot be read
	Kept  map[string][]byte            // marks
	At    map[string]uint64            // cursors, by stream; those that are not there stand behind all
	Over  map[string]uint64            // what has ended, by stream

	mu sync.Mutex // guards all of the above
}

// Set changes the source.
func (s *Source) Set(change func(*Source)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// Keep stores what an ack wants remembered, as the agent does.
func (s *Source) Keep(ack forwarders.Ack) {
	m, ok := ack.(forwarders.Marker)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Kept == nil {
		s.Kept = make(map[string][]byte)
	}
	for _, mark := range m.Marks() {
		if s.Kept[mark.Key] = mark.Value; mark.Value == nil {
			delete(s.Kept, mark.Key)
		}
	}
}

// ID is the agent whose store it is.
func ID() (id [16]byte) {
	if n, err := hex.Decode(id[:], []byte(AgentID)); err != nil || n != len(id) {
		panic("bug: AgentID is no id")
	}
	return id
}

func (s *Source) now() uint32 {
	if s.Now == 0 {
		return Epoch
	}
	return s.Now
}

func (s *Source) Identity() ([16]byte, uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ID(), s.now()
}

func (s *Source) NewEpoch() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Now = s.now() + 1
	return s.Now
}

func (s *Source) Parts(stream string) []forwarders.Part {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Of == nil {
		return []forwarders.Part{{Epoch: Epoch, First: 1, Next: math.MaxInt64}}
	}
	return slices.Clone(s.Of[stream])
}

func (s *Source) Record(stream string, offset uint64, f func(record.View)) bool {
	s.mu.Lock()
	texts := s.Texts
	s.mu.Unlock()
	if texts == nil {
		return false
	}
	b := new(record.Batch)
	if b.Append(Record(offset, texts(offset))) != nil {
		return false
	}
	f(b.At(0))
	return true
}

func (s *Source) Unpack(k *record.Block, b *record.Batch) error {
	raw, err := s2.Decode(nil, k.Body)
	if err != nil {
		return err
	}
	if err := b.Decode(raw); err != nil {
		return err
	}
	return b.Stamp(&k.Origin)
}

func (s *Source) Streams() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Of == nil {
		return []string{"app", "errors"}
	}
	return slices.Sorted(maps.Keys(s.Of))
}

func (s *Source) Covers(stream string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Of == nil {
		return stream == "app" || stream == "errors"
	}
	_, ok := s.Of[stream]
	return ok
}

func (s *Source) Marks(f func(key string, value []byte)) {
	s.mu.Lock()
	kept := maps.Clone(s.Kept)
	s.mu.Unlock()
	for key, value := range kept {
		f(key, value)
	}
}

func (s *Source) Settled(stream string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.At[stream]; ok {
		return at
	}
	return math.MaxUint64
}

func (s *Source) Ended(stream string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Over[stream]
}

func (s *Source) Lag() (records, bytes uint64, oldest time.Duration, lost uint64) {
	return 7, 700, time.Minute, 3
}
