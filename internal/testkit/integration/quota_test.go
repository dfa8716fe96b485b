//go:build integration

package integration

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// onDisk returns the bytes that the segments of a data directory take.
func onDisk(t *testing.T, dir string) (sum int64) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "data/store/*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		var st syscall.Stat_t
		if syscall.Stat(path, &st) == nil { // else it has just been removed
			sum += st.Blocks * 512
		}
	}
	return sum
}

// dawdle asks for records and reads hardly any of them.
func (a *agent) dawdle(t *testing.T, path string) {
	t.Helper()
	answer, err := a.client.Get("http://agent" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	if _, err := io.ReadFull(answer.Body, make([]byte, 1<<10)); err != nil {
		t.Fatal(err)
	}
}

// TestTheQuotaHoldsWhileReadersDawdle writes agent.max_size three times over, while a query
// and a tail are open whose clients do not read on: retention goes on, the disk never
// holds much more than the quota, and nothing is refused.
func TestTheQuotaHoldsWhileReadersDawdle(t *testing.T) {
	const quota, segment = 64 << 20, 8 << 20
	dir := t.TempDir()
	inputs, addresses := loadInputs(t, dir)
	a := startAgentIn(t, dir, inputs+"\nagent: {name: test-agent, data_dir: $DIR/data, max_size: 64MiB}\nstreams: {app: {max_size: 1GiB}}\n")
	l := startLoad(t, addresses, 500, "http", "relp", "tcp")
	within(t, patience, "records", func() bool { return l.senders["http"].acked.Load() > 200 })
	a.dawdle(t, "/api/v1/query?stream=app&order=asc&limit=10000")
	a.dawdle(t, "/api/v1/tail?stream=app&n=100")
	end := sync.OnceFunc(flood(addresses["http"], largeBody(2<<20), 2))
	t.Cleanup(end)
	most, taken := int64(0), uint64(0)
	within(t, 2*patience, "retention to take the quota twice", func() bool {
		most = max(most, onDisk(t, dir))
		now, _ := a.ledger(t)
		taken = now.Streams[0].Retention
		return taken*430 > 2*quota // bytes of a record, which do not compress
	})
	end()
	l.end(t)
	last := a.wantExplained(t)
	t.Logf("%d records taken by retention, %d here, at most %d MiB on the disk", taken, last.Streams[0].Here, most>>20)
	if most > quota+4*segment { // the one that is begun, one that is rewritten, and those that are to go
		t.Errorf("%d MiB on the disk, and the quota is %d", most>>20, quota>>20)
	}
	for kind, s := range l.senders {
		t.Logf("%-5s acknowledged %d, refused %d times", kind, s.acked.Load(), s.refused.Load())
	}
}

// TestAFullQuotaPushesBack has a receiver that does not answer fill agent.max_size, with a
// stream that pushes back: http and relp are told, /readyz says why, and
// once the receiver answers all goes on within 5 s.
func TestAFullQuotaPushesBack(t *testing.T) {
	y := startTally(t)
	answers := make(chan struct{})
	y.before = func() { <-answers }
	release := sync.OnceFunc(func() { close(answers) })
	t.Cleanup(release)
	dir := t.TempDir()
	inputs, addresses := loadInputs(t, dir)
	a := startAgentIn(t, dir, inputs+fmt.Sprintf(`
agent: {name: test-agent, data_dir: $DIR/data, max_size: 64MiB}
streams: {app: {max_size: 1GiB, on_full: push_back}}
forwarders: {hook: {type: webhook, from: [app], url: %q, timeout: 2m}}
`, y.url))
	l := startLoad(t, addresses, 1000, loadKinds...)
	web, relp := l.senders["http"], l.senders["relp"]
	within(t, patience, "acknowledgements", func() bool { return web.acked.Load() > 200 && relp.acked.Load() > 200 })
	end := sync.OnceFunc(flood(addresses["http"], largeBody(2<<20), 2))
	t.Cleanup(end)
	why, still := "", quiet{}
	within(t, patience, "refusals, and /readyz to say why", func() bool {
		if ok, said := a.ready(t); !ok {
			why = said
		}
		return web.refused.Load() >= 3 && still.since(relp.acked.Load()) > time.Second/2 && strings.Contains(why, "store is full")
	})
	end()
	h, r := web.acked.Load(), relp.acked.Load()
	release()
	took := within(t, 5*time.Second, "acknowledgements and /readyz, once there is room", func() bool {
		ok, _ := a.ready(t)
		return ok && web.acked.Load() > h && relp.acked.Load() > r
	})
	t.Logf("went on after %s; full: %s", took.Round(time.Millisecond), strings.TrimSpace(why))
	l.end(t)
	l.wantAccounted(t, a, y)
}
