// Package systemdtest is a small service manager for tests: it keeps the
// descriptors that a process sends to NOTIFY_SOCKET, as systemd's file
// descriptor store does, and hands them to the next process. It decides nothing: a
// test starts and ends the processes.
package systemdtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what it must be told.
const patience = 30 * time.Second

// Manager keeps descriptors.
type Manager struct {
	path string
	room int
	conn *net.UnixConn

	mu   sync.Mutex // guards below
	kept []*os.File // each under its name, in order of coming
	told []string   // every other assignment
	news *sync.Cond
}

// Start returns a manager that keeps at most room descriptors, until the test ends.
func Start(t testing.TB, room int) *Manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // t.TempDir is longer than a socket's path may be, for some tests
	if err != nil {
		t.Fatal(err)
	}
	m := &Manager{path: dir + "/notify", room: room}
	m.news = sync.NewCond(&m.mu)
	if m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(m.run)
	t.Cleanup(func() {
		m.conn.Close()
		wg.Wait()
		for _, f := range m.kept {
			f.Close()
		}
		os.RemoveAll(dir)
	})
	return m
}

// run takes messages until the socket is closed.
func (m *Manager) run() {
	text, rights := make([]byte, 64<<10), make([]byte, syscall.CmsgSpace(4*256))
	for {
		n, r, _, _, err := m.conn.ReadMsgUnix(text, rights)
		if err != nil {
			return
		}
		m.take(string(text[:n]), descriptors(rights[:r]))
	}
}

func descriptors(rights []byte) (fds []int) {
	messages, err := syscall.ParseSocketControlMessage(rights)
	if err != nil {
		return nil
	}
	for i := range messages {
		if some, err := syscall.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, some...)
		}
	}
	return fds
}

// take does what one message says, as systemd does.
func (m *Manager) take(message string, fds []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.news.Broadcast()
	lines := strings.Split(message, "\n")
	name := "stored"
	for _, line := range lines {
		if text, ok := strings.CutPrefix(line, "FDNAME="); ok {
			name = text
		}
	}
	store := slices.Contains(lines, "FDSTORE=1")
	for _, fd := range fds {
		if syscall.CloseOnExec(fd); store && len(m.kept) < m.room {
			m.kept = append(m.kept, os.NewFile(uintptr(fd), name))
		} else {
			syscall.Close(fd) //nolint:errcheck // as systemd: of a barrier, or beyond its room
		}
	}
	if slices.Contains(lines, "FDSTOREREMOVE=1") {
		m.kept = slices.DeleteFunc(m.kept, func(f *os.File) bool { return f.Name() == name && f.Close() == nil })
	}
	if !store {
		m.told = append(m.told, lines...)
	}
}

// Env is the environment of a process that has this manager.
func (m *Manager) Env() []string {
	return []string{"NOTIFY_SOCKET=" + m.path, "FDSTORE=" + strconv.Itoa(m.room)}
}

// Setenv makes the manager this process's.
func (m *Manager) Setenv(t *testing.T) {
	t.Helper()
	for _, assignment := range m.Env() {
		name, value, _ := strings.Cut(assignment, "=")
		t.Setenv(name, value)
	}
}

// Names returns what is kept, in order.
func (m *Manager) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, f := range m.kept {
		names = append(names, f.Name())
	}
	slices.Sort(names)
	return names
}

// Handed returns duplicates of what is kept, as the next process finds them.
func (m *Manager) Handed(t testing.TB) []*os.File {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var files []*os.File
	for _, f := range m.kept {
		raw, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		fd := -1 // f.Fd() would make the socket block in every process that has it
		if raw.Control(func(of uintptr) { fd, err = syscall.Dup(int(of)) }) != nil || err != nil {
			t.Fatal(err)
		}
		syscall.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), f.Name()))
	}
	return files
}

// Command is exec.Command with this manager: NOTIFY_SOCKET, and what is kept from
// descriptor 3 on (sd_listen_fds(3)). The caller closes the ExtraFiles once it has started.
func (m *Manager) Command(t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	files := m.Handed(t)
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	// Only the process itself knows its LISTEN_PID.
	cmd := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, program}, args...)...)
	cmd.ExtraFiles = files
	cmd.Env = append(append(os.Environ(), m.Env()...), fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	return cmd
}

// Told returns how often the manager was told so.
func (m *Manager) Told(assignment string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count(assignment)
}

func (m *Manager) count(assignment string) (n int) {
	for _, line := range m.told {
		if line == assignment {
			n++
		}
	}
	return n
}

// Wait waits until the manager was told so more than already times.
func (m *Manager) Wait(t testing.TB, assignment string, already int) {
	t.Helper()
	late := false
	defer time.AfterFunc(patience, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		late = true
		m.news.Broadcast()
	}).Stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.count(assignment) <= already {
		if late {
			t.Fatalf("waited %s in vain for %s; was told %q", patience, assignment, m.told)
		}
		m.news.Wait()
	}
}
