//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a restart under systemd, with the unit as it is shipped, costs containers
// that run all the while, and those that start meanwhile: nothing. Of a process
// that is killed, what it had read and not yet stored, and what lay in the
// buffers of its connections.

const (
	outliveConfig = `
inputs:
  tcp: {type: syslog, listen: ["tcp://127.0.0.1:%d"]}
  udp: {type: syslog, listen: ["udp://:$PORT"]}
  unix: {type: syslog, listen: ["unix://$RUN/s"]}
  unixgram: {type: syslog, listen: ["unixgram://$RUN/g"]}
  tls: {type: syslog, listen: ["tls://127.0.0.1:%d"], tls: {cert: $ETC/tls.pem, key: $ETC/tls.key}}
pipelines:
  tcp: {from: [tcp], stream: tcp}
  udp: {from: [udp], stream: udp}
  unix: {from: [unix], stream: unix}
  unixgram: {from: [unixgram], stream: unixgram}
  tls: {from: [tls], stream: tls}
`
	longLines  = 1200 // of the container of each transport that writes on, for each restart
	shortLines = 200  // of those that come and go
	steadyRate = 1000 // lines a second, of each
	// blocked is what no write of a container may take: twice what the slowest restart has been seen to.
	blocked = 10 * time.Second
)

// outliving is a Docker daemon, a systemd, and what was run.
type outliving struct {
	*docker
	*systemd
	addresses map[string]string // by transport
	times     int               // it is restarted
	how       string            // a word for the containers' names
	ca        string            // a file

	mu   sync.Mutex
	runs map[string]int // lines of each container that has ended, by name
	errs []error
	cut  int // containers that did not start for an unfinished handshake
}

// runOne runs one container to its end.
func (o *outliving) runOne(ctx context.Context, dir, transport, name string, lines int) {
	dir = filepath.Join(dir, name)
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		options := map[string]string{"syslog-address": o.addresses[transport], "syslog-format": "rfc5424micro", "tag": "{{.Name}}",
			"cache-disabled": "true"} // or a disk that is slow for dockerd's own copy holds the container up
		if transport == "tls" {
			options["syslog-tls-ca-cert"] = o.ca
		}
		_, err = o.try(ctx, dir, container{name: name, options: options, args: []string{"steady", fmt.Sprint(lines), fmt.Sprint(steadyRate)}, lasts: time.Duration(lines) * time.Second / steadyRate})
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err != nil && transport == "tls" && strings.Contains(err.Error(), "failed to initialize logging driver"):
		o.cut++ // its handshake was under way when the process was killed
		return
	case err != nil:
		o.errs = append(o.errs, err)
	}
	o.runs[name] = lines
}

// runContainers runs, for each transport, one container that writes on and one after
// the other that come and go, until done is closed.
func (o *outliving) runContainers(t *testing.T, wg *sync.WaitGroup, done <-chan struct{}) {
	for transport := range o.addresses {
		dir := t.TempDir()
		wg.Go(func() {
			o.runOne(t.Context(), dir, transport, fmt.Sprintf("%s-%s-long", transport, o.how), longLines*o.times)
		})
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				o.runOne(t.Context(), dir, transport, fmt.Sprintf("%s-%s-%d", transport, o.how, i), shortLines)
			}
		})
	}
}

// startOutliving starts everything but the containers.
func startOutliving(t *testing.T, d *docker, how string, times int) *outliving {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "127.0.0.1")
	tcp, tls, udp := freePort(t), freePort(t), freePort(t)
	s := startSystemd(t, fmt.Sprintf(outliveConfig, tcp, tls), udp, map[string]string{cert: "tls.pem", key: "tls.key"})
	s.ctl(t, "start", "runnel.socket", "runnel.service")
	return &outliving{docker: d, systemd: s, how: how, times: times, ca: ca.file, runs: make(map[string]int), addresses: map[string]string{
		"tcp": fmt.Sprintf("tcp://127.0.0.1:%d", tcp), "tls": fmt.Sprintf("tcp+tls://127.0.0.1:%d", tls), "udp": fmt.Sprintf("udp://127.0.0.1:%d", udp), "unix": "unix://" + s.path("/run/runnel/s"), "unixgram": "unixgram://" + s.path("/run/runnel/g")}}
}

