//go:build integration

package storage

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// inode is a file as a power loss sees it: what is on the disk for certain, and the
// writes that may be or not. Names are another matter.
type inode struct {
	durable []byte
	pending []wrote
}

// wrote is one write, or a change of length (data nil).
type wrote struct {
	at   int64
	data []byte
}

func (w *wrote) apply(b []byte) []byte {
	if w.data == nil {
		if int64(len(b)) > w.at {
			return b[:w.at]
		}
		return append(b, make([]byte, w.at-int64(len(b)))...)
	}
	if end := w.at + int64(len(w.data)); int64(len(b)) < end {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[w.at:], w.data)
	return b
}

// named is a change of names: file appears at to, and leaves from, where those are not empty.
type named struct {
	from, to string
	file     *inode
}

// machine is a computer that may lose its power: it replays what strace saw.
type machine struct {
	t       *testing.T
	root    string
	names   map[string]*inode // as the running system sees them
	durable map[string]*inode // as the disk does
	pending []named           // in order: a journal keeps that
	acked   map[string]uint64
	crash   func(m *machine) // called wherever power may be lost
}

var (
	call   = regexp.MustCompile(`^(\w+)\((.*)\)\s+= (-?\d+)`)
	quoted = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
	angled = regexp.MustCompile(`^(\d+)<((?:\\x[0-9a-f]{2})*)>`)
)

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, `\x`, ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replay runs the trace.
func (m *machine) replay(trace string) {
	halves := map[string]string{}
	covered := map[string]int{} // by thread: the writes that its sync covers
	for line := range strings.Lines(trace) {
		pid, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		if first, ok := strings.CutSuffix(rest, "<unfinished ...>"); ok {
			halves[pid] = first
			if file := m.synced(first); file != nil {
				covered[pid] = len(file.pending)
			}
			continue
		}
		if _, second, ok := strings.Cut(rest, " resumed>"); ok && strings.HasPrefix(rest, "<...") {
			rest = strings.TrimSpace(halves[pid]) + second
		} else if file := m.synced(rest); file != nil {
			covered[pid] = len(file.pending)
		}
		if found := call.FindStringSubmatch(rest); found != nil && !strings.HasPrefix(found[3], "-") {
			m.do(found[1], found[2], covered[pid])
		}
	}
}

// synced returns the file that a call syncs; nil if it is another call, or a folder.
func (m *machine) synced(line string) *inode {
	name, args, _ := strings.Cut(line, "(")
	if name != "fsync" && name != "fdatasync" {
		return nil
	}
	return m.names[m.path(args)]
}

// path returns the path of the descriptor that args begin with, below root.
func (m *machine) path(args string) string {
	found := angled.FindStringSubmatch(args)
	if found == nil {
		return ""
	}
	return m.below(string(unhex(m.t, found[2])))
}

func (m *machine) below(path string) string {
	if path, ok := strings.CutPrefix(path, m.root); ok {
		return path
	}
	return ""
}

