package listen

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/runnel-log/runnel/internal/systemd"
)

// passBytes bounds what is passed on beside connections, all together: half
// messages, which are short unless somebody attacks.
const passBytes = 64 << 20

// errNobody says that the next process will not ask for a connection.
var errNobody = errors.New("no input listens there any more")

// passing is what has been passed on.
type passing struct {
	number int // of connections
	bytes  int // beside them
}

// Passed is a connection that the process before this one had accepted, and
// what that one knew of it.
type Passed struct {
	Conn  net.Conn
	State []byte
	name  string
}

// Passes reports whether connections can be passed on: this process is ending, and
// there is a manager that hands them to the next.
func (s *Sockets) Passes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending && s.manager.Keeps()
}

// Pass gives c, which came in at url, to the process that comes after this one, and
// state with it; the caller then closes its own, and reads nothing more. An error
// says that nobody will take it: there is no manager, no room, or no input at url any more.
func (s *Sockets) Pass(url string, c net.Conn, state []byte) error {
	a, err := Parse(url)
	if err != nil {
		return err
	}
	socket, ok := c.(syscall.Conn)
	if !ok || !s.manager.Keeps() {
		return systemd.ErrNotKept
	}
	s.mu.Lock()
	if s.open[a.Key()] == nil { // a reload has taken the address out, and the next process has the same configuration
		s.mu.Unlock()
		return errNobody
	}
	if s.bytes+len(state) > passBytes {
		s.mu.Unlock()
		return systemd.ErrNotKept
	}
	s.bytes += len(state)
	s.number++
	name := fmt.Sprintf("%s%d.%s", connName, s.number, keyName(a.Key()))
	s.mu.Unlock()
	beside, err := systemd.Memory(state)
	if err != nil {
		return err
	}
	defer beside.Close()
	return s.manager.Keep(name, socket, beside)
}

// Passed returns the connections that were passed on at url. They are the
// caller's, and must not be read before Begin: a start that fails leaves them to the next.
func (s *Sockets) Passed(url string) []*Passed {
	a, err := Parse(url)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var mine, rest []*Passed
	for _, p := range s.passed {
		if number, key, _ := strings.Cut(strings.TrimPrefix(p.name, connName), "."); number != "" && key == keyName(a.Key()) {
			mine = append(mine, p)
		} else {
			rest = append(rest, p)
		}
	}
	s.passed = rest
	return mine
}

// Begin makes passed connections this process's alone. Were they kept on, and
// this process killed, the next would read on in the middle of a message.
func (s *Sockets) Begin(passed []*Passed) error {
	if len(passed) == 0 {
		return nil
	}
	var errs []error
	for _, p := range passed {
		errs = append(errs, s.manager.Forget(p.name))
	}
	return errors.Join(append(errs, s.manager.Settle())...)
}

// joined makes a connection of what was kept under one name, nil if a piece is
// missing. It closes the files.
func joined(name string, files []*os.File) *Passed {
	p := &Passed{name: name}
	known := false
	for _, f := range files {
		info, err := f.Stat()
		switch {
		case err != nil:
		case info.Mode()&os.ModeSocket != 0 && p.Conn == nil:
			p.Conn, _ = net.FileConn(f) // nil: it is none
		case info.Mode().IsRegular() && info.Size() <= passBytes:
			p.State, err = io.ReadAll(io.NewSectionReader(f, 0, info.Size()))
			known = err == nil
		}
		_ = f.Close() // the connection has its own duplicate
	}
	if p.Conn == nil {
		return nil
	}
	if _, ok := p.Conn.RemoteAddr().(*net.TCPAddr); !ok || !known {
		_ = p.Conn.Close() // nobody knows what to do with it
		return nil
	}
	return p
}
