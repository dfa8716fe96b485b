package chain

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// What can happen to a disk while its agent does not run.

// Snapshot keeps a copy of the agent's disk as it is, in the place of an earlier one.
func (t *Tier) Snapshot() error {
	if err := os.RemoveAll(t.snapshot()); err != nil {
		return err
	}
	return copyFolder(t.data(), t.snapshot())
}

// copyFolder copies a folder with its modes: the token is its owner's alone.
func copyFolder(from, to string) error {
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w: %s", from, to, err, out)
	}
	return nil
}

// Restore puts the agent's disk back to what the snapshot has, which is used up by that.
func (t *Tier) Restore() error {
	return errors.Join(os.RemoveAll(t.data()), os.Rename(t.snapshot(), t.data()))
}

// Wipe takes the agent's disk away, and its identity with it.
func (t *Tier) Wipe() error { return os.RemoveAll(t.data()) }

// Data is the agent's folder.
func (t *Tier) Data() string { return t.data() }

func (t *Tier) data() string     { return filepath.Join(t.Dir, "data") }
func (t *Tier) snapshot() string { return filepath.Join(t.Dir, "snapshot") }
