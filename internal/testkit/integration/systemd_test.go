//go:build integration

package integration

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// systemd is a service manager of the test's own, with the units that are
// shipped. See testdata/systemd/boot.sh.
type systemd struct {
	*process
	init int // the pid of its process 1
}

// startSystemd boots a systemd that has the shipped units and an agent with this
// configuration, which may use $RUN, the folder for its sockets, and files of $ETC. The
// socket unit has this port for 514. No unit is started.
func startSystemd(t *testing.T, config string, port int, etc map[string]string) *systemd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a systemd of one's own needs root; run the integration tests as root")
	}
	files := t.TempDir()
	config = strings.NewReplacer("$RUN", "/run/runnel", "$ETC", "/etc/runnel", "$PORT", fmt.Sprint(port), "$GUEST", "/etc/runnel/classify.wasm").Replace(config) +
		"\napi: {listen: 'unix:///run/runnel/api.sock', open: true}\n"
	if !strings.Contains(config, "\nagent:") {
		config += "agent: {name: test-agent, data_dir: /var/lib/runnel}\n"
	}
	install(t, files, map[string]string{binary: "usr/bin/runnel", guest: "etc/runnel/classify.wasm",
		"../../../packaging/systemd/runnel.service": "units/runnel.service", "../../../packaging/systemd/runnel.socket": "units/runnel.socket"})
	for from, to := range etc {
		install(t, files, map[string]string{from: "etc/runnel/" + to})
	}
	unit, err := os.ReadFile(files + "/units/runnel.socket")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files+"/units/runnel.socket", bytes.ReplaceAll(unit, []byte("=514\n"), fmt.Appendf(nil, "=%d\n", port)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files+"/etc/runnel/runnel.yaml", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	boot, err := filepath.Abs("testdata/systemd/boot.sh")
	if err != nil {
		t.Fatal(err)
	}
	group := newControlGroup(t)
	cmd := exec.Command("sh", "-c", `echo $$ > "$0/cgroup.procs" && exec unshare --pid --mount --uts --ipc --cgroup --fork --kill-child "$1" "$2"`,
		group, boot, files)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // unshare(1) does not mind SIGTERM, and ends its child when it dies
	s := &systemd{process: start(t, cmd)}
	t.Cleanup(func() { // before the process's own, which sends SIGTERM
		syscall.Kill(s.init, syscall.SIGKILL) //nolint:errcheck // it may have ended
		<-s.done
	})
	eventually(t, "systemd to boot", func() bool {
		select {
		case <-s.done:
			t.Fatalf("systemd ended: %v\n%s", s.err, s.output)
		default:
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.cmd.Process.Pid))
		if err != nil || len(children) == 0 {
			return false
		}
		fmt.Sscan(string(children), &s.init) //nolint:errcheck // 0 then, which has no such file
		_, err = os.Stat(s.path("/run/systemd/private"))
		return err == nil
	})
	return s
}

// install copies files into a folder that stands for /.
func install(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for from, to := range files {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(root, to)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(root, to), b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// newControlGroup makes a control group for systemd to have as its root.
func newControlGroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[2] != "cgroup2" {
			continue
		}
		group, err := os.MkdirTemp(f[1], "runnel-test-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { removeControlGroup(t, group) })
		return group
	}
	t.Fatal("this host has no cgroup2 mounted, which systemd needs")
	return ""
}

func removeControlGroup(t *testing.T, group string) {
	var groups []string
	filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error { //nolint:errcheck // what is not found is not removed, which says so
		if err == nil && d.IsDir() {
			groups = append(groups, path)
		}
		return nil
	})
	slices.Reverse(groups) // the innermost first
	for _, g := range groups {
		eventually(t, "the end of what systemd ran", func() bool { return os.Remove(g) == nil })
	}
}

// path is a path as systemd and its services see it.
func (s *systemd) path(path string) string { return fmt.Sprintf("/proc/%d/root%s", s.init, path) }

// set adds a setting to the agent's unit.
func (s *systemd) set(t *testing.T, setting string) {
	t.Helper()
	dropIn := s.path("/run/systemd/system/runnel.service.d")
	err := os.MkdirAll(dropIn, 0o755)
	if err == nil {
		err = os.WriteFile(dropIn+"/test.conf", []byte("[Service]\n"+setting+"\n"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.ctl(t, "daemon-reload")
}

// ctl runs systemctl.
func (s *systemd) ctl(t *testing.T, words ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nsenter", append([]string{"-t", fmt.Sprint(s.init), "-m", "-p", "systemctl", "--no-pager"}, words...)...).CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(s.path("/run/agent.log"))
		t.Fatalf("systemctl %s: %v\n%s\n%s", strings.Join(words, " "), err, out, tailOf(string(log)))
	}
	return strings.TrimSpace(string(out))
}

// show asks for a property of the agent's unit.
func (s *systemd) show(t *testing.T, property string) string {
	t.Helper()
	return s.ctl(t, "show", "runnel.service", "--value", "-p", property)
}

// agent is the agent that the unit runs, whichever process that is.
func (s *systemd) agent() *agent {
	return &agent{process: s.process, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.path("/run/runnel/api.sock"))
	}}}}
}
