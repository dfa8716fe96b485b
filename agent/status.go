package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// noSecret is the zero Secret.
var noSecret config.Secret

// host shows the agent to the API.
type host struct{ a *Agent }

func (h host) Reload(ctx context.Context) error { return h.a.Reload(ctx) }

// Ready returns nil while the agent runs and its store takes records.
func (h host) Ready() error {
	h.a.mu.Lock()
	defer h.a.mu.Unlock()
	switch {
	case h.a.config == nil:
		return errors.New("starting")
	case h.a.stopping:
		return errors.New("stopping")
	}
	return h.a.store.Trouble()
}

func (h host) Config() []byte {
	h.a.mu.Lock()
	c := h.a.config
	h.a.mu.Unlock()
	if c == nil {
		return nil
	}
	var b bytes.Buffer
	if err := c.Effective(&b); err != nil {
		return fmt.Appendf(nil, "# %v\n", err)
	}
	return b.Bytes()
}

func (h host) SetCursor(forwarder, stream string, to uint64) error {
	return h.moveCursor(forwarder, stream, func(*delivering, *storage.StreamInfo) uint64 { return to })
}

func (h host) SkipCursor(forwarder, stream string, n uint64) (to uint64, err error) {
	err = h.moveCursor(forwarder, stream, func(d *delivering, in *storage.StreamInfo) uint64 {
		at, _ := d.position(stream)
		to = min(max(at, in.First)+n, in.Next)
		return to
	})
	return to, err
}

// moveCursor moves the cursor of whichever delivery the forwarder has at the moment.
func (h host) moveCursor(forwarder, stream string, to func(*delivering, *storage.StreamInfo) uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), durableWithin)
	defer cancel()
	return h.a.withSettled(ctx, forwarder, func(all map[string]*delivering) error {
		d := all[forwarder]
		if d == nil {
			return fmt.Errorf("forwarder %q: %w", forwarder, query.ErrNotFound)
		}
		infos := h.a.store.Streams()
		i := slices.IndexFunc(infos, func(s storage.StreamInfo) bool { return s.Name == stream })
		if i < 0 || !d.covers(stream) {
			return fmt.Errorf("stream %q of forwarder %q: %w", stream, forwarder, query.ErrNotFound)
		}
		return d.moveCursor(stream, to(d, &infos[i]))
	})
}

// Status describes every part as it is now.
func (h host) Status() query.Status {
	a := h.a
	a.mu.Lock()
	c := a.config
	inputs, deliveries := make(map[string]*running, len(a.inputs)), make(map[string]*delivering, len(a.deliveries))
	for name, in := range a.inputs {
		inputs[name] = in
	}
	for name, d := range a.deliveries {
		deliveries[name] = d
	}
	modules, refused := a.modules, maps.Clone(a.refused)
	a.mu.Unlock()
	if c == nil {
		return query.Status{}
	}
	s := query.Status{Agent: query.AgentStatus{Name: c.Name, PID: os.Getpid(), DataDir: c.DataDir, Config: c.File,
		RSS: residentBytes(), DiskMax: c.MaxSize}}
	s.Certificates, s.Ending = a.certificates.status()
	for _, in := range a.store.Streams() {
		s.Agent.DiskUsed += in.Bytes
		s.Streams = append(s.Streams, query.StreamStatus{Name: in.Name, First: in.First, Next: in.Next, Records: in.Records, Bytes: in.Bytes,
			RawBytes: in.RawBytes, Oldest: timeOrZero(in.OldestReceived), Newest: timeOrZero(in.NewestReceived), Rate: a.rates.of("stream", in.Name)})
	}
	for _, ic := range c.Inputs {
		if in := inputs[ic.Name]; in != nil {
			s.Inputs = append(s.Inputs, a.inputStatus(c, in))
		}
	}
	for _, pc := range c.Pipelines {
		s.Pipelines = append(s.Pipelines, a.pipelineStatus(pc))
	}
	for _, mc := range c.Modules {
		if m := modules[mc.Name]; m != nil {
			one := moduleStatus(m)
			if r, ok := refused[mc.Name]; ok {
				one.Refused = r.err.Error()
			}
			s.Modules = append(s.Modules, one)
		}
	}
	for _, fc := range c.Forwarders {
		if d := deliveries[fc.Name]; d != nil {
			s.Forwarders = append(s.Forwarders, d.status(a.rates.of("forwarder", fc.Name)))
		}
	}
	return s
}

func timeOrZero(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return record.TimeOf(ns)
}

func (a *Agent) inputStatus(c *Config, in *running) query.InputStatus {
	name := in.config.Name
	s := query.InputStatus{Name: name, Kind: in.config.Kind.Name, Rate: a.rates.of("input", name),
		Records: a.sum("runnel_input_records_total", name), Bytes: a.sum("runnel_input_bytes_total", name),
		Malformed: a.sum("runnel_input_malformed_total", name), Truncated: a.sum("runnel_input_truncated_total", name),
		Dropped: a.sum("runnel_input_dropped_total", name), Errors: a.sum("runnel_input_errors_total", name)}
	for _, l := range in.status() {
		s.Listeners = append(s.Listeners, query.ListenerStatus(l))
	}
	if in.config.Kind.Relays {
		s.Below = a.belowStatus(c, name)
	}
	return s
}

// sum adds up the counters of that name that an input has registered, whatever
// their other labels.
func (a *Agent) sum(metric, input string) (total uint64) {
	prefix := metric + "{"
	label := "input=" + strconv.Quote(input)
	for _, name := range a.metrics.ListMetricNames() {
		if strings.HasPrefix(name, prefix) && strings.Contains(name, label) {
			total += a.metrics.GetOrCreateCounter(name).Get()
		}
	}
	return total
}

