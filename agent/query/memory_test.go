package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// memory is a small, honest Source: streams of blocks in slices.
type memory struct {
	mu      sync.Mutex // guards all below
	streams map[string]*memoryStream
	changed chan struct{}
	reads   atomic.Int64 // blocks; not guarded
}

type memoryStream struct {
	blocks []memoryBlock
	next   uint64
	first  uint64
}

type memoryBlock struct {
	head    Head
	encoded []byte
	damaged bool
}

func newMemory() *memory {
	return &memory{streams: make(map[string]*memoryStream), changed: make(chan struct{})}
}

// add appends records to a stream as one block.
func (m *memory) add(t testing.TB, stream string, records ...record.Record) {
	t.Helper()
	var b record.Batch
	for i := range records {
		if err := b.Append(&records[i]); err != nil {
			t.Fatal(err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[stream]
	if s == nil {
		s = &memoryStream{next: 1, first: 1}
		m.streams[stream] = s
	}
	h := Head{First: s.next, Next: s.next + uint64(b.Len()), Bytes: b.Size(),
		MinTime: alwaysTo, MaxTime: alwaysFrom, MinReceived: alwaysTo, MaxReceived: alwaysFrom}
	for i := range b.Len() {
		v := b.At(i)
		h.MinTime, h.MaxTime = min(h.MinTime, v.When()), max(h.MaxTime, v.When())
		h.MinReceived, h.MaxReceived = min(h.MinReceived, v.Received()), max(h.MaxReceived, v.Received())
	}
	s.blocks = append(s.blocks, memoryBlock{head: h, encoded: slices.Clone(b.Bytes())})
	s.next = h.Next
	close(m.changed)
	m.changed = make(chan struct{})
}

// expire takes the oldest n blocks of a stream away.
func (m *memory) expire(stream string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[stream]
	s.blocks = s.blocks[n:]
	s.first = s.next
	if len(s.blocks) > 0 {
		s.first = s.blocks[0].head.First
	}
}

// cut takes blocks [from, to) out of the middle of a stream, as quarantine does.
func (m *memory) cut(stream string, from, to int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[stream]
	s.blocks = slices.Delete(s.blocks, from, to)
}

func (m *memory) damage(stream string, block int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.streams[stream].blocks[block].damaged = true
}

func (m *memory) Streams() []Stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Stream
	for name, s := range m.streams {
		st := Stream{Name: name, First: s.first, Next: s.next, Records: s.next - s.first}
		for _, b := range s.blocks {
			st.RawBytes += int64(len(b.encoded))
		}
		st.Bytes = st.RawBytes
		if len(s.blocks) > 0 {
			st.OldestReceived, st.NewestReceived = s.blocks[0].head.MinReceived, s.blocks[len(s.blocks)-1].head.MaxReceived
		}
		all = append(all, st)
	}
	return all
}

func (m *memory) block(stream string, at uint64) (memoryBlock, bool) {
	s := m.streams[stream]
	if s == nil {
		return memoryBlock{}, false
	}
	i, _ := slices.BinarySearchFunc(s.blocks, at, func(b memoryBlock, at uint64) int {
		if b.head.Next <= at {
			return -1
		}
		return 1
	})
	if i == len(s.blocks) {
		return memoryBlock{}, false
	}
	return s.blocks[i], true
}

func (m *memory) Head(stream string, at uint64) (Head, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.block(stream, at)
	return b.head, ok
}

var errDamaged = errors.New("block does not match its checksum")

func (m *memory) Read(stream string, at uint64, b *record.Batch) (uint64, uint32, error) {
	m.reads.Add(1)
	m.mu.Lock()
	blk, ok := m.block(stream, at)
	m.mu.Unlock()
	switch {
	case !ok:
		return 0, 0, io.EOF
	case blk.damaged:
		return 0, 0, errDamaged
	}
	return blk.head.First, 3, b.Decode(slices.Clone(blk.encoded))
}

func (m *memory) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

func (m *memory) Identity() ([16]byte, uint32) { return [16]byte{0x7f, 0x3c}, 1 }

// fakeHost is a Host whose answers a test sets.
type fakeHost struct {
	mu        sync.Mutex // guards the rest
	moved     map[string]uint64
	notReady  error
	reloadErr error
	redrives  []Redrive
}

func (h *fakeHost) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Status{
		Inputs: []InputStatus{{Name: "docker", Kind: "syslog", Records: 7}},
		Forwarders: []ForwarderStatus{{Name: "hook", Kind: "webhook", State: "up",
			Streams: []CursorStatus{{Stream: "app", Next: h.moved["hook/app"], End: 11}}}},
	}
}

func (h *fakeHost) Audit() Audit {
	a := Audit{Pipelines: []PipelineAudit{{Name: "main", Received: map[string]uint64{"docker": 7}, Unexplained: -2}},
		Streams: []StreamAudit{{Name: "app", Stored: 9, Unexplained: 2}}}
	a.Sum()
	return a
}

func (h *fakeHost) Reload(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reloadErr
}

func (h *fakeHost) Ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.notReady
}

func (h *fakeHost) Config() []byte { return []byte("agent:\n  name: vm-17\n") }

func (h *fakeHost) SetCursor(forwarder, stream string, to uint64) error {
	if forwarder != "hook" || stream != "app" {
		return fmt.Errorf("forwarder %q: %w", forwarder, ErrNotFound)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.moved[forwarder+"/"+stream] = to
	return nil
}

func (h *fakeHost) SkipCursor(forwarder, stream string, n uint64) (uint64, error) {
	h.mu.Lock()
	to := h.moved[forwarder+"/"+stream] + n
	h.mu.Unlock()
	return to, h.SetCursor(forwarder, stream, to)
}

// TryModule drops what says so, and keeps the rest.
func (h *fakeHost) Redrive(_ context.Context, q Redrive) (Redriven, error) {
	if q.Stream == "none" {
		return Redriven{}, fmt.Errorf("dead letters of stream %q: %w", q.Stream, ErrNotFound)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.redrives = append(h.redrives, q)
	return Redriven{Stream: q.Stream + ".dead", Records: 3, Forwarders: []RedriveOf{{"hook", 3, 1, 5}}, Left: []Letters{}, Complete: true}, nil
}

func (h *fakeHost) TryModule(_ context.Context, name string, records []*record.Batch) ([]Verdict, error) {
	if name != "classify" {
		return nil, fmt.Errorf("module %q: %w", name, ErrNotFound)
	}
	var verdicts []Verdict
	for i, b := range records {
		v := Verdict{Index: i, Verdict: "keep", Records: []json.RawMessage{record.AppendJSON(nil, b.At(0), record.Meta{})}}
		if string(b.At(0).Message()) == "drop" {
			v = Verdict{Index: i, Verdict: "drop", Records: []json.RawMessage{}, Dropped: map[string]int{"asked": 1}}
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}
