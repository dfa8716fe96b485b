//go:build integration

package chain

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// What a test sees of a tier, from outside and as it says itself.

// pid is of the process as it runs now.
func (t *Tier) pid() int { return t.cmd.Process.Pid }

// sockets are how many the agent has open.
func (t *Tier) sockets() (n int, err error) {
	folder := fmt.Sprintf("/proc/%d/fd/", t.pid())
	files, err := os.ReadDir(folder)
	for _, f := range files {
		if to, err := os.Readlink(folder + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n, err
}

// lowerPorts are those at the lower ends of the connections that are established at the
// agent's port, as its kernel has it.
func (t *Tier) lowerPorts() (ports []uint64, err error) {
	var text []byte
	for _, table := range []string{"tcp", "tcp6"} {
		part, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", t.pid(), table))
		if err != nil {
			return nil, err
		}
		text = append(text, part...)
	}
	for row := range strings.Lines(string(text)) {
		fields := strings.Fields(row)
		const established = "01"
		if len(fields) < 4 || fields[3] != established || !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", 6515)) {
			continue
		}
		port, err := strconv.ParseUint(fields[2][strings.LastIndexByte(fields[2], ':')+1:], 16, 16)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// memory is what the agent has in memory: all of it, and without files.
func (t *Tier) memory() (all, own uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.pid()))
	if err != nil {
		return 0, 0, err
	}
	for row := range strings.Lines(string(text)) {
		var kib uint64
		if n, _ := fmt.Sscanf(row, "VmRSS: %d kB", &kib); n == 1 {
			all = kib << 10
		}
		if n, _ := fmt.Sscanf(row, "RssAnon: %d kB", &kib); n == 1 {
			own = kib << 10
		}
	}
	return all, own, nil
}

// counter is the sum of a metric of the agent's, of those with a label if one is said.
func (t *Tier) counter(name, label string) (sum float64, err error) {
	answer, err := t.client.Get("http://agent/metrics")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: metrics: %s, %w", t.Name, answer.Status, err)
	}
	for row := range strings.Lines(string(text)) {
		if !strings.HasPrefix(row, name+"{") || !strings.Contains(row, label) {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(row[strings.LastIndexByte(row, ' '):]), 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

// forwarder is what an agent says of its forwarder.
type forwarder struct {
	Using     string
	LastError string `json:"last_error"`
}

func (t *Tier) forwarder() (forwarder, error) {
	var status struct{ Forwarders []forwarder }
	err := t.Ask("/api/v1/status", &status)
	if err == nil && len(status.Forwarders) != 1 {
		err = fmt.Errorf("%s has %d forwarders", t.Name, len(status.Forwarders))
	}
	if err != nil {
		return forwarder{}, err
	}
	return status.Forwarders[0], nil
}

// passed is how many records an agent has stored, and how many wait to be passed on.
func (t *Tier) passed() (stored, pending uint64, err error) {
	var l ledger
	err = t.Ask("/api/v1/audit", &l)
	return l.stored(), l.pending(), err
}
