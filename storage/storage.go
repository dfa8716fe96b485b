// Package storage keeps streams of records durably: rotated bbolt files of
// compressed blocks, group commit, offsets, cursors and retention
// (docs/format/storage.md draws every byte).
//
// It is the only room that knows bbolt, and hides it. An acknowledged record is
// on disk; damaged bytes are never served, and neither they nor a full disk may
// end the process or keep the store from opening.
//
// Locks, where two are needed: intake.mu, then Store.mu, then kept.mu; stating before Store.mu. The committer is the
// only goroutine that appends to segments and moves a stream's next offset.
package storage

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// Store is an open data directory. Its methods are safe for concurrent use.
type Store struct {
	options  Options
	dir      *directory
	identity identity
	events   events
	metrics  *meters
	intake   intake
	recent   recent
	kept     kept
	epochs   epochs
	settled  *Receipt // of units of which nothing is left to store

	mu           sync.RWMutex // guards all down to the blank line
	streams      map[string]*stream
	cursors      map[cursorKey]*cursor
	unkept       map[string]bool   // names of cursors that keep nothing (KeepEnded)
	accounts     map[string][]byte // committed; values are never written to
	committed    uint64            // the number of the last group that was
	segments     []*segment        // in order of base; the last is active
	dead         []*segment        // replaced or empty, to be unlinked
	toIndex      []*segment        // sealed and without an index of their own yet
	damage       map[uint64]bool   // sequences of blocks already counted as damaged
	stateBehind  bool              // entries behind the checkpoint are missing
	stateLost    bool              // there was no checkpoint to be read
	sequence     uint64            // of the next entry; only the committer moves it
	checkpointed uint64            // entries up to here are in state.db
	interrupted  bool              // the process before did not end properly; set at the opening
	ended        uint64            // base of a segment that an opening found without room for the next; set at the opening
	latest       int64             // the highest time seen, by which ages are told
	begun        int64             // the store's time less what has elapsed; set at the opening
	limit        int64             // bytes the segments may use
	byDisk       bool              // the disk sets that limit, not MaxSize
	full         bool              // over limit, and nothing may be taken
	hard         bool              // the disk refuses
	refusal      error             // what it says then
	lagging      bool              // a cursor has moved over what retention had taken, and there was no checkpoint since
	changed      chan struct{}     // closed and replaced at each commit

	active  *segment // the committer's own; replaced under mu; nil while the disk has had no room for one since the opening
	arrival int64    // the committer's own
	suspect bool     // the committer's own: the outcome of the last commit is unknown
	padded  uint64   // the committer's own: the sequence that the last commit's padding follows, 0 without
	padding uint64   // the same of the commit being built

	stateRoom []byte // the committer's own: memory for entries of state

	rotate      atomic.Bool  // end the active segment before its time
	dirtySince  atomic.Int64 // since when state waits for a commit; 0: none does
	writing     atomic.Int64 // since when a commit waits for the disk; 0: none does
	checkpoint  *file
	unsure      bool          // what became of the last checkpoint; guarded by maintenance
	look        bool          // nothing is written: the store is only looked at
	wrong       []Problem     // that Open found; only Check asks
	maintenance sync.Mutex    // one round at a time
	stating     sync.Mutex    // held while a commit has state on its way: a checkpoint that had newer would be overruled by it
	work        chan struct{} // capacity 1: wakes maintenance
	closing     atomic.Bool
	closed      chan struct{}
	done        sync.WaitGroup

	commitTx func(*bbolt.Tx) error          // tests make it fail
	reached  func(point string)             // tests end the process there
	free     func(dir string) (int64, bool) // tests make the disk small
}

