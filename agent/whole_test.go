package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
)

// originsIn asks an agent for all its records, and returns their origins by message.
func originsIn(t *testing.T, a *testAgent) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for text := range strings.Lines(askIn(t, a.dir, "/api/v1/query?stream=app&limit=10000")) {
		message := messageOf(text)
		if was, twice := all[message]; twice {
			t.Fatalf("%q is there as %q and as %q", message, was, originOf(text))
		}
		all[message] = originOf(text)
	}
	return all
}

// middleOf writes the configuration of a tier in the middle: between two sockets, with more in its forwarder.
func middleOf(above, more string) string {
	return fmt.Sprintf(centralConfig, "DIR/relay.sock") + fmt.Sprintf("forwarders: {up: {type: relay, from: ['*'], to: ['unix://%s/relay.sock']%s}}\n", above, more)
}

// A block that a host has written is byte for byte what lies in the two tiers above. There, and in a third one whose pipeline looks into
// the records, each is from where the host had it first.
func TestBlocksPassTiersAsTheyAre(t *testing.T) {
	dirs := [4]string{shortDir(t), shortDir(t), shortDir(t), shortDir(t)}
	last := startAgent(t, dirs[3], fmt.Sprintf(centralConfig, "DIR/relay.sock")+`pipelines: {main: {from: [chain], steps: [{drop: 'message == "5"'}, {set: {seen: '"yes"'}}]}}`+"\n", nil)
	central := startAgent(t, dirs[2], middleOf(dirs[3], ""), nil)
	host := startAgent(t, dirs[0], fmt.Sprintf(hostConfig, "'unix://"+dirs[1]+"/relay.sock'", ""), nil)
	feed(t, host, 1, 2001)
	middle := startAgent(t, dirs[1], middleOf(dirs[2], ""), nil)
	host.retryNow()
	arrives(t, middle, 2000)
	arrives(t, central, 2000)
	last.stored(t, "app", 1999)
	want := originsIn(t, host)
	if len(want) != 2000 {
		t.Fatalf("the host has %d origins", len(want))
	}
	for i, a := range []*testAgent{middle, central, last} {
		got := originsIn(t, a)
		if a == last {
			if _, there := got["5"]; there || len(got) != 1999 {
				t.Errorf("%d records are in the last tier, 5: %v", len(got), there)
			}
			got["5"] = want["5"]
		}
		for message, origin := range want {
			if got[message] != origin {
				t.Fatalf("tier %d: %s is %q, and %q in the host", 1+i, message, got[message], origin)
			}
		}
	}
	if n := strings.Count(askIn(t, last.dir, "/api/v1/query?stream=app&limit=10000"), `"seen":"yes"`); n != 1999 {
		t.Errorf("the last tier's pipeline has seen %d records", n)
	}
	sameBlocks(t, host, middle, central)
}

// sameBlocks looks whether the blocks of the first are in the others, and from there.
func sameBlocks(t *testing.T, from *testAgent, others ...*testAgent) {
	t.Helper()
	id, _ := from.store.Identity()
	epoch := from.store.Epoch()
	large := 0
	for at := uint64(1); ; {
		var here, there record.Block
		first, _, ok := from.store.Block("app", at, &here)
		if !ok {
			break
		}
		at = first + uint64(here.Count)
		if here.Count < 64 && here.Raw < 64<<10 {
			continue // such ones are put together
		}
		large++
		for i, a := range others {
			_, _, ok := a.store.Block("app", first, &there)
			if o := there.Origin; !ok || !bytes.Equal(here.Body, there.Body) || o.Agent != id || o.Epoch != epoch || o.Sequence != first || string(o.Stream) != "app" {
				t.Errorf("tier %d: the block at %d has %d records from %+v in %d bytes, and in the host %d in %d", 1+i, first, there.Count, o, len(there.Body), here.Count, len(here.Body))
			}
		}
	}
	if large == 0 {
		t.Error("the host has no large block")
	}
}

