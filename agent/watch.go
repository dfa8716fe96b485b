package agent

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settleFor is how long the files of modules must have been left alone before a
// change of them is looked at: a compiler writes one in many steps.
const settleFor = 200 * time.Millisecond

// watch tells when files that modules are made of have changed. Folders are
// watched, not files, as most programs put a new file in the place of the old
// (and a mounted config map swaps a link).
type watch struct {
	watcher *fsnotify.Watcher // nil: this system watches nothing
	changed chan struct{}     // capacity 1: one change stands for any number
}

func newWatch() (*watch, error) {
	watcher, err := fsnotify.NewWatcher()
	return &watch{watcher: watcher, changed: make(chan struct{}, 1)}, err
}

// follow watches the folders of these files and no others.
func (w *watch) follow(files []string) error {
	if w.watcher == nil {
		return nil
	}
	var folders []string
	for _, file := range files {
		folders = append(folders, filepath.Dir(file))
		if real, err := filepath.EvalSymlinks(file); err == nil {
			folders = append(folders, filepath.Dir(real))
		}
	}
	for _, folder := range w.watcher.WatchList() {
		if !slices.Contains(folders, folder) {
			_ = w.watcher.Remove(folder) // it may have gone by itself
		}
	}
	for _, folder := range folders {
		if err := w.watcher.Add(folder); err != nil {
			return err
		}
	}
	return nil
}

// close ends the watching.
func (w *watch) close() error {
	if w == nil || w.watcher == nil {
		return nil
	}
	return w.watcher.Close()
}

// run reports changes until ctx ends, each once nothing more has happened for a while.
func (w *watch) run(ctx context.Context) {
	if w.watcher == nil {
		return
	}
	quiet := time.NewTimer(time.Hour)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			if e.Op != fsnotify.Chmod {
				quiet.Reset(settleFor)
			}
		case <-w.watcher.Errors: // events were lost: look
			quiet.Reset(settleFor)
		case <-quiet.C:
			select {
			case w.changed <- struct{}{}:
			default:
			}
		}
	}
}

// refresh replaces the modules whose files have changed, and nothing else: the
// configuration's own file is not read, which may be half edited. On an error the
// running modules stay.
func (a *Agent) refresh(ctx context.Context) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	a.mu.Lock()
	running, stopping := a.config, a.stopping
	a.mu.Unlock()
	if stopping {
		return
	}
	next := *running
	next.Modules = slices.Clone(running.Modules)
	var names []string
	again := true // all of it has been refused before
	for i := range next.Modules {
		m := &next.Modules[i]
		if digest := m.digest(); digest != m.Digest {
			m.Digest = digest
			names = append(names, m.Name)
			again = again && a.refused[m.Name].digest == digest
		} else {
			delete(a.refused, m.Name) // it is as it was again
		}
	}
	if len(names) == 0 || again {
		return
	}
	b, err := a.prepare(ctx, &next)
	if err == nil && ctx.Err() != nil {
		a.discard(b)
		return
	}
	if err != nil {
		for i := range next.Modules {
			if m := &next.Modules[i]; slices.Contains(names, m.Name) {
				a.refuse(m, err)
			}
		}
		a.events.swapRefused(names, err)
		return
	}
	a.adopt(b)
	a.events.swapped(names)
}

// refusal is why a module's file, as it is now, does not run.
type refusal struct {
	digest string
	err    error
}

// refuse notes that the file of a running module cannot be used: the next start
// would fail on it, so status says so until it is mended.
func (a *Agent) refuse(m *ModuleConfig, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused[m.Name] = refusal{m.Digest, err}
}

// moduleFiles are the files that the modules of a configuration are made of.
func (c *Config) moduleFiles() (files []string) {
	for i := range c.Modules {
		files = append(files, c.Modules[i].files()...)
	}
	return files
}
