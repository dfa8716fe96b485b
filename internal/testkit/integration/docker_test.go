//go:build integration

package integration

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// docker is a daemon of the test's own.
type docker struct {
	*process
	host  string // for -H
	image string
}

// startDocker runs a Docker daemon with its own data, socket and no network,
// and imports the one image the tests need. Neither a mount nor a process of it
// outlives the test.
func startDocker(t *testing.T) *docker {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a Docker daemon needs root; run the integration tests as root")
	}
	dir := t.TempDir()
	t.Cleanup(func() { sweep(t, dir) })
	d := &docker{host: "unix://" + dir + "/docker.sock", image: "runnel-test"}
	d.process = start(t, exec.Command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/docker.pid",
		"--host", d.host, "--bridge=none", "--iptables=false", "--ip-masq=false"))
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", dir+"/docker.sock")
	}}}
	eventually(t, "the Docker daemon", func() bool {
		select {
		case <-d.done:
			t.Fatalf("dockerd ended: %v\n%s", d.err, d.output)
		default:
		}
		answer, err := client.Get("http://docker/_ping")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	program := filepath.Join(dir, "container")
	if out, err := goBuild(program, "./internal/testkit/integration/testdata/container").CombinedOutput(); err != nil {
		t.Fatalf("build the container's program: %v\n%s", err, out)
	}
	code, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var image bytes.Buffer
	archive := tar.NewWriter(&image)
	archive.WriteHeader(&tar.Header{Name: "container", Mode: 0o755, Size: int64(len(code))}) //nolint:errcheck // Close reports it
	archive.Write(code)                                                                      //nolint:errcheck // as above
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	load := exec.Command("docker", "-H", d.host, "import", "-", d.image)
	load.Stdin = &image
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("docker import: %v\n%s", err, out)
	}
	return d
}

// sweep unmounts what a daemon that has ended left mounted under dir, and ends
// the processes that were started for dir and for nothing else.
func sweep(t *testing.T, dir string) {
	t.Helper()
	programs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range programs {
		words, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(words, []byte(dir+"/")) {
			continue // ended meanwhile, or not ours
		}
		t.Errorf("dockerd left %q behind", bytes.ReplaceAll(words, []byte{0}, []byte{' '}))
		if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil && pid != os.Getpid() {
			syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(mounts), "\n")
	slices.Reverse(lines) // the innermost first
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			if err := syscall.Unmount(fields[1], syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", fields[1], err)
			}
		}
	}
}

// container is how a container is run.
type container struct {
	name    string
	env     string            // one variable
	options map[string]string // of the syslog driver
	args    []string          // of the program in it
	lasts   time.Duration     // what it takes at least
}

// run runs a container to its end and returns its full id.
func (d *docker) run(t *testing.T, c container) (id string) {
	t.Helper()
	id, err := d.try(t.Context(), t.TempDir(), c)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// try is run for another goroutine than the test's.
func (d *docker) try(ctx context.Context, dir string, c container) (id string, err error) {
	cidfile := filepath.Join(dir, "cid")
	line := []string{"-H", d.host, "run", "--network=none", "--cidfile", cidfile, "--log-driver", "syslog", "--name", c.name}
	if c.env != "" {
		line = append(line, "--env", c.env)
	}
	for k, v := range c.options {
		line = append(line, "--log-opt", k+"="+v)
	}
	line = append(append(line, d.image, "/container"), c.args...)
	ctx, cancel := context.WithTimeout(ctx, c.lasts+patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", line...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("docker %s: %w\n%s", strings.Join(line, " "), err, tailOf(string(out)))
	}
	b, err := os.ReadFile(cidfile)
	return string(b), err
}
