package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// The buckets of a segment file.
var (
	bucketMeta  = []byte("meta")
	bucketLog   = []byte("log")
	bucketIndex = []byte("index")
)

var (
	keyFormat     = []byte("format")
	keyBase       = []byte("base")
	keyEnd        = []byte("end")
	keyEnded      = []byte("ended")
	keyGeneration = []byte("generation")
	keySequence   = []byte("sequence")
	keyAgent      = []byte("agent")
	keyHeads      = []byte("heads")
	keySum        = []byte("sum")
)

// segment is one bbolt file. It holds the entries whose sequences begin at
// base and end before the next segment's base. Of two with one base the
// higher generation counts.
type segment struct {
	base       uint64
	generation uint32
	end        uint64 // of a rewritten segment: the last sequence it stands for; else 0
	path       string
	file                    // without a db where bbolt cannot open it
	size       atomic.Int64 // bytes up to bbolt's high-water mark
	salvage    salvage

	// Guarded by Store.mu.
	last   uint64 // the highest sequence it holds or stands for; base-1 when empty
	live   int64  // bytes of blocks that retention has not taken
	blocks int    // how many those are
	held   int64  // how many records are in them
	sealed bool
	busy   bool // being rewritten: retention waits
	closed bool // its file is gone or going

	vacant  bool // it was empty when it was opened
	covered bool // nothing in it was live when the last checkpoint was made
}

// segmentName is where a segment lies; the base in hexadecimal, so that names sort.
func segmentName(dir string, base uint64, generation uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%016x.%04d.seg", base, generation))
}

// parseSegmentName is the inverse of segmentName; ok is false for other files.
func parseSegmentName(name string) (base uint64, generation uint32, ok bool) {
	n, err := fmt.Sscanf(filepath.Base(name), "%016x.%04d.seg", &base, &generation)
	ok = err == nil && n == 2 && filepath.Base(segmentName("", base, generation)) == filepath.Base(name)
	return base, generation, ok
}

func boltOptions(segmentSize int64, readOnly bool) *bbolt.Options {
	o := &bbolt.Options{
		Timeout:      time.Second,
		FreelistType: bbolt.FreelistMapType,
		ReadOnly:     readOnly,
		NoStatistics: true,
	}
	if !readOnly {
		// Growing past the mapping would wait for every reader.
		o.InitialMmapSize = int(2 * segmentSize) // file.mapped counts on it
	}
	return o
}

// createSegment makes an empty segment that is durable under its name when it
// returns: temporary file, fsync, rename, fsync of the directory.
func createSegment(dir string, base uint64, generation uint32, segmentSize int64) (*segment, error) {
	g, err := newSegmentFile(dir, base, generation, 0, segmentSize)
	if err != nil {
		return nil, err
	}
	return g, g.settle()
}

// newSegmentFile makes an empty segment under a temporary name, which every
// opening removes. end is the last sequence that a rewritten segment stands
// for, 0 for one that is to be appended to.
func newSegmentFile(dir string, base uint64, generation uint32, end uint64, segmentSize int64) (*segment, error) {
	path := segmentName(dir, base, generation)
	if err := os.Remove(path + temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	db, err := bbolt.Open(path+temporary, 0o600, boltOptions(segmentSize, false))
	if err != nil {
		os.Remove(path + temporary) // it may lie there in part
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(bucketMeta)
		if err != nil {
			return err
		}
		if _, err = tx.CreateBucket(bucketLog); err != nil {
			return err
		}
		return errors.Join(
			meta.Put(keyFormat, binary.BigEndian.AppendUint32(nil, Version)),
			meta.Put(keyBase, binary.BigEndian.AppendUint64(nil, base)),
			meta.Put(keyEnd, binary.BigEndian.AppendUint64(nil, end)),
			meta.Put(keyGeneration, binary.BigEndian.AppendUint32(nil, generation)))
	})
	if err != nil {
		db.Close()
		os.Remove(path + temporary)
		return nil, err
	}
	return &segment{base: base, generation: generation, path: path, file: file{db: db, mapped: 2 * segmentSize}, last: max(base-1, end), end: end}, nil
}

// temporary ends the name of a file that is not yet part of the store.
const temporary = ".tmp"