// Open opens the data directory, made when absent, and everything in it that
// can be read; what is damaged is set aside and reported, never a reason to
// refuse. It returns ErrInUse, naming the holder, if another process has the
// directory, and ErrFormat if a newer runnel wrote it.
func Open(o Options) (*Store, error) {
	begun := time.Now()
	o.defaults()
	dir, err := openDirectory(o.Dir)
	if err != nil {
		return nil, err
	}
	s := newStore(o, dir)
	if err := s.load(); err != nil {
		s.closeFiles()
		return nil, errors.Join(err, dir.release())
	}
	for _, g := range s.segments {
		g.giveBack()
	}
	s.drawEpoch()
	s.noteGaps()
	s.publishGauges()
	records := uint64(0)
	for _, st := range s.streams {
		records += st.records
	}
	s.measure()
	s.events.opened(o.Dir, len(s.segments), len(s.streams), records, time.Since(begun))
	s.done.Go(s.runCommitter)
	s.done.Go(s.runMaintenance)
	s.nudge()
	return s, nil
}

// newStore is a store that knows of nothing yet.
func newStore(o Options, dir *directory) *Store {
	s := &Store{
		options: o, dir: dir, events: newEvents(o.Log), metrics: newMeters(o.Metrics),
		streams: map[string]*stream{}, cursors: map[cursorKey]*cursor{}, accounts: map[string][]byte{}, damage: map[uint64]bool{},
		limit: math.MaxInt64, settled: settled(), changed: make(chan struct{}), work: make(chan struct{}, 1), closed: make(chan struct{}),
		commitTx: transactCommit, reached: o.Reached, free: available,
	}
	s.epochs.written = sync.NewCond(&s.mu)
	s.kept.reset()
	s.recent.byKey = map[recentKey]recentBlock{}
	s.intake = intake{gates: map[string]*gate{}, group: newGroup(1), room: make(chan struct{}), wake: make(chan struct{}, 1)}
	return s
}

// point marks a place at which tests end the process.
func (s *Store) point(name string) {
	if s.reached != nil {
		s.reached(name)
	}
}

// stream returns the stream of that name, made when it is new. s.mu is held.
func (s *Store) stream(name string) *stream {
	st := s.streams[name]
	if st == nil {
		st = &stream{name: name, first: 1, next: 1, policy: s.options.Policy(name)}
		st.gate = &gate{stream: st}
		st.gate.onFull.Store(uint32(st.policy.OnFull))
		st.counter = s.metrics.records(name)
		s.streams[name] = st
		s.publishStream(st)
	}
	return st
}

// Identity returns the agent's id, and how often its history may have forked, from
// 1: that is more by one where the newest state was lost. Under what its records were written, Epoch says.
func (s *Store) Identity() (agent [16]byte, fork uint32) { return s.identity.agent, s.identity.fork }

// SetPolicy replaces every stream's policy, as after a reload.
func (s *Store) SetPolicy(policy func(stream string) Policy) {
	if policy == nil {
		policy = func(string) Policy { return Policy{} }
	}
	s.mu.Lock()
	s.options.Policy = policy
	for _, st := range s.streams {
		st.policy = policy(st.name)
		st.gate.onFull.Store(uint32(st.policy.OnFull))
	}
	s.setGates()
	s.mu.Unlock()
	s.nudge()
}

// Close commits what is staged, writes a checkpoint and gives the directory
// back. Receipts that a failing disk keeps open are fulfilled with ErrClosed.
func (s *Store) Close() error {
	if s.closing.Swap(true) {
		return ErrClosed
	}
	if s.look {
		s.closeFiles()
		return s.dir.release()
	}
	s.intake.mu.Lock()
	s.intake.closed = true
	close(s.intake.room)
	s.intake.room = make(chan struct{})
	s.intake.mu.Unlock()
	s.intake.signal()
	close(s.closed)
	s.done.Wait()
	s.mu.Lock()
	s.setGates() // what was dropped since the last commit is to be remembered
	s.mu.Unlock()
	err := s.checkpointOrReserve()
	if err != nil {
		err = fmt.Errorf("write checkpoint: %w", err)
	}
	s.metrics.forget()
	s.closeFiles()
	return errors.Join(err, s.dir.release())
}

// closeFiles closes every bbolt file, waiting for readers that are inside.
func (s *Store) closeFiles() {
	s.mu.Lock()
	files := append(append([]*segment(nil), s.segments...), s.dead...)
	s.mu.Unlock()
	for _, g := range files {
		g.close()
	}
	if s.checkpoint != nil {
		s.checkpoint.close()
	}
}
