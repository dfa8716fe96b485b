package agent

import (
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// stock is the store as one forwarder may see it (forwarders.Source).
type stock struct {
	store  *storage.Store
	config ForwarderConfig
}

func (s stock) Identity() (agent [16]byte, epoch uint32) {
	agent, _ = s.store.Identity()
	return agent, s.store.Epoch()
}

func (s stock) NewEpoch() uint32 { return s.store.NewEpoch() }

func (s stock) Parts(stream string) []forwarders.Part {
	parts := s.store.Parts(stream)
	all := make([]forwarders.Part, len(parts))
	for i, p := range parts {
		all[i] = forwarders.Part{Epoch: p.Epoch, First: p.First, Next: p.Next}
	}
	return all
}

func (s stock) Record(stream string, offset uint64, f func(record.View)) bool {
	b := record.NewBatch()
	defer b.Release()
	first, _, err := s.store.ReadBlock(stream, offset, b)
	if err != nil || offset < first || offset-first >= uint64(b.Len()) {
		return false
	}
	f(b.At(int(offset - first)))
	return true
}

func (s stock) Unpack(block *record.Block, b *record.Batch) error { return storage.Unpack(block, b) }

func (s stock) Streams() (covered []string) {
	for _, info := range s.store.Streams() {
		if s.config.covers(info.Name) {
			covered = append(covered, info.Name)
		}
	}
	return covered
}

func (s stock) Covers(stream string) bool { return s.config.covers(stream) }

func (s stock) Settled(stream string) uint64 {
	at, _ := s.store.Cursor(s.config.Name, stream)
	return at
}

func (s stock) Ended(stream string) uint64 {
	at, _ := s.store.Cursor(storage.EndedName(s.config.Name), stream)
	return at
}

func (s stock) Marks(f func(key string, value []byte)) {
	keys := forwarderMarks(s.config)
	s.store.State(keys, func(key string, value []byte) { f(key[len(keys):], value) })
}

func (s stock) Lag() (records, bytes uint64, oldest time.Duration, lost uint64) {
	for _, stream := range s.Streams() {
		at, _ := s.store.Cursor(s.config.Name, stream)
		b := s.store.Backlog(stream, at)
		records, bytes, oldest = records+b.Records, bytes+uint64(b.Bytes), max(oldest, b.Age)
	}
	for _, c := range s.store.Cursors() {
		if c.Name == s.config.Name && c.Stream != startMark {
			lost += c.Expired + c.Passed.Damaged
		}
	}
	return records, bytes, oldest, lost
}

// storeMarks makes what an ack wants remembered changes of the store's state.
func (d *delivery) storeMarks(ack forwarders.Ack) []storage.Change {
	m, ok := ack.(forwarders.Marker)
	if !ok {
		return nil
	}
	marks := m.Marks()
	changes := make([]storage.Change, len(marks))
	keys := forwarderMarks(d.config)
	for i, mark := range marks {
		changes[i] = storage.Change{Key: keys + mark.Key, Value: mark.Value}
	}
	return changes
}

// goBack moves a cursor to where a receiver has fallen behind; false if it is there.
func (d *delivery) goBack(b *forwarders.Behind) bool {
	at, ok := d.position(b.Stream)
	if !ok || b.To >= at || d.setCursor(b.Stream, b.To, false) != nil {
		return false
	}
	d.events.rewound(d.name, b, at)
	return true
}