// settle gives a new segment its name. bbolt has synced its content.
func (g *segment) settle() error {
	err := os.Rename(g.path+temporary, g.path)
	if err == nil {
		if err = syncDirectory(filepath.Dir(g.path)); err != nil {
			// Or it would stand there empty, and hide what goes on in the one before.
			_ = os.Remove(g.path)
		}
	}
	if err != nil {
		g.discard()
	}
	return err
}

// discard removes a segment that never got its name.
func (g *segment) discard() {
	g.close()
	os.Remove(g.path + temporary)
}

// openSegment opens an existing file. A damaged one gives errDamaged, one of a
// later format ErrFormat.
func openSegment(path string, segmentSize int64, readOnly bool) (*segment, error) {
	base, generation, _ := parseSegmentName(path)
	g := &segment{base: base, generation: generation, path: path, last: base - 1, sealed: readOnly}
	before := sizeOf(path)
	err := guarded(func() (err error) {
		if g.db, err = bbolt.Open(path, 0o600, boltOptions(segmentSize, readOnly)); err != nil {
			return classify(err)
		}
		if g.mapped = min(before, sizeOf(path)); !readOnly {
			g.mapped = max(g.mapped, 2*segmentSize)
		}
		return g.view(func(tx *bbolt.Tx) error {
			g.size.Store(tx.Size())
			meta := tx.Bucket(bucketMeta)
			if meta == nil || tx.Bucket(bucketLog) == nil {
				return fmt.Errorf("%w: buckets are missing", errDamaged)
			}
			format := meta.Get(keyFormat)
			if len(format) != 4 {
				return fmt.Errorf("%w: no format version", errDamaged)
			}
			if v := binary.BigEndian.Uint32(format); v > Version {
				return fmt.Errorf("%w %d; this build reads up to %d, start a newer runnel", ErrFormat, v, Version)
			}
			if end := meta.Get(keyEnd); len(end) == 8 {
				g.end = binary.BigEndian.Uint64(end)
				g.last = max(g.last, g.end)
			}
			raw, err := os.Open(path)
			if err != nil {
				return err
			}
			defer raw.Close()
			return soundTree(raw, g.db.Info().PageSize, uint64(tx.Bucket(bucketLog).Root()))
		})
	})
	if err != nil {
		g.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// sizeOf returns how long a file is, 0 if that cannot be known.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// classify tells what is wrong with the file from what is wrong with the
// system: only the first is damage.
func classify(err error) error {
	var errno syscall.Errno
	var path *os.PathError
	if errors.As(err, &errno) || errors.As(err, &path) || errors.Is(err, berrors.ErrTimeout) {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// sync writes out what an earlier process may have left in the page cache.
func (g *segment) sync() error {
	if g.db == nil {
		return nil
	}
	return g.db.Sync()
}

func sequenceKey(sequence uint64) (key [8]byte) {
	binary.BigEndian.PutUint64(key[:], sequence)
	return key
}

// errMissing: the segment has no such entry.
var errMissing = errors.New("no such entry")

// read appends the entry of that sequence to dst. It holds a read transaction
// only for the copy, since one that lives long keeps bbolt's pages from reuse.
func (g *segment) read(sequence uint64, dst []byte) ([]byte, error) {
	if r := g.salvage.found.Load(); r != nil {
		if entry, err := r.read(sequence, dst); !errors.Is(err, errMissing) {
			return entry, err
		}
	}
	err := g.view(func(tx *bbolt.Tx) error {
		key := sequenceKey(sequence)
		log := tx.Bucket(bucketLog)
		if log == nil {
			return errDamaged
		}
		value := log.Get(key[:])
		if value == nil {
			return errMissing
		}
		dst = append(dst, value...)
		return nil
	})
	g.touch(len(dst))
	return dst, err
}

// scan calls f with every entry in order of sequence. The entry is borrowed
// from the mapping: f copies what it keeps and may fault, which ends the scan.
func (g *segment) scan(f func(sequence uint64, entry []byte) error) error {
	return g.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketLog).ForEach(func(k, v []byte) error {
			if len(k) != 8 {
				return nil
			}
			return f(binary.BigEndian.Uint64(k), v)
		})
	})
}

// close closes the segment's file, however it is read.
func (g *segment) close() {
	g.file.close()
	if r := g.salvage.found.Load(); r != nil {
		r.pages.f.Close()
	}
}
