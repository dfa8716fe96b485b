package main

import (
	"bufio"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/runnel-log/runnel/internal/headroom"
)

// memoryLimit is where the collector starts to work harder: the agent's live
// heap is small, and what lies between it and this limit is garbage that a
// busy host would rather have back.
const memoryLimit = headroom.Roomy

// tuneMemory sets the collector's limit, unless the user has: less where a control
// group allows less, since what lies beyond that is the kernel's to kill.
func tuneMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(min(memoryLimit, groupMemory(os.DirFS("/"))/10*8))
	}
}

// groupMemory returns the bytes that the control groups of this process allow,
// the least of its own and of those above it as far as they can be seen;
// math.MaxInt64 without a limit. root is the file system.
func groupMemory(root fs.FS) int64 {
	least := int64(math.MaxInt64)
	groups := memoryGroups(root)
	for _, m := range memoryMounts(root) {
		group, ok := groups[m.controller]
		if !ok {
			continue
		}
		// Inside a container the mount shows only what is below its root.
		below := strings.TrimPrefix(group, strings.TrimSuffix(m.root, "/"))
		for dir := path.Join("/", below); ; dir = path.Dir(dir) {
			least = min(least, limitIn(root, path.Join(m.at, dir, m.file)))
			if dir == "/" {
				break
			}
		}
	}
	return least
}

// memoryGroups returns the groups of this process by controller: "memory" of
// cgroup v1, and "" of v2 (cgroups(7), "/proc/pid/cgroup").
func memoryGroups(root fs.FS) map[string]string {
	groups := make(map[string]string)
	eachLine(root, "proc/self/cgroup", func(line string) {
		fields := strings.SplitN(line, ":", 3)
		if len(fields) != 3 {
			return
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			groups[controller] = fields[2]
		}
	})
	return groups
}

// memoryMount is where limits of memory can be read.
type memoryMount struct{ at, root, controller, file string }

// memoryMounts finds them (proc(5), "mountinfo").
func memoryMounts(root fs.FS) (mounts []memoryMount) {
	eachLine(root, "proc/self/mountinfo", func(line string) {
		before, after, ok := strings.Cut(line, " - ")
		place, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(place) < 5 || len(kind) < 3 {
			return
		}
		switch {
		case kind[0] == "cgroup2":
			mounts = append(mounts, memoryMount{place[4], place[3], "", "memory.max"})
		case kind[0] == "cgroup" && strings.Contains(","+kind[2]+",", ",memory,"):
			mounts = append(mounts, memoryMount{place[4], place[3], "memory", "memory.limit_in_bytes"})
		}
	})
	return mounts
}

// limitIn reads one limit; math.MaxInt64 if there is none.
func limitIn(root fs.FS, name string) int64 {
	b, err := fs.ReadFile(root, strings.TrimPrefix(name, "/"))
	if err != nil {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n <= 0 { // "max"
		return math.MaxInt64
	}
	return n
}

func eachLine(root fs.FS, name string, f func(line string)) {
	file, err := root.Open(name)
	if err != nil {
		return // not Linux
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		f(lines.Text())
	}
}