// A middle tier whose disk is put back to before it sent blocks says that it has them in the way it likes: they are known above,
// nothing comes twice, and nothing is in doubt.
func TestARestoredMiddleAgreesAboutBlocks(t *testing.T) {
	for _, compress := range []string{"fast", "better"} {
		dirs := [3]string{shortDir(t), shortDir(t), shortDir(t)}
		host := startAgent(t, dirs[0], fmt.Sprintf(hostConfig, "'unix://"+dirs[1]+"/relay.sock'", ""), nil)
		middle := startAgent(t, dirs[1], middleOf(dirs[2], ""), nil)
		feed(t, host, 1, 1201)
		arrives(t, middle, 1200)
		middle.stop(t)
		data, saved := filepath.Join(dirs[1], "data"), filepath.Join(dirs[1], "saved")
		if err := os.CopyFS(saved, os.DirFS(data)); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(saved, "token")); err != nil { // the copy is not as private
			t.Fatal(err)
		}
		central := startAgent(t, dirs[2], fmt.Sprintf(centralConfig, "DIR/relay.sock"), nil)
		middle = startAgent(t, dirs[1], middleOf(dirs[2], ""), nil)
		arrives(t, central, 1200)
		middle.stop(t)
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(saved, data); err != nil {
			t.Fatal(err)
		}
		middle = startAgent(t, dirs[1], middleOf(dirs[2], ", compress: "+compress), nil)
		feed(t, host, 1201, 1501)
		arrives(t, middle, 1500)
		arrives(t, central, 1500)
		delivered(t, middle, 1501)
		if got := middle.metric("runnel_forwarder_doubtful_records_total"); got != 0 {
			t.Errorf("compress: %s: %d records are in doubt", compress, got)
		}
		want := originsIn(t, host)
		for message, got := range originsIn(t, central) {
			if got != want[message] {
				t.Fatalf("compress: %s: %s is %q, and %q in the host", compress, message, got, want[message])
			}
		}
		host.stop(t)
		middle.stop(t)
		central.stop(t)
	}
}

// blocker takes blocks, and fails on the first.
type blocker struct {
	mu    sync.Mutex
	given []string // guarded by mu: what each batch was, and its offsets
}

func (b *blocker) TakesBlocks() bool { return true }

func (b *blocker) Deliver(_ context.Context, batch *forwarders.Batch) (forwarders.Ack, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	how, n := "block", 0
	if batch.Block == nil {
		how, n = "records", batch.Records.Len()
	} else if n = batch.Block.Count; batch.Records != nil {
		how = "both"
	}
	if n != len(batch.Offsets) {
		how = fmt.Sprintf("%d of %d %s", n, len(batch.Offsets), how)
	}
	b.given = append(b.given, fmt.Sprintf("%s %d-%d", how, batch.Offsets[0], batch.Next-1))
	if len(b.given) == 1 {
		return nil, errors.New("something is wrong with it")
	}
	return nil, nil
}

func (b *blocker) Close() error { return nil }

// What was handed over as a block and not acknowledged is looked into before it is handed over again; with a filter all is.
func TestBlocksThatFailAreLookedInto(t *testing.T) {
	for _, where := range []string{"", `, where: 'message != "none"'`} {
		dir := shortDir(t)
		config := "inputs: {in: {type: syslog, listen: ['tcp://127.0.0.1:0']}}\npipelines: {main: {from: [in], stream: app}}\n"
		a := startAgent(t, dir, config, nil)
		feed(t, a, 1, 1201)
		how := "block"
		if where != "" {
			how = "records"
		}
		var want []string
		for at := uint64(1); at < 1201; {
			var k record.Block
			if _, _, ok := a.store.Block("app", at, &k); !ok {
				t.Fatalf("at %d there is no block", at)
			}
			next := at + uint64(k.Count)
			if want = append(want, fmt.Sprintf("%s %d-%d", how, at, next-1)); at == 1 {
				want = append(want, fmt.Sprintf("records %d-%d", at, next-1))
			}
			at = next
		}
		a.stop(t)
		b := new(blocker)
		a = startAgent(t, dir, config+"forwarders: {out: {type: test, from: [app]"+where+"}}\n", b)
		waitUntil(t, "all to be delivered", func() bool { at, _ := a.store.Cursor("out", "app"); return at == 1201 })
		b.mu.Lock()
		if !slices.Equal(b.given, want) {
			t.Errorf("where %q: given were %q, want %q", where, b.given, want)
		}
		b.mu.Unlock()
		a.stop(t)
	}
}
