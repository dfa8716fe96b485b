package workbench

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm"
)

// keepAll is a guest that keeps every record (keep.wat).
//
//go:embed keep.wasm
var keepAll []byte

// BenchOptions say what is measured, and for how long.
type BenchOptions struct {
	Config []byte
	Tables map[string]Table
	Batch  int           // records of a batch
	Time   time.Duration // of each measurement
	// Batches to give, again and again, in order; as many as one likes.
	Batches []*record.Batch
}

// Measure is what was measured of one module on one engine.
type Measure struct {
	Name    string        `json:"name"`
	Engine  string        `json:"engine"`
	Load    time.Duration `json:"load_ns"` // until it was ready; of the second load, with its code in the cache
	Records int           `json:"records"`
	Bytes   int64         `json:"bytes"` // of encoded records
	Took    time.Duration `json:"took_ns"`

	NsRecord  float64 `json:"ns_per_record"`
	MBSecond  float64 `json:"mb_per_second"`
	Allocs    float64 `json:"allocs_per_batch"` // of the host
	Fuel      float64 `json:"fuel_per_record"`  // units of work of the guest (ABI §7.2)
	Memory    int64   `json:"memory_bytes"`     // linear memory of the instance, in the end
	Kept      int     `json:"out"`              // records that went on
	Dropped   int     `json:"dropped"`
	Failed    int     `json:"failed"`
	LastError string  `json:"last_error,omitempty"`
}

// Bench measures the module: one batch after another, on one core. The guest that
// keeps everything is measured the same way by Baseline.
func (d *Desk) Bench(ctx context.Context, o BenchOptions) (*Measure, error) {
	s := setting{config: o.Config, tables: o.Tables, now: time.Now, time: time.Second}
	if s.config == nil {
		s.config = []byte("{}")
	}
	m, err := d.open(ctx, s)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	again, err := d.load(ctx, s)
	load := time.Since(begin)
	if err != nil {
		return nil, errors.Join(err, m.Close(ctx))
	}
	defer again.Close(ctx)
	p, err := newPlace(m, nil)
	if err != nil {
		return nil, errors.Join(err, m.Close(ctx))
	}
	measure := &Measure{Name: d.name(), Engine: d.engine.String(), Load: load}
	err = measure.run(ctx, p, o)
	return measure, errors.Join(err, p.close(ctx))
}

// run gives batches for as long as is said, after a few that warm up.
func (r *Measure) run(ctx context.Context, p *place, o BenchOptions) error {
	var out wasm.Outcome
	give := func(in *record.Batch) error {
		if err := p.process(ctx, in, &out); err != nil {
			return err
		}
		r.Kept += out.Batch.Len()
		r.Failed += out.Failed
		if out.LastError != "" {
			r.LastError = out.LastError
		}
		for _, dropped := range out.Dropped {
			r.Dropped += dropped.Count
		}
		if out.Batch != in {
			out.Batch.Release()
		}
		if out.Dead != nil {
			out.Dead.Release()
		}
		return nil
	}
	for i := range max(8, len(o.Batches)) {
		if err := give(o.Batches[i%len(o.Batches)]); err != nil {
			return err
		}
	}
	r.Kept, r.Dropped, r.Failed = 0, 0, 0
	fuel := p.module.Stats().Fuel
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin, batches := time.Now(), 0
	for r.Took < o.Time {
		for range 16 { // looking at the clock is not what is measured
			in := o.Batches[batches%len(o.Batches)]
			if err := give(in); err != nil {
				return err
			}
			batches++
			r.Records += in.Len()
			r.Bytes += int64(in.Size())
		}
		r.Took = time.Since(begin)
	}
	runtime.ReadMemStats(&after)
	r.NsRecord = float64(r.Took.Nanoseconds()) / float64(r.Records)
	r.MBSecond = float64(r.Bytes) / 1e6 / r.Took.Seconds()
	r.Fuel = float64(p.module.Stats().Fuel-fuel) / float64(r.Records)
	r.Memory = p.memory()
	r.Allocs = float64(after.Mallocs-before.Mallocs) / float64(batches)
	return nil
}

// Baseline measures the guest that keeps every record, on the same records: what it
// costs is the host's own work.
func Baseline(ctx context.Context, o BenchOptions, engine wasm.Engine) (*Measure, error) {
	d, err := newDesk(ctx, "keep all", keepAll, DeskOptions{Engine: engine})
	if err != nil {
		return nil, err
	}
	o.Config, o.Tables = nil, nil
	measure, err := d.Bench(ctx, o)
	return measure, errors.Join(err, d.Close(ctx))
}

// Batches puts records into batches of n.
func Batches(records func(yield func(*record.Record) bool), n int) ([]*record.Batch, error) {
	var all []*record.Batch
	last := new(record.Batch)
	for r := range records {
		if last.Len() == n {
			all, last = append(all, last), new(record.Batch)
		}
		if err := last.Append(r); err != nil {
			return nil, err
		}
	}
	if last.Len() > 0 {
		all = append(all, last)
	}
	return all, nil
}

// Generated yields n records as a small web service writes them: of six
// programs, one in eight debug, one in sixteen an error, some with attributes.
func Generated(n int) func(yield func(*record.Record) bool) {
	apps := []string{"nginx", "api", "worker", "sshd", "cron", "kernel"}
	texts := []string{
		`10.0.3.7 - - [22/Nov/2026:10:00:00 +0000] "GET /healthz HTTP/1.1" 200 2 "-" "kube-probe/1.29"`,
		`{"level":"info","msg":"order placed","order":48213,"user":"u-7713","ms":18}`,
		"job 4711 finished in 812 ms, 3 retries, queue depth 14",
		"Accepted publickey for deploy from 10.0.0.5 port 50212 ssh2: ED25519 SHA256:q1w2e3r4",
		"(root) CMD (command -v debian-sa1 > /dev/null && debian-sa1 1 1)",
		"eth0: renamed from veth6f1e2a3",
	}
	return func(yield func(*record.Record) bool) {
		var r record.Record
		start := standardNow.UnixNano()
		for i := range n {
			r.Reset()
			r.Time, r.Received = start+int64(i)*1e6, start+int64(i)*1e6+3e5
			r.Facility, r.Severity = 3, 6
			switch {
			case i%8 == 0:
				r.Severity = 7
			case i%16 == 5:
				r.Severity = 3
			}
			r.Host, r.App, r.ProcID = []byte("vm-17"), []byte(apps[i%len(apps)]), strconv.AppendInt(nil, int64(1000+i%7), 10)
			r.Message = fmt.Appendf(nil, "%s #%d", texts[i%len(texts)], i)
			if i%2 == 0 {
				r.Attrs.SetInt("status", int64(200+i%5*100))
				r.Attrs.SetString("path", "/api/v1/orders")
			}
			if !yield(&r) {
				return
			}
		}
	}
}
