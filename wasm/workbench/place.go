package workbench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm"
)

// place is a module at work: an ordered one in its line, with what its state is in
// the store; or any other.
type place struct {
	module *wasm.Module
	state  *wasm.State
	line   *wasm.Line
	stored map[string][]byte // by the keys of Changes
}

func newPlace(m *wasm.Module, state map[string][]byte) (*place, error) {
	p := &place{module: m, stored: map[string][]byte{}}
	for key, value := range state {
		p.stored[wasm.ValueKey(key)] = value
	}
	return p, p.begin()
}

// restart ends the instances, and begins again with what is stored.
func (p *place) restart() error {
	if p.line != nil {
		p.line.Close()
	}
	p.module.Refresh()
	return p.begin()
}

// begin begins a line, if the module is ordered, with what is stored.
func (p *place) begin() error {
	if !p.module.Ordered() {
		return nil
	}
	p.state = wasm.NewState()
	for key, value := range p.stored {
		if err := p.state.Restore(key, value); err != nil {
			return err
		}
	}
	p.line = p.module.Line(p.state)
	return nil
}

// values returns the state as the guest knows it.
func (p *place) values() map[string][]byte {
	values := map[string][]byte{}
	for key, value := range p.stored {
		if name, ok := (wasm.Change{Key: key}).GuestKey(); ok {
			values[name] = value
		}
	}
	return values
}

func (p *place) process(ctx context.Context, in *record.Batch, out *wasm.Outcome) error {
	if p.line == nil {
		return p.module.Process(ctx, in, out)
	}
	return p.settle(p.line.Process(ctx, in, out))
}

func (p *place) tick(ctx context.Context, out *wasm.Outcome) error {
	if p.line == nil || !p.line.Ticks() {
		return errNoTick
	}
	return p.settle(p.line.Tick(ctx, out))
}

var errNoTick = errors.New("the module does not export runnel_tick")

func (p *place) flush(ctx context.Context, out *wasm.Outcome) error {
	if p.line == nil {
		*out = wasm.Outcome{}
		return nil
	}
	return p.settle(p.line.Flush(ctx, out))
}

// settle stores what changed, as a commit would.
func (p *place) settle(err error) error {
	if err != nil {
		return err
	}
	for _, c := range p.line.Changes(nil) {
		if c.Value == nil {
			delete(p.stored, c.Key)
		} else {
			p.stored[c.Key] = bytes.Clone(c.Value)
		}
	}
	p.line.Settle()
	return nil
}

func (p *place) held() int {
	if p.state == nil {
		return 0
	}
	n, _ := p.state.Held()
	return n
}

// memory returns the bytes of linear memory of the instance.
func (p *place) memory() int64 {
	if p.line != nil {
		return p.line.MemoryInUse()
	}
	return p.module.MemoryInUse()
}

func (p *place) close(ctx context.Context) error {
	if p.line != nil {
		p.line.Close()
	}
	return p.module.Close(ctx)
}

// guestMetrics returns the counters that modules have made, by name.
func guestMetrics(set *metrics.Set) map[string]float64 {
	values := map[string]float64{}
	var text bytes.Buffer
	set.WritePrometheus(&text)
	for line := range strings.Lines(text.String()) {
		name, found := strings.CutPrefix(line, "runnel_guest_")
		if !found {
			continue
		}
		name, rest, _ := strings.Cut(name, "{")
		var value float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, '}')+1:], &value); err == nil {
			values[name] = value
		}
	}
	return values
}

// since returns what the counters of after have grown by.
func since(before, after map[string]float64) map[string]float64 {
	grown := maps.Clone(after)
	for name, value := range before {
		if grown[name] -= value; grown[name] == 0 {
			delete(grown, name)
		}
	}
	return grown
}
