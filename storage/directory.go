package storage

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Version is the version of the whole directory (docs/format/storage.md
// "Versions"). A build refuses a higher one and says so.
const Version = 1

// directory is the data directory and the lock on it.
type directory struct {
	root string // DATA
	lock *os.File
}

func (d *directory) segments() string   { return filepath.Join(d.root, "store") }
func (d *directory) checkpoint() string { return filepath.Join(d.root, "store", "state.db") }
func (d *directory) quarantine() string { return filepath.Join(d.root, "quarantine") }

// lockPatience is how long a second opener waits for a holder that is on its
// way out, as at a restart.
const lockPatience = 500 * time.Millisecond

// openDirectory makes the directory where it is missing and locks it. It
// returns ErrInUse, naming the holder, if another process has it.
func openDirectory(root string) (*directory, error) {
	d := &directory{root: root}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.segments(), 0o700); err != nil {
		return nil, err
	}
	if err := d.hold(); err != nil {
		return nil, err
	}
	return d, nil
}

// hold takes the lock file and writes this process's id into it.
func (d *directory) hold() error {
	name := filepath.Join(d.root, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if err := d.holdFile(f); err != nil {
		return err
	}
	// The text is for people; the lock itself is what counts, so a full disk does not matter here.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return nil
}

// holdFile takes the lock on f, which is closed where that fails.
func (d *directory) holdFile(f *os.File) error {
	deadline := time.Now().Add(lockPatience)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if time.Now().After(deadline) {
			holder, _ := os.ReadFile(f.Name())
			f.Close()
			return fmt.Errorf("%s: %w by process %s", d.root, ErrInUse, bytes.TrimSpace(holder))
		}
		time.Sleep(20 * time.Millisecond)
	}
	d.lock = f
	return nil
}

// release gives the lock back.
func (d *directory) release() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// identity says which agent, and which branch of its history, this directory is.
type identity struct {
	agent [16]byte
	fork  uint32 // epoch in the file: of builds that had no other
	made  bool   // now, and not read
}

// newIdentity begins a new agent.
func newIdentity() identity {
	id := identity{fork: 1, made: true}
	_, _ = rand.Read(id.agent[:])
	return id
}

// loadIdentity reads DATA/identity, or makes it at the first start. fresh
// reports that it was made, or, unless create, that there is none.
func (d *directory) loadIdentity(create bool) (id identity, fresh bool, err error) {
	name := filepath.Join(d.root, "identity")
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		if id = newIdentity(); !create {
			return id, true, nil
		}
		return id, true, d.saveIdentity(id)
	}
	if err != nil {
		return id, false, err
	}
	version := 0
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "format":
			version, err = strconv.Atoi(value)
		case "agent":
			var n int
			n, err = hex.Decode(id.agent[:], []byte(value[:min(len(value), 32)]))
			if err == nil && n != len(id.agent) {
				err = fmt.Errorf("agent id of %d bytes", n)
			}
		case "epoch":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 32)
			id.fork = uint32(n)
		}
		if err != nil {
			return identity{}, false, fmt.Errorf("%s: %w: %w", name, errDamaged, err)
		}
	}
	if version > Version {
		return id, false, fmt.Errorf("%s: %w %d; this build reads up to %d, start a newer runnel", d.root, ErrFormat, version, Version)
	}
	if version == 0 || id.fork == 0 || id.agent == [16]byte{} {
		return identity{}, false, fmt.Errorf("%s: %w: it must hold the lines format, agent and epoch", name, errDamaged)
	}
	return id, false, nil
}

// saveIdentity writes DATA/identity.
func (d *directory) saveIdentity(id identity) error {
	text := fmt.Sprintf("format %d\nagent %x\nepoch %d\n", Version, id.agent, id.fork)
	return writeWhole(filepath.Join(d.root, "identity"), []byte(text))
}

// writeWhole replaces a small file so that after a crash it holds either the
// old text or the new: temporary file, fsync, rename, fsync of the directory.
func writeWhole(name string, text []byte) error {
	f, err := os.OpenFile(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(name+".tmp", name)
	}
	if err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(name))
}

// syncDirectory makes a rename or an unlink in dir durable.
func syncDirectory(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// setAside moves a file that cannot be read into DATA/quarantine, where
// `runnel store export` finds it.
func (d *directory) setAside(path string) error {
	if err := os.MkdirAll(d.quarantine(), 0o700); err != nil {
		return err
	}
	to, same := d.inQuarantine(path)
	if same {
		return os.Remove(path)
	}
	if err := os.Rename(path, to); err != nil {
		return err
	}
	return errors.Join(syncDirectory(d.quarantine()), syncDirectory(d.segments()))
}