// numbersIn returns the plain numbers at the end of a call's arguments.
func numbersIn(args string) (numbers []int64) {
	for _, field := range strings.Split(args[strings.LastIndexByte(args, '"')+1:], ",") {
		if n, err := strconv.ParseInt(strings.TrimSpace(field), 10, 64); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// do applies one call.
func (m *machine) do(name, args string, covered int) {
	path := m.path(args)
	file := m.names[path]
	var texts []string
	for _, found := range quoted.FindAllStringSubmatch(args, -1) {
		texts = append(texts, string(unhex(m.t, found[1])))
	}
	switch name {
	case "write":
		if strings.HasPrefix(args, "1<") {
			acksOf(m.t, strings.NewReader(texts[0]), m.acked)
		} else if file != nil {
			file.pending = append(file.pending, wrote{int64(len(file.now())), []byte(texts[0])})
		}
	case "pwrite64":
		if n := numbersIn(args); file != nil {
			file.pending = append(file.pending, wrote{n[len(n)-1], []byte(texts[0])})
		}
	case "ftruncate":
		if file != nil {
			_, length, _ := strings.Cut(args, ", ")
			n, _ := strconv.ParseInt(length, 10, 64)
			file.pending = append(file.pending, wrote{n, nil})
		}
	case "openat":
		path := m.below(texts[0])
		if path == "" || !strings.Contains(args, "O_CREAT") {
			return
		}
		if m.names[path] == nil {
			m.change(named{to: path, file: &inode{}})
		} else if strings.Contains(args, "O_TRUNC") {
			m.names[path].pending = append(m.names[path].pending, wrote{0, nil})
		}
	case "renameat":
		m.change(named{m.below(texts[0]), m.below(texts[1]), m.names[m.below(texts[0])]})
	case "unlinkat":
		m.change(named{from: m.below(texts[0])})
	case "linkat":
		m.change(named{to: m.below(texts[1]), file: m.names[m.below(texts[0])]})
	case "fsync", "fdatasync":
		m.crash(m)
		if file == nil { // a folder
			for i := range m.pending {
				m.pending[i].apply(m.durable)
			}
			m.pending = nil
			return
		}
		for i := range covered {
			file.durable = file.pending[i].apply(file.durable)
		}
		file.pending = slices.Clone(file.pending[covered:])
	}
}

func (m *machine) change(n named) {
	n.apply(m.names)
	m.pending = append(m.pending, n)
}

func (n *named) apply(names map[string]*inode) {
	if n.from != "" {
		delete(names, n.from)
	}
	if n.to != "" {
		names[n.to] = n.file
	}
}

// now is the file as the running system sees it.
func (f *inode) now() []byte {
	b := slices.Clone(f.durable)
	for i := range f.pending {
		b = f.pending[i].apply(b)
	}
	return b
}

// choice says which of the pending writes and changes of names reached the disk.
type choice struct {
	what  string
	takes func(i int) bool
	torn  func(i int, w *wrote) *wrote // nil: writes are whole
}

// choices are the states in which a power loss can leave n pending changes.
func choices(r *rand.Rand, n int, torn []int) (all []choice) {
	add := func(what string, takes func(int) bool) { all = append(all, choice{what, takes, nil}) }
	add("none", func(int) bool { return false })
	add("all", func(int) bool { return true })
	for k := range n {
		add(fmt.Sprintf("all but %d", k), func(i int) bool { return i != k })
		add(fmt.Sprintf("only %d", k), func(i int) bool { return i == k })
	}
	for range 32 {
		seed := r.Uint64()
		add(fmt.Sprintf("random %d", seed), func(i int) bool { return rand.New(rand.NewPCG(seed, uint64(i))).IntN(2) == 0 })
	}
	for _, k := range torn {
		for part, what := range []string{"the first 512 bytes", "all but the first 512 bytes"} {
			all = append(all, choice{fmt.Sprintf("all, of %d %s", k, what), func(int) bool { return true }, func(i int, w *wrote) *wrote {
				if i != k {
					return w
				}
				if part == 0 {
					return &wrote{w.at, w.data[:512]}
				}
				return &wrote{w.at + 512, w.data[512:]}
			}})
		}
	}
	return all
}

// files returns the files with pending writes, in order of name, but for those
// whose content does not matter.
func (m *machine) files() (names []string) {
	for name, f := range m.names {
		if len(f.pending) > 0 && name != "/store/reserve" && name != "/lock" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// leave writes the directory as the choice leaves it.
func (m *machine) leave(dir string, c choice) {
	m.t.Helper()
	left := map[*inode][]byte{}
	i := 0
	for _, name := range m.files() {
		f := m.names[name]
		b := slices.Clone(f.durable)
		for k := range f.pending {
			if w := &f.pending[k]; c.takes(i) {
				if c.torn != nil {
					w = c.torn(i, w)
				}
				b = w.apply(b)
			}
			i++
		}
		left[f] = b
	}
	names := maps.Clone(m.durable)
	last := -1 // a journal keeps the order: what was chosen last takes all before it along
	for k := range m.pending {
		if c.takes(i + k) {
			last = k
		}
	}
	for k := 0; k <= last; k++ {
		m.pending[k].apply(names)
	}
	for name, f := range names {
		b, ok := left[f]
		if !ok {
			b = f.durable
		}
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

// stand has the machine begin with what is in the directory, all of it durable.
func (m *machine) stand(dir string) {
	m.t.Helper()
	m.names, m.pending = map[string]*inode{}, nil
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		m.names[m.below(path)] = &inode{durable: b}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	m.durable = maps.Clone(m.names)
}

// TestAPowerLossLeavesWhatWasAcknowledged replays a workload, and again on what it
// left, loses power before each sync completes, and opens every state that the
// writes since then can have left.
func TestAPowerLossLeavesWhatWasAcknowledged(t *testing.T) {
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(seed, 0))
	root := tmpfs(t)
	states, epochs, possible, runs := 0, 0, 0, 2
	if soak {
		runs = 4
	}
	m := &machine{t: t, root: filepath.Join(root, "whole"), acked: map[string]uint64{}}
	m.crash = func(m *machine) {
		epochs++
		changes, torn := m.changes()
		for _, c := range choices(r, changes, torn) {
			if possible++; !soak && r.IntN(20) != 0 {
				continue
			}
			states++
			dir := filepath.Join(root, "state")
			m.leave(dir, c)
			if err := wantAcked(dir, m.acked, false); err != nil {
				t.Fatalf("sync %d, %s: %v", epochs, c.what, err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range runs {
		m.stand(m.root)
		out, trace := traced(t, m.root, time.Minute, "-y", "-xx", "-s", "16777216",
			"-e", "trace=openat,pwrite64,write,ftruncate,fdatasync,fsync,renameat,unlinkat,linkat")
		if !acksOf(t, bytes.NewReader(out), map[string]uint64{}) {
			t.Fatalf("the workload does not end by itself: %s", out)
		}
		m.replay(trace)
		for name, f := range m.names { // the machine is right about what ran
			if b, err := os.ReadFile(filepath.Join(m.root, name)); err != nil || !bytes.Equal(b, f.now()) {
				t.Fatalf("%s is not what was replayed: %v", name, err)
			}
		}
	}
	t.Logf("%d states of %d, before %d syncs", states, possible, epochs)
	if want := map[bool]int{false: 100, true: 10_000}[soak]; states < want || m.acked["a"] == 0 {
		t.Errorf("%d states of %d, and %v acknowledged: too little was tried", states, want, m.acked)
	}
}

// changes returns how many changes are pending, and which of them write a meta page.
func (m *machine) changes() (n int, torn []int) {
	for _, name := range m.files() {
		for _, w := range m.names[name].pending {
			if len(w.data) == 4096 && w.at < 8192 {
				torn = append(torn, n)
			}
			n++
		}
	}
	return n + len(m.pending), torn
}
