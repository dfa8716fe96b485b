package agent

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tiers"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// below is an agent below one that a test runs: it says what the test tells it to.
type below struct {
	testing.TB
	net.Conn
	reader *relaywire.Reader
	writer relaywire.Writer
	number uint64
	next   map[string]uint64 // by stream
}

// relayFrom connects a sender to an address, which may be gone, and asks of the streams.
func relayFrom(t testing.TB, network, address string, w relaywire.Writer, streams ...string) (*below, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return relayOver(t, conn, w, streams...)
}

// relayOver does so over a connection.
func relayOver(t testing.TB, conn net.Conn, w relaywire.Writer, streams ...string) (*below, error) {
	_ = conn.SetDeadline(time.Now().Add(patience)) // the test's own bound
	b := &below{TB: t, Conn: conn, reader: relaywire.NewReader(conn), writer: w, next: map[string]uint64{}}
	wire := relaywire.Append(nil, &relaywire.Hello{Writer: w, Versions: [2]uint16{1, 1}, Name: "host"})
	for _, stream := range streams {
		wire = relaywire.Append(wire, &relaywire.Ask{Stream: stream, Epoch: w.Epoch, Parts: relaywire.Ranges{{From: 1, To: math.MaxUint64}}})
	}
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	if _, err := b.reader.Next(); err != nil {
		return nil, err
	}
	for range streams {
		m, err := b.reader.Next()
		if err != nil {
			return nil, err
		}
		tell, ok := m.(*relaywire.Tell)
		if !ok || len(tell.Missing) != 1 {
			return nil, fmt.Errorf("got %T %+v", m, m)
		}
		b.next[tell.Stream] = tell.Missing[0].From
	}
	return b, nil
}

