package listen

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// holder names the process that has the address, as far as this user may see:
// "rsyslogd (pid 812)", or "another process".
func holder(a Address) string {
	for _, inode := range inodes(a) {
		// The links of other users' processes can be read by root alone.
		links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil && to == "socket:["+inode+"]" {
				pid := strings.Split(link, "/")[2]
				name, err := os.ReadFile("/proc/" + pid + "/comm")
				if err != nil {
					return "pid " + pid
				}
				return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
			}
		}
	}
	return "another process"
}

// inodes returns the inodes of the sockets bound to a's port or path.
func inodes(a Address) []string {
	if a.IsUnix() {
		return scan("/proc/net/unix", func(f []string) (string, bool) {
			return field(f, 6), field(f, 7) == a.Path
		})
	}
	proto := strings.TrimRight(a.network(), "46")
	suffix := fmt.Sprintf(":%04X", a.Port)
	pick := func(f []string) (string, bool) {
		// 0A is TCP_LISTEN, 07 an unconnected UDP socket.
		state := field(f, 3)
		return field(f, 9), strings.HasSuffix(field(f, 1), suffix) && (state == "0A" || state == "07")
	}
	return append(scan("/proc/net/"+proto, pick), scan("/proc/net/"+proto+"6", pick)...)
}

// dropsOf returns how many datagrams the kernel has dropped at a UDP socket since
// it was opened; 0 where it does not say.
func dropsOf(f *os.File) uint32 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	inode := strconv.FormatUint(stat.Ino, 10)
	pick := func(f []string) (string, bool) { return field(f, 12), field(f, 9) == inode }
	for _, drops := range append(scan("/proc/net/udp", pick), scan("/proc/net/udp6", pick)...) {
		n, _ := strconv.ParseUint(drops, 10, 32)
		return uint32(n)
	}
	return 0
}

func field(f []string, i int) string {
	if i >= len(f) {
		return ""
	}
	return f[i]
}

func scan(file string, pick func(fields []string) (inode string, ok bool)) []string {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	var found []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if inode, ok := pick(strings.Fields(lines.Text())); ok {
			found = append(found, inode)
		}
	}
	return found
}
