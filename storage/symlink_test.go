package storage

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLinksInTheDirectoryAreNotWrittenThrough holds that who could put a link
// where the agent writes cannot have it write to a file elsewhere.
func TestLinksInTheDirectoryAreNotWrittenThrough(t *testing.T) {
	for _, name := range []string{"lock", "identity.tmp"} {
		root, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
		if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(victim, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
		d, err := openDirectory(root)
		if err == nil {
			_, _, err = d.loadIdentity(true)
			if e := d.release(); e != nil {
				t.Error(e)
			}
		}
		if err == nil {
			t.Errorf("%s: a link was taken for the file", name)
		}
		if text, _ := os.ReadFile(victim); string(text) != "precious" {
			t.Errorf("%s: the file it led to now holds %q", name, text)
		}
	}
}
