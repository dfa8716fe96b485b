package storage

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
)

// guarded runs f over mapped pages that may be damaged: what bbolt asserts and
// what the processor faults on comes back as errDamaged.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return f()
}

// file is a bbolt file whose pages may fault at any time, as when it is
// truncated under us. bbolt leaves its locks taken when it panics in the wrong
// place; file sees to it that nobody waits for them.
type file struct {
	db *bbolt.DB

	beginning sync.Mutex   // held while a transaction begins
	broken    atomic.Bool  // bbolt panicked where it holds locks: begin no more, never close
	touched   atomic.Int64 // bytes mapped in since its pages were last given back
	mapped    int64        // bytes that are mapped for certain, whatever the file says of its size
}

// giveBackEvery is how many bytes of a file are read through its mapping before
// its pages leave the process again. The kernel keeps them cached; without this
// they count as the agent's memory, a whole segment at full rate.
const giveBackEvery = 4 << 20

// commitTouches is what a commit maps in, about: a few pages, and what the kernel
// maps around each.
const commitTouches = 128 << 10

// touch counts n bytes read through the mapping.
func (f *file) touch(n int) {
	if f.touched.Add(int64(n)) >= giveBackEvery {
		f.giveBack()
	}
}

// giveBack takes the pages of the file out of the process, as far as the file
// says that it reaches now. One that was cut short says more than is mapped, and the
// kernel would empty whatever lies behind the mapping, the Go runtime's own memory too.
func (f *file) giveBack() {
	f.touched.Store(0)
	// The transaction keeps bbolt from mapping the file anew meanwhile.
	f.view(func(tx *bbolt.Tx) error { //nolint:errcheck // a damaged file shows itself to its readers
		giveBack(f.db.Info().Data, min(tx.Size(), f.mapped))
		return nil
	})
}

// begin starts a transaction.
func (f *file) begin(writable bool) (tx *bbolt.Tx, err error) {
	f.beginning.Lock()
	defer f.beginning.Unlock()
	if f.broken.Load() {
		return nil, errDamaged
	}
	err = guarded(func() (err error) {
		tx, err = f.db.Begin(writable)
		return err
	})
	if errors.Is(err, errDamaged) {
		f.broken.Store(true)
	}
	return tx, err
}

// view runs read in a transaction.
func (f *file) view(read func(tx *bbolt.Tx) error) error {
	tx, err := f.begin(false)
	if err != nil {
		return err
	}
	err = guarded(func() error { return read(tx) })
	if rolled := guarded(tx.Rollback); rolled != nil {
		f.broken.Store(true)
	}
	return err
}

// update runs write in a transaction and commits it.
func (f *file) update(write func(tx *bbolt.Tx) error) error {
	return f.updateWith(write, transactCommit)
}

// updateWith is update with another way to commit.
func (f *file) updateWith(write, commit func(tx *bbolt.Tx) error) error {
	tx, err := f.begin(true)
	if err != nil {
		return err
	}
	err = guarded(func() error {
		if err := write(tx); err != nil {
			return err
		}
		return commit(tx)
	})
	// Rollback is harmless after Commit, and gives bbolt's lock back after a
	// panic; unless it panics itself.
	if rolled := guarded(tx.Rollback); errors.Is(rolled, errDamaged) {
		f.broken.Store(true)
	}
	if err == nil {
		f.touch(commitTouches)
	}
	return err
}

// transactCommit is how a transaction ends outside tests.
func transactCommit(tx *bbolt.Tx) error { return tx.Commit() }

// close waits for transactions that are open. A broken file stays mapped: its
// locks will never be free.
func (f *file) close() {
	if f.db != nil && !f.broken.Load() {
		_ = guarded(f.db.Close)
	}
}
