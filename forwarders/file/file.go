// Package file appends records to one file and syncs it before it acknowledges
// them. It repairs a line torn by a crash, notices when another program has
// moved the file away, and can rotate by size. Nothing in a record may name the
// file or any part of its path; only the config does.
package file

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
)

//go:embed sample.yaml
var sample string

// Kind is the file forwarder.
var Kind = forwarders.Kind{
	Name:    "file",
	Sample:  sample,
	Options: func() config.Options { return &Options{Format: forwarders.JSON, Keep: 5} },
	New: func(o config.Options, s forwarders.Setup) (forwarders.Forwarder, error) {
		return newForwarder(*o.(*Options), s), nil
	},
}

// Options is the forwarder's part of the config.
type Options struct {
	Path    string       `yaml:"path" required:"true"`
	Format  string       `yaml:"format" oneof:"json text raw"`
	MaxSize config.Bytes `yaml:"max_size"` // 0: never rotate
	Keep    int          `yaml:"keep"`     // rotated files
}

// minRotation keeps a typing error from rotating at every batch.
const minRotation = 64 << 10

// Check reports a folder that does not exist, a path that is no plain file, and
// sizes that make no sense; it makes Path absolute to the config file's folder.
func (o *Options) Check(at *config.At) {
	if o.Path != "" {
		o.Path = at.File(o.Path)
		o.checkPath(at.Key("path"))
	}
	if o.MaxSize != 0 && o.MaxSize < minRotation {
		at.Key("max_size").Problemf("%d bytes is too small a file; write 64KiB or more, or 0 for no rotation", o.MaxSize)
	}
	if o.Keep < 0 || o.Keep > 1000 {
		at.Key("keep").Problemf("%d rotated files cannot be kept; write 0 to 1000", o.Keep)
	}
}

func (o *Options) checkPath(at *config.At) {
	folder := filepath.Dir(o.Path)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		at.Problemf("folder %q does not exist; make it, or write another path", folder)
		return
	}
	if info, err := os.Stat(o.Path); err == nil && !info.Mode().IsRegular() {
		at.Problemf("%q is not a regular file; write the path of a file, or use type stdout", o.Path)
	}
}

// Forwarder appends to one file. Deliver alone opens, writes, rotates and
// repairs; Acks only sync.
type Forwarder struct {
	options Options
	agent   string
	lines   forwarders.Lines
	buf     []byte // encoded batch, reused

	mu sync.Mutex
	// guarded by mu:
	log    *logFile // nil until the first Deliver, and after an error
	closed bool
}

func newForwarder(o Options, s forwarders.Setup) *Forwarder {
	return &Forwarder{options: o, agent: s.Agent, lines: forwarders.Lines{Format: o.Format}}
}

// Deliver appends b. The Ack syncs the file, so that one sync covers every
// batch written before it.
func (f *Forwarder) Deliver(ctx context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.buf = f.lines.Append(f.buf[:0], b, f.agent)
	log, err := f.ready(int64(len(f.buf)))
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", f.options.Path, err)
	}
	end, err := log.write(f.buf)
	if err != nil {
		f.drop(log)
		return nil, fmt.Errorf("file %s: %w", f.options.Path, err)
	}
	return &ack{path: f.options.Path, log: log, end: end, records: b.Records.Len()}, nil
}

// ready returns the file to append size bytes to: opened if need be, again if
// it was moved away, and rotated if it would grow too large.
func (f *Forwarder) ready(size int64) (*logFile, error) {
	log, err := f.current()
	if err != nil {
		return nil, err
	}
	if log != nil && log.failed() {
		// What was written since the last good sync is cut off and will be offered
		// again from its first record; this batch, written now, would come before it.
		f.drop(log)
		return nil, errUnsynced
	}
	if log != nil && log.moved() {
		if err := f.retire(log); err != nil {
			return nil, err
		}
		log = nil
	}
	if most := int64(f.options.MaxSize); log != nil && most > 0 && log.size > 0 && log.size+size > most {
		if err := f.retire(log); err != nil {
			return nil, err
		}
		if err := rotate(f.options.Path, f.options.Keep); err != nil {
			return nil, err
		}
		log = nil
	}
	if log != nil {
		return log, nil
	}
	return f.open()
}

// current returns the open file, nil if there is none.
func (f *Forwarder) current() (*logFile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, os.ErrClosed
	}
	return f.log, nil
}

func (f *Forwarder) open() (*logFile, error) {
	log, err := openLog(f.options.Path)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		log.close()
		return nil, os.ErrClosed
	}
	f.log = log
	return log, nil
}

// retire syncs and closes a file that is full or was moved away, so that Acks
// still open on it find everything durable.
func (f *Forwarder) retire(log *logFile) error {
	if err := log.sync(); err != nil {
		f.drop(log)
		return err
	}
	f.forget()
	log.close()
	return nil
}

// drop gives a file up after an error: what is not durable is cut off again,
// because all of it will be offered again.
func (f *Forwarder) drop(log *logFile) {
	f.forget()
	log.abandon()
}

func (f *Forwarder) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = nil
}

// Close closes the file. Acks that are still open fail.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.log != nil {
		f.log.close()
		f.log = nil
	}
	return nil
}

// errUnsynced refuses a batch that would overtake those lost to a failed sync.
var errUnsynced = errors.New("an earlier sync failed; starting again from the first record that is not on disk")

// ack waits for a batch by syncing the file.
type ack struct {
	path    string
	log     *logFile
	end     int64
	records int
}

// Wait syncs the file unless an earlier sync has covered the batch already.
func (a *ack) Wait(ctx context.Context) (int, error) {
	if a.log.onDisk(a.end) {
		return a.records, nil
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	err := a.log.sync()
	if a.log.onDisk(a.end) {
		return a.records, nil // by this sync, or by the one that Deliver made before it rotated
	}
	return 0, fmt.Errorf("file %s: %w", a.path, err)
}
