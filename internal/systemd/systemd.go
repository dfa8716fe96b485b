// Package systemd speaks to the service manager that started this process, where
// one did: how the process is (sd_notify(3)), and which of its descriptors the
// manager shall keep and hand to the process that comes next (the file descriptor
// store, FileDescriptorStoreMax=). It hides the socket and the wording of its
// datagrams. It never waits for a manager that does not answer for longer than
// patience, and a process that nobody started so does all of this to no effect.
package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience bounds one message to the manager, and its taking note of them.
const patience = time.Second

// ErrNotKept says that the manager keeps no descriptors, or no more of them.
var ErrNotKept = errors.New("the service manager keeps no more descriptors")

// Manager is the service manager of this process. It is safe for concurrent
// use; the zero value and nil are of a process that has none.
type Manager struct {
	conn *net.UnixConn // nil: there is none

	mu sync.Mutex // guards below, and the order of messages
	// room is how many descriptors it keeps for us; kept is how many of them
	// stand under each name.
	room int
	kept map[string]int
	used int
	lost error // why it is spoken to no more
}

// Find returns the manager that the environment names (NOTIFY_SOCKET), nil if
// none. How much it keeps is in FDSTORE, which systemd sets from version 254
// on; for earlier ones the unit's own Environment= does.
func Find() *Manager {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return nil // as sd_notify does: a service works without
	}
	room, err := strconv.Atoi(os.Getenv("FDSTORE"))
	if err != nil || room < 0 {
		room = 0
	}
	return &Manager{conn: conn, room: room, kept: make(map[string]int)}
}

// Close ends what Find began. What the manager keeps it goes on keeping.
func (m *Manager) Close() {
	if m != nil && m.conn != nil {
		_ = m.conn.Close() // nothing is buffered
	}
}

// Tell says how the process is, in the words of sd_notify(3): one assignment a line.
func (m *Manager) Tell(state ...string) error {
	if m == nil || m.conn == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.send(strings.Join(state, "\n"), nil)
}

// Keeps reports whether the manager keeps descriptors for this process at all.
func (m *Manager) Keeps() bool { return m != nil && m.room > 0 }

// Has notes that the manager had count descriptors of that name before we
// came: they take up room.
func (m *Manager) Has(name string, count int) {
	if m == nil || m.kept == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[name] += count
	m.used += count
}

// Keep gives the manager duplicates of these descriptors under name, all or
// none; they stay open for as long as it keeps them. ErrNotKept says that it
// has no room; any other error that it could not be told.
func (m *Manager) Keep(name string, of ...syscall.Conn) error {
	if !m.Keeps() {
		return ErrNotKept
	}
	if !validName(name) {
		return fmt.Errorf("bug: %q is no name for a descriptor", name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used+len(of) > m.room {
		return ErrNotKept
	}
	err := withDescriptors(of, nil, func(fds []int) error {
		// Without FDPOLL=0 it would forget a connection that its peer has reset, with what had arrived on it.
		return m.send("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, syscall.UnixRights(fds...))
	})
	if err == nil {
		m.kept[name] += len(of)
		m.used += len(of)
	}
	return err
}

// Forget has the manager close what it keeps under name.
func (m *Manager) Forget(name string) error {
	if m == nil || m.conn == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= m.kept[name]
	delete(m.kept, name)
	return m.send("FDSTOREREMOVE=1\nFDNAME="+name, nil)
}

// Settle waits until the manager has taken note of all that it was told: it
// closes its end of a pipe then (sd_notify_barrier(3)). A manager older than
// the word, or one that is busy, costs patience.
func (m *Manager) Settle() error {
	if m == nil || m.conn == nil {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	m.mu.Lock()
	err = withDescriptors([]syscall.Conn{w}, nil, func(fds []int) error {
		return m.send("BARRIER=1", syscall.UnixRights(fds...))
	})
	m.mu.Unlock()
	_ = w.Close() // only the manager's end counts
	if err != nil {
		return err
	}
	_ = r.SetReadDeadline(time.Now().Add(patience)) // a pipe has deadlines
	if _, err := r.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the service manager has taken no note for %s", patience)
	}
	return nil
}

// send writes one message; m.mu is held. A manager that did not take one in
// time is asked nothing more, or hundreds of connections would wait for it in turn.
func (m *Manager) send(state string, rights []byte) error {
	if m.lost != nil {
		return m.lost
	}
	_ = m.conn.SetWriteDeadline(time.Now().Add(patience)) // fails on a closed socket only, as the write does
	raw, err := m.conn.SyscallConn()
	if err != nil {
		return err
	}
	// WriteMsgUnix refuses connected sockets.
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		for sent = syscall.EINTR; sent == syscall.EINTR; {
			sent = syscall.Sendmsg(int(fd), []byte(state), rights, nil, 0)
		}
		return sent != syscall.EAGAIN
	})
	if err == nil {
		err = sent
	}
	if err != nil {
		err = fmt.Errorf("tell the service manager: %w", err)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			m.lost = err
		}
		return err
	}
	return nil
}

// withDescriptors calls f with the descriptors of all, which nobody can close
// meanwhile. Unlike os.File.Fd it leaves them as they are.
func withDescriptors(of []syscall.Conn, fds []int, f func([]int) error) error {
	if len(of) == 0 {
		return f(fds)
	}
	raw, err := of[0].SyscallConn()
	if err != nil {
		return err
	}
	controlled := raw.Control(func(fd uintptr) { err = withDescriptors(of[1:], append(fds, int(fd)), f) })
	return errors.Join(controlled, err)
}

// maxName is the longest name that systemd takes (FDNAME_MAX).
const maxName = 255

// validName reports whether systemd takes the name: printable ASCII without a colon.
func validName(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] > '~' || name[i] == ':' {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}
