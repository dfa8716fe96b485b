package main

import (
	"math"
	"testing"
	"testing/fstest"
)

// TestGroupMemory has both versions, on the host and in a container, limits above the
// group itself, and systems without any.
func TestGroupMemory(t *testing.T) {
	f := func(name, cgroup, mountinfo string, limits map[string]string, want int64) {
		t.Helper()
		root := fstest.MapFS{"proc/self/cgroup": {Data: []byte(cgroup)}, "proc/self/mountinfo": {Data: []byte(mountinfo)}}
		for file, text := range limits {
			root[file] = &fstest.MapFile{Data: []byte(text + "\n")}
		}
		if got := groupMemory(root); got != want {
			t.Errorf("%s: got %d want %d", name, got, want)
		}
	}
	const (
		v1   = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
		v2   = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		none = math.MaxInt64
	)
	f("v1", "4:memory:/runnel\n0::/\n", v1, map[string]string{"sys/fs/cgroup/memory/runnel/memory.limit_in_bytes": "134217728"}, 128<<20)
	f("v1, the group above", "4:cpu,memory:/system.slice/runnel\n", v1, map[string]string{
		"sys/fs/cgroup/memory/system.slice/memory.limit_in_bytes":        "1000000",
		"sys/fs/cgroup/memory/system.slice/runnel/memory.limit_in_bytes": "9223372036854771712"}, 1000000)
	f("v1, in a container", "4:memory:/docker/1234\n",
		"35 31 0:32 /docker/1234 /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory\n",
		map[string]string{"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456"}, 256<<20)
	f("v2", "0::/system.slice/runnel.service\n", v2, map[string]string{
		"sys/fs/cgroup/system.slice/memory.max":                "max",
		"sys/fs/cgroup/system.slice/runnel.service/memory.max": "536870912"}, 512<<20)
	f("v2, in a container", "0::/\n", v2, map[string]string{"sys/fs/cgroup/memory.max": "67108864"}, 64<<20)
	f("v2, without a limit", "0::/\n", v2, map[string]string{"sys/fs/cgroup/memory.max": "max"}, none)
	f("both mounted, memory with v1", "4:memory:/a\n0::/\n", v1+v2, map[string]string{"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "7000"}, 7000)
	f("nonsense", "memory\n::\n", "a - b\n", nil, none)
	if got := groupMemory(fstest.MapFS{}); got != none {
		t.Errorf("without /proc: got %d want none", got)
	}
}
