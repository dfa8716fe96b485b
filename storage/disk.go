package storage

import "golang.org/x/sys/unix"

// available returns the bytes an unprivileged process may still write on dir's
// file system; ok is false where the system does not say.
func available(dir string) (bytes int64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}
