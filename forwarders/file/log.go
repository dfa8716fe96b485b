package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// errAbandoned fails the Acks of a file that was given up before their sync.
var errAbandoned = errors.New("file was given up before it was synced")

// logFile is one open file and how much of it is durable.
type logFile struct {
	file *os.File
	path string
	size int64 // where the next line goes; only Deliver changes it

	mu sync.Mutex
	// guarded by mu:
	written int64 // size, for sync
	durable int64 // bytes known to be on disk
	broken  error // of the first sync that failed; nothing after durable can be trusted then
}

// openLog opens or makes the file at path, locks it against other writers of
// this kind, cuts off a torn last line, and syncs what it found: nobody knows
// whether that ever reached the disk.
func openLog(path string) (*logFile, error) {
	_, statErr := os.Lstat(path)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|openFlags, 0o600)
	if err != nil {
		return nil, err
	}
	l := &logFile{file: f, path: path}
	if err := l.prepare(errors.Is(statErr, os.ErrNotExist)); err != nil {
		_ = f.Close() // the first error says more
		return nil, err
	}
	return l, nil
}

func (l *logFile) prepare(made bool) error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	if err := lock(l.file); err != nil {
		return fmt.Errorf("another writer has it: %w", err)
	}
	l.size, err = wholeLines(l.file, info.Size())
	if err != nil {
		return err
	}
	l.written = l.size
	if l.size != info.Size() {
		if err := l.file.Truncate(l.size); err != nil {
			return err
		}
	}
	if err := l.sync(); err != nil {
		return err
	}
	if made {
		return syncFolder(l.path)
	}
	return nil
}

// wholeLines returns how many of the first size bytes end with the last line
// feed. What follows it was torn by a crash before it was acknowledged, and
// will be delivered again.
func wholeLines(f io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		from := max(0, end-int64(len(buf)))
		chunk := buf[:end-from]
		if _, err := f.ReadAt(chunk, from); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(chunk, '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		end = from
	}
	return 0, nil
}

// write appends p and returns the offset that must be durable for p to be.
func (l *logFile) write(p []byte) (int64, error) {
	if _, err := l.file.Write(p); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size += int64(len(p))
	l.written = l.size
	return l.size, nil
}

// sync makes everything written so far durable. After one failure it fails for
// ever: the kernel may have dropped the pages, and a second sync would say that
// all is well.
func (l *logFile) sync() error {
	l.mu.Lock()
	written, broken := l.written, l.broken
	l.mu.Unlock()
	if broken != nil {
		return broken
	}
	err := l.file.Sync()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = err
	}
	if l.broken != nil {
		return l.broken // also where abandon has cut the file meanwhile
	}
	l.durable = max(l.durable, written)
	return nil
}

// onDisk reports whether everything before end is durable.
func (l *logFile) onDisk(end int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable >= end
}

// failed reports whether a sync has failed.
func (l *logFile) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken != nil
}

// moved reports whether path names another file by now, or none, or whether
// this one was cut short underneath (logrotate's copytruncate).
func (l *logFile) moved() bool {
	there, err := os.Stat(l.path)
	if err != nil {
		return true
	}
	here, err := l.file.Stat()
	return err != nil || !os.SameFile(there, here) || here.Size() < l.size
}

// close closes the file; what is not durable by now never will be as far as
// anyone is told, so there is no error to act on.
func (l *logFile) close() { _ = l.file.Close() }

// abandon closes l and cuts off what is not durable. A failure to cut costs
// duplicates, never records.
func (l *logFile) abandon() {
	l.mu.Lock()
	if l.broken == nil {
		l.broken = errAbandoned
	}
	durable := l.durable
	l.mu.Unlock()
	if info, err := l.file.Stat(); err == nil && info.Size() > durable {
		_ = l.file.Truncate(durable)
	}
	l.close()
}

// rotate renames path to path.1, path.1 to path.2 and so on, keeping at most
// keep of them; with keep 0 the file is removed.
func rotate(path string, keep int) error {
	name := func(i int) string { return path + "." + strconv.Itoa(i) }
	if keep == 0 {
		return os.Remove(path)
	}
	for i := keep - 1; i >= 1; i-- {
		if err := os.Rename(name(i), name(i+1)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(path, name(1)); err != nil {
		return err
	}
	return syncFolder(path)
}

// syncFolder makes the name of a new or renamed file durable.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