// TestContainersOutliveRestarts restarts the agent again and again while
// containers start and write: no docker run fails, no container waits for long,
// and each line is stored once and in order. TLS alone costs lines: its keys die with the process.
func TestContainersOutliveRestarts(t *testing.T) {
	d := startDocker(t)
	t.Run("restart", func(t *testing.T) {
		o := startOutliving(t, d, "restart", restarts)
		took := o.disturb(t, func(int) { o.ctl(t, "restart", "runnel.service") })
		lost := o.check(t)
		for transport, n := range lost {
			if n > 0 && transport != "tls" {
				t.Errorf("%s: %d lines are lost", transport, n)
			}
		}
		if o.cut > 0 {
			t.Errorf("%d containers over TLS did not start", o.cut)
		}
		t.Logf("tls: %d lines lost in %d restarts, %.1f each", lost["tls"], restarts, float64(lost["tls"])/restarts)
		t.Logf("restarts took up to %s, the median %s", took[len(took)-1], took[len(took)/2])
	})
	t.Run("kill", func(t *testing.T) {
		o := startOutliving(t, d, "kill", kills)
		o.disturb(t, func(i int) {
			o.ctl(t, "kill", "--kill-whom=main", "-s", "KILL", "runnel.service")
			eventually(t, "the next process", func() bool {
				return o.show(t, "NRestarts") == fmt.Sprint(i+1) && o.show(t, "ActiveState") == "active"
			})
		})
		for transport, n := range o.check(t) {
			t.Logf("%s: %d lines lost in %d kills, %.1f each", transport, n, kills, float64(n)/kills)
			if n > kills*2*steadyRate { // two containers write, and a second has been enough for every kill
				t.Errorf("%s: lost %d lines", transport, n)
			}
		}
	})
}

// disturb runs the containers and does what it is told so often meanwhile, each time some
// lines have come; it returns how long it took each time, sorted, once the containers have ended.
func (o *outliving) disturb(t *testing.T, how func(i int)) (took []time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	done := make(chan struct{})
	end := sync.OnceFunc(func() { close(done); wg.Wait() })
	t.Cleanup(end)
	o.runContainers(t, &wg, done)
	a := o.agent()
	for i := range o.times {
		seen := a.streams(t)
		for transport := range o.addresses { // each flows again, or one that its socket holds back would starve
			had := uint64(0)
			for _, s := range seen {
				if s.Name == transport {
					had = s.Records
				}
			}
			waitForRecords(t, a, transport, had+200)
		}
		began := time.Now()
		how(i)
		took = append(took, time.Since(began))
	}
	end()
	slices.Sort(took)
	return took
}

// check holds what is stored against what the containers wrote: once, in order. It returns how
// many lines of each transport are missing.
func (o *outliving) check(t *testing.T) (lost map[string]int) {
	t.Helper()
	o.ctl(t, "restart", "runnel.service") // which stores what was read last
	for _, err := range o.errs {
		t.Error(err)
	}
	lost = make(map[string]int)
	next := make(map[string]int)
	longest := make(map[string]time.Duration) // by transport
	var stored []storedRecord
	for transport := range o.addresses {
		stored = append(stored, o.agent().query(t, "stream="+transport)...)
	}
	for _, r := range stored {
		transport, _, _ := strings.Cut(r.App, "-")
		var i, us int
		if _, err := fmt.Sscanf(r.Message, "longest write %d us", &us); err == nil {
			longest[transport] = max(longest[transport], time.Duration(us)*time.Microsecond)
			continue
		}
		if _, err := fmt.Sscanf(r.Message, "line %d of", &i); err != nil || !strings.HasSuffix(numbered(i), r.Message) || i < next[r.App] {
			t.Fatalf("%s: got %q (%v), want line %d or a later one", r.App, r.Message, err, next[r.App])
		}
		lost[transport] += i - next[r.App]
		next[r.App] = i + 1
	}
	total := 0
	for name, lines := range o.runs {
		transport, _, _ := strings.Cut(name, "-")
		lost[transport] += lines - next[name]
		total += lines
	}
	t.Logf("%d containers wrote %d lines; the longest writes took %v", len(o.runs), total, longest)
	for transport, took := range longest {
		if took > blocked {
			t.Errorf("%s: a container's write took %s, want at most %s", transport, took, blocked)
		}
	}
	return lost
}
