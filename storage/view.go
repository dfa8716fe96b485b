package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrNoStore: there is no data directory of a runnel at that place.
var ErrNoStore = errors.New("no runnel data directory")

// View opens a data directory to be looked at: nothing in it is changed, and
// nothing can be appended. What is damaged is served as Open would. It returns
// ErrInUse, naming the holder, while an agent has the directory.
func View(o Options) (*Store, error) {
	o.defaults()
	dir, err := lookAt(o.Dir)
	if err != nil {
		return nil, err
	}
	s := newView(o, dir)
	if err := s.load(); err != nil {
		s.closeFiles()
		return nil, errors.Join(err, dir.release())
	}
	return s, nil
}

// ViewFile opens one segment, wherever it lies, as from quarantine. Its records
// are read from its pages one by one, whatever bbolt would say.
func ViewFile(o Options, path string) (*Store, error) {
	o.defaults()
	base, generation, ok := segmentOf(path)
	if !ok {
		return nil, fmt.Errorf("%s: the name is not that of a segment", path)
	}
	r, err := scavenge(path, base)
	if err != nil {
		return nil, err
	}
	s := newView(o, &directory{root: filepath.Dir(path)})
	g := &segment{base: base, generation: generation, path: path, last: base - 1, sealed: true}
	g.size.Store(r.pages.size)
	g.salvage.found.Store(r)
	s.segments = []*segment{g}
	s.stateLost = true // what came before this file is not missing
	s.replay()
	return s, nil
}

// segmentOf is parseSegmentName for a file that may have a number behind its name, as
// a second one in quarantine has.
func segmentOf(path string) (base uint64, generation uint32, ok bool) {
	name := filepath.Base(path)
	if base, generation, ok = parseSegmentName(name); !ok {
		base, generation, ok = parseSegmentName(name[:len(name)-len(filepath.Ext(name))])
	}
	return base, generation, ok
}

func newView(o Options, dir *directory) *Store {
	s := newStore(o, dir)
	s.look = true
	s.intake.closed = true
	s.closing.Store(false)
	return s
}

// lookAt takes the lock of a data directory without writing to it.
func lookAt(root string) (*directory, error) {
	d := &directory{root: root}
	if _, err := os.Stat(d.segments()); err != nil {
		return nil, fmt.Errorf("%s: %w", root, ErrNoStore)
	}
	f, err := os.OpenFile(filepath.Join(root, "lock"), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return d, nil // a copy, perhaps
	}
	if err != nil {
		return nil, err
	}
	return d, d.holdFile(f)
}

// Quarantined lists the files that were set aside, damaged.
func Quarantined(dir string) ([]string, error) {
	d := &directory{root: dir}
	files, err := os.ReadDir(d.quarantine())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var paths []string
	for _, f := range files {
		paths = append(paths, filepath.Join(d.quarantine(), f.Name()))
	}
	return paths, err
}
