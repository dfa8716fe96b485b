// Command load measures the whole agent, as docs/benchmarks.md reports it: it
// runs the real binary on a configuration of its own, sends with `runnel send`,
// counts what arrives at a receiver, and reads what the agent's process cost
// from /proc. It talks to loopback only, is bounded in count and time, and ends only
// what it started. Timings on a busy machine mean little: compare CPU-seconds.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	runnel, guest string
	do            string
	count, size   int
	connections   int
	rate          int
	keep          bool
	commit        string
	even          bool
	inputs        []string // of tiers
}

// result is one run.
type result struct {
	Scenario   string  `json:"scenario"`
	Sent       int     `json:"sent"`
	Arrived    int64   `json:"arrived"`
	Seconds    float64 `json:"seconds"`
	PerSecond  float64 `json:"per_second"`
	CPU        float64 `json:"cpu_seconds"`
	CPUMillion float64 `json:"cpu_seconds_per_million"`
	PeakRSS    int64   `json:"peak_rss_bytes"`
	PeakAnon   int64   `json:"peak_rss_anon_bytes"`
	Note       string  `json:"note,omitempty"`
}

func main() {
	var o options
	flag.StringVar(&o.runnel, "runnel", "bin/runnel", "the binary to measure")
	flag.StringVar(&o.guest, "guest", "cmd/runnel/bundled/classify.wasm", "the Go module of the relay scenario")
	flag.StringVar(&o.do, "do", "idle,relay,plain,udp", "scenarios, in order; chain, chain-far, chain-paced, chain-lone and chain-agents are of three agents")
	flag.BoolVar(&o.even, "even", false, "chain and chain-far: the same line again and again, which takes next to nothing to compress")
	flag.StringVar(&o.commit, "commit", "auto", "agent.commit_every of the three")
	flag.IntVar(&o.count, "count", 2_000_000, "messages")
	flag.IntVar(&o.size, "size", 300, "bytes a message")
	flag.IntVar(&o.connections, "connections", 4, "TCP connections")
	flag.IntVar(&o.rate, "rate", 100_000, "datagrams a second")
	flag.BoolVar(&o.keep, "keep", false, "keep the agent's folder and print its name")
	flag.Parse()
	failed := false
	for scenario := range strings.SplitSeq(o.do, ",") {
		r, err := o.measure(scenario)
		if err != nil {
			fmt.Fprintf(os.Stderr, "load: %s: %v\n", scenario, err)
			failed = true
			continue
		}
		json.NewEncoder(os.Stdout).Encode(r) //nolint:errcheck // standard output
	}
	if failed {
		os.Exit(1)
	}
}

func (o options) measure(scenario string) (result, error) {
	dir, err := os.MkdirTemp("", "runnel-load-")
	if err != nil {
		return result{}, err
	}
	if o.keep {
		fmt.Fprintln(os.Stderr, dir)
	} else {
		defer os.RemoveAll(dir)
	}
	r := result{Scenario: scenario}
	if strings.HasPrefix(scenario, "chain") {
		err := o.chain(dir, scenario, &r)
		r.perMillion()
		return r, err
	}
	sink, err := startSink()
	if err != nil {
		return result{}, err
	}
	defer sink.Close()
	a, err := o.startAgent(dir, scenario, sink.Addr().String())
	if err != nil {
		return result{}, err
	}
	defer a.stop()
	switch scenario {
	case "idle":
		err = a.idle(&r)
	case "relay", "plain":
		err = o.relay(a, sink, &r)
	case "udp":
		err = o.udp(a, &r)
	default:
		err = errors.New("no such scenario; there are idle, relay, plain, udp")
	}
	r.perMillion()
	return r, err
}

func (r *result) perMillion() {
	if r.Arrived > 0 {
		r.CPUMillion = r.CPU / float64(r.Arrived) * 1e6
		r.PerSecond = float64(r.Arrived) / r.Seconds
	}
}

const config = `
api: {listen: "unix://%[1]s/api.sock", open: true}
agent: {name: load, data_dir: %[1]s/data}
inputs:
  in: {type: syslog, listen: ["tcp://%[2]s", "udp://%[2]s"]}
%[3]s
streams: {"*": {max_size: 4GiB}}
`

// parts are what each scenario adds to the configuration: %s is the receiver.
var parts = map[string]string{
	"idle": "modules: {classify: {file: %[2]s}}\npipelines: {main: {from: [in], steps: [{module: classify}], stream: app}}",
	"relay": "modules: {classify: {file: %[2]s, config: {drop_debug: true, errors_stream: errors}}}\n" +
		"pipelines: {main: {from: [in], steps: [{module: classify}], stream: app}}\n" +
		`forwarders: {out: {type: syslog, from: ["*"], to: "tcp://%[1]s", format: rfc5424, framing: lf}}`,
	"plain": "pipelines: {main: {from: [in], stream: app}}\n" +
		`forwarders: {out: {type: syslog, from: [app], to: "tcp://%[1]s", format: rfc5424, framing: lf}}`,
	"udp": "pipelines: {main: {from: [in], stream: app}}",
}

// agentProcess is the binary under measurement.
type agentProcess struct {
	cmd    *exec.Cmd
	client *http.Client
	input  string
	log    *bytes.Buffer
}