func (a *Agent) pipelineStatus(pc PipelineConfig) query.PipelineStatus {
	counts := a.countsOf(pc.Name)
	return query.PipelineStatus{Name: pc.Name, From: pc.From, Received: counts.received.Get(), Emitted: counts.emitted.Get(),
		Stored: counts.stored.Get(), Dropped: counts.droppedByReason(), Rejected: counts.rejected.Get(), Held: counts.held.Load(), Rate: a.rates.of("pipeline", pc.Name)}
}

func moduleStatus(m *module) query.ModuleStatus {
	stats, version := m.Stats(), ""
	if manifest := m.Manifest(); manifest != nil {
		version = manifest.Version
	}
	return query.ModuleStatus{Name: m.config.Name, Version: version, Ordered: m.Ordered(), File: m.config.Options.File, Hash: stats.Hash, LastError: stats.LastError, Records: stats.Records,
		Dropped: stats.Dropped, Failed: stats.Failed, Seconds: stats.Elapsed.Seconds(), LastErrorAt: stats.LastErrorAt, Bypassed: stats.Open}
}

// status describes the delivery and its cursors.
func (d *delivery) status(rate float64) query.ForwarderStatus {
	s := query.ForwarderStatus{Name: d.name, Kind: d.config.Kind.Name, To: d.config.To, Rate: rate}
	_, s.Remembers = d.config.Options.(forwarders.Remembering)
	if c, ok := d.forwarder.(forwarders.Chooser); ok {
		s.Using = c.Using()
		for _, to := range c.Destinations() {
			s.Destinations = append(s.Destinations, query.DestinationStatus{URL: to.URL, Connected: to.URL == s.Using, LastError: to.LastError, LastErrorAt: to.LastErrorAt})
		}
	}
	d.mu.Lock()
	s.State, s.LastError, s.LastErrorAt, s.NextTry = d.stateWith(s.Using), d.lastErr, d.lastFail, d.soonest(d.nextTry)
	d.mu.Unlock()
	for _, in := range d.store.Streams() {
		if !d.covers(in.Name) {
			continue
		}
		at, ok := d.position(in.Name)
		if !ok {
			continue
		}
		counts := d.counts.of(in.Name)
		reached := max(at, in.First) // what retention has taken in front of the cursor is not to come
		c := query.CursorStatus{Stream: in.Name, Next: at, End: in.Next, Delivered: counts.delivered.Get(), Filtered: counts.filtered.Get(),
			Expired: counts.expired.Get() + reached - at, Damaged: counts.damaged.Get(), Dead: counts.dead.Get()}
		if c.Unended = d.unended(in.Name); reached < in.Next {
			b := d.store.Backlog(in.Name, at)
			c.LagRecords, c.LagBytes, c.LagSeconds = in.Next-reached, b.Bytes, b.Age.Seconds()
		}
		if reached < in.Next || c.Unended > 0 {
			f, is := counts.outlook.ahead(d.maxSize)
			if c.Measuring = is == outlookMeasuring; is == outlookFull {
				c.Full = &query.FullStatus{InSeconds: f.in.Seconds(), By: f.by, Then: f.then}
			}
		}
		s.Streams = append(s.Streams, c)
	}
	for _, stream := range d.redrives.underWay() {
		r, _ := d.redrives.at(stream)
		s.Streams = append(s.Streams, query.CursorStatus{Stream: stream, Redrive: true, Next: r.next, End: r.until, LagRecords: r.until - r.next,
			Delivered: r.redriven, Filtered: r.others, Expired: r.expired, Damaged: r.damaged, Dead: r.again})
	}
	return s
}

// residentBytes returns the process's resident memory, 0 where the system does
// not say.
func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// rateEvery is how often the rates that `status` shows are measured.
const rateEvery = 5 * time.Second

// rates are records a second over the last rateEvery, by part.
type rates struct {
	mu sync.Mutex
	// guarded by mu:
	last map[string]uint64
	rate map[string]float64
}

func (r *rates) of(part, name string) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rate[part+"\x00"+name]
}

// runRates measures until ctx ends.
func (a *Agent) runRates(ctx context.Context) {
	ticker := time.NewTicker(rateEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.rates.measure(a.totals(), rateEvery.Seconds())
			a.look(time.Now())
			a.lookAtDates(time.Now())
		}
	}
}

// look has every delivery look at its backlog.
func (a *Agent) look(now time.Time) {
	a.mu.Lock()
	deliveries := slices.Collect(maps.Values(a.deliveries))
	a.mu.Unlock()
	for _, d := range deliveries {
		d.look(now)
	}
}

func (r *rates) measure(totals map[string]uint64, seconds float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rate = make(map[string]float64, len(totals))
	for part, total := range totals {
		if last, ok := r.last[part]; ok && total >= last {
			r.rate[part] = float64(total-last) / seconds
		}
	}
	r.last = totals
}

// totals are the counts whose rates are shown.
func (a *Agent) totals() map[string]uint64 {
	a.mu.Lock()
	c := a.config
	a.mu.Unlock()
	totals := make(map[string]uint64)
	if c == nil {
		return totals
	}
	for _, ic := range c.Inputs {
		totals["input\x00"+ic.Name] = a.sum("runnel_input_records_total", ic.Name)
	}
	for _, pc := range c.Pipelines {
		totals["pipeline\x00"+pc.Name] = a.countsOf(pc.Name).received.Get()
	}
	for _, in := range a.store.Streams() {
		totals["stream\x00"+in.Name] = in.Next
	}
	for _, fc := range c.Forwarders {
		if d := a.delivery(fc.Name); d != nil {
			totals["forwarder\x00"+fc.Name] = d.counts.delivered.Load()
		}
	}
	return totals
}