// mustRelay is relayFrom to an agent that runs.
func (a *testAgent) mustRelay(t *testing.T, input string, w relaywire.Writer, streams ...string) *below {
	t.Helper()
	network, address := a.address(t, input, 0)
	b, err := relayFrom(t, network, address, w, streams...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frame makes the next frame of a stream, of messages.
func (b *below) frame(stream string, messages ...string) []byte {
	records := new(record.Batch)
	for _, text := range messages {
		var r record.Record
		r.Reset()
		r.Message, r.Received = []byte(text), time.Now().UnixNano()
		if err := records.Append(&r); err != nil {
			b.Fatal(err)
		}
	}
	return b.frameOf(stream, records)
}

// frameOf makes the next frame of a stream, of records.
func (b *below) frameOf(stream string, records *record.Batch) []byte {
	b.number++
	at := relaywire.Range{From: b.next[stream], To: b.next[stream] + uint64(records.Len())}
	b.next[stream] = at.To
	return relaywire.Append(nil, &relaywire.Data{Number: b.number, Part: relaywire.Part{Line: relaywire.Line{Writer: b.writer, Stream: stream}, Range: at},
		Offsets: relaywire.Ranges{at}, Sum: relaywire.Sum(at.To-1, records.At(records.Len()-1)),
		Payload: s2.Encode(nil, records.Bytes()), Raw: uint32(records.Size())})
}

// send sends messages of a stream, and waits until they are acknowledged.
func (b *below) send(stream string, messages ...string) error {
	return b.sendFrames(b.frame(stream, messages...))
}

// sendFrames sends frames, and waits until the last is acknowledged.
func (b *below) sendFrames(frames []byte) error {
	if _, err := b.Write(frames); err != nil {
		return err
	}
	for {
		m, err := b.reader.Next()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *relaywire.Ack:
			if m.Number == b.number {
				return nil
			}
		case *relaywire.Nack:
			return m
		}
	}
}

var hostBelow = relaywire.Writer{Agent: relaywire.Agent{0xb0}, Epoch: 0xe1}

// Records of a relay stay in the streams that they were in, with no pipeline and with
// one that names none; one that names one has them all, but for what it routes.
func TestRelayedRecordsKeepTheirStreams(t *testing.T) {
	f := func(pipeline string, want map[string][]string) {
		t.Helper()
		a := startAgent(t, shortDir(t), "inputs: {chain: {type: relay, listen: ['tcp://127.0.0.1:0']}}\n"+pipeline, newTaker())
		b := a.mustRelay(t, "chain", hostBelow, "app", "db", "app.dead")
		for _, stream := range []string{"app", "db", "app.dead"} {
			if err := b.send(stream, "of "+stream, "few of "+stream); err != nil {
				t.Fatal(err)
			}
		}
		got := map[string][]string{}
		for _, s := range a.store.Streams() {
			if all := texts(t, a.store, s.Name); len(all) > 0 {
				slices.Sort(all)
				got[s.Name] = all
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("with %q\ngot  %v\nwant %v", pipeline, got, want)
		}
		a.stop(t)
	}
	kept := map[string][]string{"app": {"few of app", "of app"}, "db": {"few of db", "of db"}, "app.dead": {"few of app.dead", "of app.dead"}}
	f("", kept)
	f("pipelines: {p: {from: [chain], steps: [{set: {a: '1'}}]}}\n", kept)
	f("pipelines: {p: {from: [chain], stream: all}}\n", map[string][]string{"all": {"few of app", "few of app.dead", "few of db", "of app", "of app.dead", "of db"}})
	f("pipelines: {p: {from: [chain], steps: [{route: {few: 'message startsWith \"few\"'}}]}}\n", map[string][]string{"app": {"of app"}, "db": {"of db"}, "app.dead": {"of app.dead"},
		"few": {"few of app", "few of app.dead", "few of db"}})
	f("modules: {m: {"+conformance(t)+", on_error: dead_letter}}\npipelines: {p: {from: [chain], steps: [{module: m}]}}\n", kept)
}

// What a module holds goes where it would have gone at once, and so does what it makes of it.
func TestHeldRecordsKeepTheirStreams(t *testing.T) {
	a := startAgent(t, shortDir(t), "inputs: {chain: {type: relay, listen: ['tcp://127.0.0.1:0']}}\nmodules: {m: {"+conformance(t)+", on_error: dead_letter}}\npipelines: {p: {from: [chain], steps: [{module: m}]}}\n", newTaker())
	b := a.mustRelay(t, "chain", hostBelow, "app", "db")
	for _, say := range [][2]string{{"app", "hold k"}, {"db", "release k"}, {"db", "fail on purpose"}, {"db", "emit more"}} {
		if err := b.send(say[0], say[1]); err != nil {
			t.Fatal(err)
		}
	}
	if got := texts(t, a.store, "app"); !slices.Equal(got, []string{"hold k"}) {
		t.Errorf("app has %q", got)
	}
	if got := texts(t, a.store, "db.dead"); !slices.Equal(got, []string{"fail on purpose"}) {
		t.Errorf("db.dead has %q", got)
	}
	if got := texts(t, a.store, "db"); len(got) < 3 || got[0] != "release k" {
		t.Errorf("db has %q", got)
	}
	if got := texts(t, a.store, "default"); len(got) > 0 {
		t.Errorf("default has %q", got)
	}
}

// A configuration that takes streams from others may forward what it does not name.
func TestStreamsOfOthersMayBeForwarded(t *testing.T) {
	f := func(text, wrong string) {
		t.Helper()
		_, err := ParseConfig("runnel.yaml", []byte("agent: {data_dir: d}\n"+text), t.TempDir(), realKinds(nil))
		if (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s\ngot %v, want %q", text, err, wrong)
		}
	}
	chain := "inputs: {chain: {type: relay, listen: 'tcp://127.0.0.1:6515'}}\n"
	out := "forwarders: {out: {type: test, from: [anything]}}\n"
	f(chain+out, "")
	f(chain+"pipelines: {p: {from: [chain]}}\n"+out, "")
	f(chain+"pipelines: {p: {from: [chain], stream: default}}\n"+out, "is no stream here")
	f(chain+"forwarders: {out: {type: test, from: [Any Thing]}}\n", "is no name for a stream")
	f("inputs: {in: {type: relp, listen: 'tcp://127.0.0.1:2514'}}\n"+out, "is no stream here")
}

// The effective configuration says no more than the file: read again, it does the same.
func TestEffectiveKeepsStreamsToo(t *testing.T) {
	text := "agent: {data_dir: d}\ninputs: {chain: {type: relay, listen: 'tcp://127.0.0.1:6515'}}\npipelines: {p: {from: [chain]}, q: {from: []}}\n"
	for range 2 {
		c, err := ParseConfig("runnel.yaml", []byte(text), t.TempDir(), realKinds(nil))
		if err != nil {
			t.Fatal(err)
		}
		if !c.Pipelines[0].KeepsStreams || c.Pipelines[1].KeepsStreams {
			t.Errorf("%+v", c.Pipelines)
		}
		var b strings.Builder
		if err := c.Effective(&b); err != nil {
			t.Fatal(err)
		}
		text = b.String()
	}
}

// A stream is there once it has had something, also after a restart: no other shows where a
// forwarder takes all that there may be.
func TestStreamsWithNothingInThemDoNotShow(t *testing.T) {
	dir := shortDir(t)
	for n := range 3 {
		out := newTaker()
		a := startAgent(t, dir, "inputs: {chain: {type: relay, listen: ['tcp://127.0.0.1:0']}}\nforwarders: {out: {type: test, from: ['*']}}\n", out)
		b := a.mustRelay(t, "chain", hostBelow, "app")
		if err := b.send("app", fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
		if s := a.status(); len(s.Streams) != 1 || s.Streams[0].Name != "app" || len(s.Forwarders[0].Streams) > 1 {
			t.Errorf("start %d: the status has %+v and %+v", n, s.Streams, s.Forwarders[0].Streams)
		}
		waitUntil(t, "it to be forwarded", func() bool { at, _ := a.store.Cursor("out", "app"); return at == uint64(n+2) })
		a.stop(t)
	}
}

// The status says who is below, what they lag and what they lost.
func TestStatusListsAgentsBelow(t *testing.T) {
	a := startAgent(t, shortDir(t), "inputs: {chain: {type: relay, listen: ['tcp://127.0.0.1:0']}, in: {type: relp, listen: ['unix://DIR/in.sock']}}\n", newTaker())
	b := a.mustRelay(t, "chain", hostBelow, "app")
	report := relaywire.Report{Lag: relaywire.Lag{Records: 3, Bytes: 30, Oldest: 2 * time.Second, Lost: 4},
		Below: []relaywire.Below{{Hop: relaywire.Hop{Agent: relaywire.Agent{1}, Name: "deep"}, Build: "2", Via: 1, Seen: time.Now()}}}
	if _, err := b.Write(relaywire.Append(nil, &report)); err != nil {
		t.Fatal(err)
	}
	m, err := b.reader.Next()
	path, ok := m.(*relaywire.Path)
	if id, _ := a.store.Identity(); err != nil || !ok || len(path.Above) != 1 || path.Above[0].Agent != id || path.Above[0].Name != "vm" {
		t.Fatalf("got %+v, %v", m, err)
	}
	s := a.status()
	if len(s.Inputs[0].Below) != 2 || s.Inputs[1].Below != nil {
		t.Fatalf("below are %+v", s.Inputs)
	}
	host, deep := s.Inputs[0].Below[0], s.Inputs[0].Below[1]
	if host.Name != "host" || !host.Connected || host.Between != 0 || host.Through != "" || host.LagRecords != 3 || host.LagBytes != 30 || host.LagSeconds != 2 || host.Lost != 4 || host.Agent[:2] != "b0" {
		t.Errorf("the host is %+v", host)
	}
	if deep.Name != "deep" || deep.Connected || deep.Between != 1 || deep.Through != "host" || deep.Version != "2" {
		t.Errorf("behind it is %+v", deep)
	}
	if host.Copies != 1 || host.Renamed || host.Reported.IsZero() || deep.Reported != deep.Seen {
		t.Errorf("they are %+v and %+v", host, deep)
	}
	var text strings.Builder
	a.metrics.WritePrometheus(&text)
	const of = `{input="chain",agent="host",agent_id="b0000000000000000000000000000000"} `
	for _, want := range []string{"lag_records" + of + "3\n", "lag_seconds" + of + "2\n", "lost_records" + of + "4\n", "connections" + of + "1\n", "seen_seconds" + of} {
		if !strings.Contains(text.String(), "runnel_input_below_"+want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	if strings.Contains(text.String(), "deep") {
		t.Error("there are metrics of who is not directly below")
	}
}

// After a restart the status lists who was below and has not come back, also where the input is
// called otherwise now; who comes back is connected.
func TestAgentsBelowAreListedAfterARestart(t *testing.T) {
	dir := shortDir(t)
	config := "inputs: {in: {type: relp, listen: ['unix://DIR/in.sock']}, %s: {type: relay, listen: ['tcp://127.0.0.1:0']}, second: {type: relay, listen: ['unix://DIR/second.sock']}}\n"
	a := startAgent(t, dir, fmt.Sprintf(config, "chain"), newTaker())
	b := a.mustRelay(t, "chain", hostBelow, "app")
	report := relaywire.Report{Lag: relaywire.Lag{Records: 3, Lost: 4}, Below: []relaywire.Below{{Hop: relaywire.Hop{Agent: relaywire.Agent{1}, Name: "deep"}, Via: 1, Seen: time.Now()}}}
	if _, err := b.Write(relaywire.Append(nil, &report)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.reader.Next(); err != nil {
		t.Fatal(err)
	}
	a.stop(t)
	for _, name := range []string{"chain", "renamed"} {
		a = startAgent(t, dir, fmt.Sprintf(config, name), newTaker())
		s := a.status()
		if len(s.Inputs) != 3 || len(s.Inputs[1].Below) != 2 || len(s.Inputs[0].Below)+len(s.Inputs[2].Below) > 0 {
			t.Fatalf("below are %+v", s.Inputs)
		}
		host, deep := s.Inputs[1].Below[0], s.Inputs[1].Below[1]
		if host.Name != "host" || host.Connected || !host.Before || host.LagRecords != 3 || host.Lost != 4 || host.Reported.IsZero() || !deep.Before || deep.Through != "host" {
			t.Errorf("listed are %+v and %+v", host, deep)
		}
		var text strings.Builder
		a.writeBelow(&text)
		if !strings.Contains(text.String(), "runnel_input_below_connections{input=\"chain\",agent=\"host\",agent_id=\"b0000000000000000000000000000000\"} 0\n") {
			t.Errorf("the metrics do not have it:\n%s", text.String())
		}
		if name == "renamed" {
			a.mustRelay(t, name, hostBelow, "app")
			if host = a.status().Inputs[1].Below[0]; !host.Connected || host.Before || host.LagRecords != 3 {
				t.Errorf("it has come back as %+v", host)
			}
		}
		a.stop(t)
	}
}

// What is kept of agents below and cannot be read stops nothing, and is kept no longer.
func TestDamagedMarksOfAgentsBelowStopNothing(t *testing.T) {
	dir := shortDir(t)
	config := "inputs: {chain: {type: relay, listen: ['tcp://127.0.0.1:0']}}\n"
	a := startAgent(t, dir, config, newTaker())
	a.mustRelay(t, "chain", hostBelow, "app")
	id := relaywire.Agent{9: 9}
	key := belowKeys + string(id[:])
	receipt, err := a.store.Append(t.Context(), storage.Unit{State: []storage.Change{{Key: key, Value: []byte("?")}, {Key: belowKeys + "short", Value: []byte{1}}}})
	if err == nil {
		err = receipt.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	a.stop(t)
	a = startAgent(t, dir, config, newTaker())
	if all := a.status().Inputs[0].Below; len(all) != 1 || !strings.Contains(a.logs.String(), "what was kept of agents below cannot be read") {
		t.Errorf("below are %+v", all)
	}
	a.stop(t)
	n := 0
	openedAfter(t, dir).State(key, func(string, []byte) { n++ })
	if n > 0 {
		t.Error("it is kept still")
	}
}

// What a peer calls itself cannot break a scrape, and no more agents than so many have
// metrics of their own; who is forgotten has none.
func TestMetricsOfAgentsBelowAreBounded(t *testing.T) {
	a := &Agent{tiers: tiers.New(relaywire.Hop{})}
	for i := range mostBelowSeries + 10 {
		a.tiers.Connected("in", relaywire.Hop{Agent: relaywire.Agent{1, byte(i), byte(i >> 8)}, Name: fmt.Sprintf("a\"\\\n\xff%04d", i)}, "")
	}
	var text strings.Builder
	a.writeBelow(&text)
	if n := strings.Count(text.String(), "runnel_input_below_connections{"); n != mostBelowSeries {
		t.Errorf("%d agents have metrics, want %d", n, mostBelowSeries)
	}
	if !strings.Contains(text.String(), `{input="in",agent="a____0000",agent_id="01`) {
		t.Errorf("the first is not there:\n%.300s", text.String())
	}
	if strings.Contains(text.String(), "lag_") {
		t.Error("somebody who has not said so lags")
	}
}

// Two runs of one agent that speak at once are two: the log says so once, and the status
// while they do. One that was killed and has come again is not.
func TestCopiedAgentIsSeen(t *testing.T) {
	a := startAgent(t, shortDir(t), "inputs: {chain: {type: relay, listen: ['tcp://127.0.0.1:0']}}\n", newTaker())
	const says = "two agents below are one by their id"
	report := func(b *below) {
		t.Helper()
		if _, err := b.Write(relaywire.Append(nil, &relaywire.Report{})); err != nil {
			t.Fatal(err)
		}
		if m, err := b.reader.Next(); err != nil {
			t.Fatalf("got %T, %v", m, err)
		}
	}
	first := a.mustRelay(t, "chain", hostBelow, "app")
	report(first)
	second := a.mustRelay(t, "chain", relaywire.Writer{Agent: hostBelow.Agent, Epoch: hostBelow.Epoch + 1}, "app")
	report(second)
	if strings.Contains(a.logs.String(), says) || a.status().Inputs[0].Below[0].Copies != 1 {
		t.Error("one that has come again counts as two")
	}
	for range 3 {
		report(first)
		report(second)
	}
	if n := strings.Count(a.logs.String(), says); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	if all := a.status().Inputs[0].Below; len(all) != 1 || all[0].Copies != 2 {
		t.Errorf("below are %+v", all)
	}
}

// Two agents of one name are told of.
func TestSharedNameIsSaid(t *testing.T) {
	a := startAgent(t, shortDir(t), "inputs: {chain: {type: relay, listen: ['tcp://127.0.0.1:0']}}\n", newTaker())
	a.mustRelay(t, "chain", hostBelow, "app")
	if strings.Contains(a.logs.String(), "have one name") {
		t.Error("one agent is two")
	}
	a.mustRelay(t, "chain", relaywire.Writer{Agent: relaywire.Agent{0xb1}, Epoch: 7}, "app")
	if n := strings.Count(a.logs.String(), "two agents below have one name"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
}

// A reload and a restart know what came before: nothing is stored twice, and another input
// of the kind knows it as well.
func TestWhatIsKnownOutlivesReloadsAndRestarts(t *testing.T) {
	dir := shortDir(t)
	one := "inputs: {chain: {type: relay, listen: ['tcp://127.0.0.1:0']}}\n"
	two := "inputs: {other: {type: relay, listen: ['tcp://127.0.0.1:0'], max_connections: 9}, in: {type: syslog, listen: ['unix://DIR/in.sock']}}\n"
	a := startAgent(t, dir, one, newTaker())
	b := a.mustRelay(t, "chain", hostBelow, "app")
	if err := b.send("app", "1", "2"); err != nil {
		t.Fatal(err)
	}
	if err := a.reload(two); err != nil {
		t.Fatal(err)
	}
	b = a.mustRelay(t, "other", hostBelow, "app")
	if err := b.send("app", "3"); err != nil || b.next["app"] != 4 {
		t.Fatalf("%v, next is %d", err, b.next["app"])
	}
	a.stop(t)
	startAgent(t, dir, strings.Replace(two, "other:", "third:", 1), newTaker()).stop(t)
	startAgent(t, dir, "inputs: {in: {type: syslog, listen: ['unix://DIR/in.sock']}}\n", newTaker()).stop(t) // also without one for a while
	a = startAgent(t, dir, one, newTaker())
	b = a.mustRelay(t, "chain", hostBelow, "app")
	if err := b.send("app", "4"); err != nil {
		t.Fatal(err)
	}
	if got := texts(t, a.store, "app"); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("app has %q", got)
	}
}

// Killed anywhere between a frame and its ack, or between two, the agent has each record once.
func TestRelayedOnceOverKills(t *testing.T) {
	dir := childDirectory(t, "inputs: {chain: {type: relay, listen: ['tcp://127.0.0.1:0']}}\nforwarders: {out: {type: test, from: [app]}}\n")
	sent, acked, killed := 0, 0, 0
	for round := range 12 {
		point := []string{pointAccepted, pointStaged, "committed", pointUnanswered, "answered", ""}[round%6]
		k := startKillable(t, dir, strings.TrimSpace(fmt.Sprintf("%s %d", point, 2+round/2)))
		if k == nil {
			continue // it was killed before it was ready
		}
		network, address, _ := strings.Cut(k.listens, "://")
		b, err := relayFrom(t, network, address, hostBelow, "app")
		if err == nil {
			if sent = int(b.next["app"]) - 1; sent < acked {
				t.Fatalf("%d are asked for, and %d were acknowledged", sent, acked)
			}
		}
		for frames := 0; err == nil && frames < 40; frames++ {
			var some []string
			for range 1 + frames%5 {
				some = append(some, fmt.Sprint(sent))
				sent++
			}
			if err = b.send("app", some...); err == nil {
				acked = sent
			}
		}
		var refused *relaywire.Nack
		var broken *net.OpError
		switch {
		case errors.As(err, &refused):
			t.Fatal(err)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &broken):
			killed++
		case err != nil:
			t.Fatal(err)
		}
		k.kill()
	}
	got := texts(t, openedAfter(t, dir), "app")
	for i, text := range got {
		if text != fmt.Sprint(i) {
			t.Fatalf("record %d is %q", i, text)
		}
	}
	if len(got) < acked || acked == 0 || killed < 6 {
		t.Errorf("%d records, and %d were acknowledged; %d kills interrupted something", len(got), acked, killed)
	}
}
