// Package plainfile opens the files that a configuration names. It takes
// regular files only: a pipe, a device or a socket in the place of a
// certificate or a secret would have the agent wait for ever for its end, or
// read without one. It never waits, and never reads more than it was told to.
package plainfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Open opens the regular file at path for reading. Links are followed, as
// orchestrators hand files in that way. Its error says why without the path.
func Open(path string) (*os.File, error) {
	// Without O_NONBLOCK, opening a pipe waits for somebody to write into it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, reason(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is %s, not a regular file", Kind(info.Mode()))
	}
	if err != nil {
		f.Close()
		return nil, reason(err)
	}
	return f, nil
}

// Read returns what the regular file at path holds, at most limit bytes; more
// is an error. Its errors are as Open's.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, reason(err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("it is larger than %d bytes", limit)
	}
	return b, nil
}

// Kind is what a mode says a file is, with its article.
func Kind(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a file"
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "no file"
}

// reason drops the path, which callers name in their own words.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
