package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm"
)

// tryTime bounds a call of TryModule, loading included.
const tryTime = 10 * time.Second

// TryModule gives each batch, of one record, to a copy of a module. An ordered
// module begins with no state, and sees what it kept of the records before.
func (h host) TryModule(ctx context.Context, name string, records []*record.Batch) ([]query.Verdict, error) {
	h.a.mu.Lock()
	c := *h.a.config
	h.a.mu.Unlock()
	c.Pipelines = nil
	c.Modules = slices.DeleteFunc(slices.Clone(c.Modules), func(m ModuleConfig) bool { return m.Name != name })
	if len(c.Modules) == 0 {
		return nil, fmt.Errorf("module %q: %w", name, query.ErrNotFound)
	}
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	loaded, closeAll, err := loadAll(ctx, &c, filepath.Join(c.DataDir, cacheDir))
	if err != nil {
		return nil, err
	}
	defer closeAll() //nolint:errcheck // nothing of it is kept
	m := loaded[name]
	process := m.Process
	if m.Ordered() {
		l := m.Line(wasm.NewState())
		defer l.Close()
		process = func(ctx context.Context, in *record.Batch, out *wasm.Outcome) error {
			defer l.Settle()
			return l.Process(ctx, in, out)
		}
	}
	verdicts := make([]query.Verdict, 0, len(records))
	for i, b := range records {
		var o wasm.Outcome
		if err := process(ctx, b, &o); err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", i, len(records), err)
		}
		verdicts = append(verdicts, verdictOf(i, b, &o))
		if o.Batch != b {
			o.Batch.Release()
		}
		if o.Dead != nil {
			o.Dead.Release()
		}
	}
	return verdicts, nil
}

// verdictOf says in a word what became of the one record in b, and all that goes on.
func verdictOf(index int, b *record.Batch, o *wasm.Outcome) query.Verdict {
	v := query.Verdict{Index: index, Verdict: "keep", Records: []json.RawMessage{}, Held: o.Held, Error: o.LastError}
	for _, d := range o.Dropped {
		if v.Dropped == nil {
			v.Dropped = make(map[string]int)
		}
		v.Dropped[d.Reason] = d.Count
	}
	for i := range o.Batch.Len() {
		out := o.Batch.At(i)
		v.Records = append(v.Records, record.AppendJSON(nil, out, record.Meta{Stream: string(out.Stream())}))
	}
	switch {
	case o.Failed > 0:
		v.Verdict = "fail"
	case o.Held > 0:
		v.Verdict = "hold"
	case o.Patched > 0:
		v.Verdict = "change"
	case len(o.Dropped) > 0 && o.Batch.Len() == o.Emitted:
		v.Verdict = "drop"
	}
	return v
}
