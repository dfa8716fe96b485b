package plainfile

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for from, to := range map[string]string{"link": "file", "link to pipe": "pipe", "loop": "loop"} {
		if err := os.Symlink(to, at(from)); err != nil {
			t.Fatal(err)
		}
	}
	f := func(path string, limit int64, want, wantErr string) {
		t.Helper()
		got, err := Read(path, limit)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if string(got) != want || said != wantErr {
			t.Errorf("%s: got %q, %q want %q, %q", path, got, said, want, wantErr)
		}
	}
	f(at("file"), 5, "12345", "")
	f(at("link"), 5, "12345", "")
	f(at("file"), 4, "", "it is larger than 4 bytes")
	f(at("pipe"), 5, "", "it is a pipe, not a regular file")
	f(at("link to pipe"), 5, "", "it is a pipe, not a regular file")
	f(at("socket"), 5, "", syscall.ENXIO.Error())
	f(dir, 5, "", "it is a folder, not a regular file")
	f("/dev/zero", 5, "", "it is a device, not a regular file")
	f(at("loop"), 5, "", syscall.ELOOP.Error())
	f(at("none"), 5, "", syscall.ENOENT.Error())
}