func (o options) startAgent(dir, scenario, sink string) (*agentProcess, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	input := l.Addr().String()
	l.Close() //nolint:errcheck // only its port was wanted
	guest, err := filepath.Abs(o.guest)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(config, dir, input, strings.NewReplacer("%[1]s", sink, "%[2]s", guest).Replace(parts[scenario]))
	if err := os.WriteFile(filepath.Join(dir, "runnel.yaml"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	return o.launch(dir, input)
}

// launch starts the binary on the configuration in dir.
func (o options) launch(dir, input string) (*agentProcess, error) {
	path := filepath.Join(dir, "runnel.yaml")
	a := &agentProcess{cmd: exec.Command(o.runnel, "run", "-c", path), input: input, log: new(bytes.Buffer)}
	a.cmd.Stderr = a.log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	a.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", dir+"/api.sock")
	}}}
	if err := a.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if answer, err := a.client.Get("http://agent/readyz"); err == nil {
			answer.Body.Close() //nolint:errcheck // read only
			if answer.StatusCode == http.StatusOK {
				return a, nil
			}
		}
		if time.Now().After(deadline) {
			a.stop()
			return nil, fmt.Errorf("agent not ready after 20 s: %s", a.log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (a *agentProcess) stop() {
	a.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	a.cmd.Wait()                          //nolint:errcheck // as above
	if text := a.log.String(); strings.Contains(text, `"level":"error"`) || strings.Contains(text, "panic") {
		fmt.Fprintln(os.Stderr, text)
	}
}

// cpu returns the user and system seconds of the agent so far.
func (a *agentProcess) cpu() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// watch keeps the greatest memory seen in r.
func (a *agentProcess) watch(r *result) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			r.PeakRSS = max(r.PeakRSS, kib<<10)
		case "RssAnon":
			r.PeakAnon = max(r.PeakAnon, kib<<10)
		}
	}
}

// idle measures the agent with nothing to do for five seconds.
func (a *agentProcess) idle(r *result) error {
	before, began := a.cpu(), time.Now()
	for time.Since(began) < 5*time.Second {
		a.watch(r)
		time.Sleep(100 * time.Millisecond)
	}
	r.CPU, r.Seconds = a.cpu()-before, time.Since(began).Seconds()
	return nil
}

// relay sends count messages over TCP and waits until all that the module lets
// through have arrived.
func (o options) relay(a *agentProcess, s *sink, r *result) error {
	before, began := a.cpu(), time.Now()
	send, err := o.send(a, "tcp://"+a.input, "--connections", strconv.Itoa(o.connections), "--framing", "lf")
	if err != nil {
		return err
	}
	last, lastAt := int64(0), time.Now()
	for s.lines.Load() < int64(o.count) {
		a.watch(r)
		time.Sleep(20 * time.Millisecond)
		if n := s.lines.Load(); n != last {
			last, lastAt = n, time.Now()
		} else if time.Since(lastAt) > 10*time.Second {
			r.Note = "stalled"
			break
		}
	}
	r.Seconds = time.Since(began).Seconds()
	r.CPU, r.Sent, r.Arrived = a.cpu()-before, o.count, s.lines.Load()
	return send.Wait()
}

// udp sends count datagrams at a rate and asks the agent how many it stored.
func (o options) udp(a *agentProcess, r *result) error {
	before, began := a.cpu(), time.Now()
	send, err := o.send(a, "udp://"+a.input, "--rate", strconv.Itoa(o.rate))
	if err != nil {
		return err
	}
	done := make(chan error, 1) // one: send ends once
	go func() { done <- send.Wait() }()
	for sending := true; sending; {
		select {
		case err = <-done:
			sending = false
		case <-time.After(50 * time.Millisecond):
			a.watch(r)
		}
	}
	r.Seconds = time.Since(began).Seconds()
	r.Sent = o.count
	for range 100 {
		n, drops, err := a.stored()
		if err != nil {
			return err
		}
		r.Arrived, r.Note = n, fmt.Sprintf("%d lost, %d dropped by the kernel", int64(o.count)-n, drops)
		if n == int64(o.count) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.CPU = a.cpu() - before
	return err
}

func (o options) send(a *agentProcess, to string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(o.runnel, append([]string{"send", "--to", to, "--count", strconv.Itoa(o.count), "--size", strconv.Itoa(o.size),
		"--format", "rfc5424"}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd, cmd.Start()
}

// stored asks the agent how many records its streams have and how many
// datagrams the kernel dropped.
func (a *agentProcess) stored() (records int64, drops int64, err error) {
	answer, err := a.client.Get("http://agent/api/v1/status")
	if err != nil {
		return 0, 0, err
	}
	defer answer.Body.Close() //nolint:errcheck // read only
	var s struct {
		Streams []struct{ Records int64 }
		Inputs  []struct {
			Listeners []struct {
				KernelDrops int64 `json:"kernel_drops"`
			}
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		return 0, 0, err
	}
	for _, stream := range s.Streams {
		records += stream.Records
	}
	for _, in := range s.Inputs {
		for _, l := range in.Listeners {
			drops += l.KernelDrops
		}
	}
	return records, drops, nil
}

// sink is a receiver that counts lines.
type sink struct {
	net.Listener
	lines atomic.Int64
}

func startSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{Listener: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.count(c)
		}
	}()
	return s, nil
}

func (s *sink) count(c net.Conn) {
	defer c.Close() //nolint:errcheck // the agent closes it
	buf := make([]byte, 256<<10)
	for {
		n, err := c.Read(buf)
		s.lines.Add(int64(bytes.Count(buf[:n], []byte{'\n'})))
		if errors.Is(err, io.EOF) || err != nil {
			return
		}
	}
}
