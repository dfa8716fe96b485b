package agent

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tiers"
	"github.com/runnel-log/runnel/storage"
)

// mostBelowSeries bounds the agents below that have metrics of their own.
const mostBelowSeries = 1000

// belowStatus describes the agents that were heard of through an input; of those of inputs that the
// configuration has no more, too, where this is the first of its kind.
func (a *Agent) belowStatus(c *Config, input string) (all []query.BelowStatus) {
	first, here := "", make(map[string]bool)
	for _, ic := range c.Inputs {
		if here[ic.Name] = ic.Kind.Relays; ic.Kind.Relays && first == "" {
			first = ic.Name
		}
	}
	for _, b := range a.tiers.Below() {
		if b.Input == input || input == first && !here[b.Input] {
			s := query.BelowStatus{Name: b.Name, Agent: hex.EncodeToString(b.Agent[:]), Version: b.Build, Through: b.Through.Name,
				Between: max(0, int(b.Via)-1), Connected: b.Connections > 0, Copies: b.Copies(), Before: b.Before, Seen: b.Seen, Reported: b.Reported,
				LagRecords: b.Lag.Records, LagBytes: b.Lag.Bytes, LagSeconds: b.Lag.Oldest.Seconds(), Lost: b.Lag.Lost, Certificate: b.Identity}
			s.Renamed = tiers.Differ(b.Name, b.Identity)
			all = append(all, s)
		}
	}
	return all
}

// keepEvery is how often it is looked whether there is news of agents below to be kept.
const keepEvery = 30 * time.Second

// belowKeys is what the keys begin with under which agents below are kept, before their ids.
const belowKeys = markOwner + "\x00below\x00\x00"

// rememberBelow takes over who was below before this start.
func (a *Agent) rememberBelow() {
	kept := make(map[relaywire.Agent][]byte)
	a.store.State(belowKeys, func(key string, value []byte) {
		if id := key[len(belowKeys):]; len(id) == len(relaywire.Agent{}) {
			kept[relaywire.Agent([]byte(id))] = value
		}
	})
	if err := a.tiers.Remember(kept); err != nil {
		a.events.belowUnread(err)
	}
}

// keepBelow keeps what is news of agents below; all: also what is hardly any.
func (a *Agent) keepBelow(ctx context.Context, all bool) {
	news := a.tiers.Changes(all)
	if len(news) == 0 {
		return
	}
	changes := make([]storage.Change, len(news))
	for i, n := range news {
		changes[i] = storage.Change{Key: belowKeys + string(n.Agent[:]), Value: n.Value}
	}
	if _, err := a.store.Append(ctx, storage.Unit{State: changes}); err != nil {
		a.events.belowNotKept(err)
		return
	}
	a.tiers.Kept(news)
}

// runBelow keeps who is below until ctx ends.
func (a *Agent) runBelow(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.keepBelow(ctx, false)
		}
	}
}

// writeBelow writes metrics of the agents below: of those directly below, of the first
// mostBelowSeries by name. They are not registered: who is forgotten has none.
func (a *Agent) writeBelow(w io.Writer) {
	var direct []tiers.Below
	for _, b := range a.tiers.Below() {
		if b.Via == 1 && len(direct) < mostBelowSeries {
			direct = append(direct, b)
		}
	}
	const forgotten = "runnel_input_below_forgotten_total"
	metrics.WriteMetadataIfNeeded(w, forgotten, "counter")
	fmt.Fprintf(w, "%s %d\n", forgotten, a.tiers.Full())
	now := time.Now()
	said := func(b *tiers.Below) bool { return !b.Reported.IsZero() }
	series := func(name string, has func(b *tiers.Below) bool, value func(b *tiers.Below) float64) {
		metrics.WriteMetadataIfNeeded(w, name, "gauge")
		for i := range direct {
			if b := &direct[i]; has(b) {
				fmt.Fprintf(w, "%s{input=\"%s\",agent=\"%s\",agent_id=\"%x\"} %v\n", name, b.Input, labelOf(b.Name), b.Agent, value(b))
			}
		}
	}
	all := func(*tiers.Below) bool { return true }
	series("runnel_input_below_connections", all, func(b *tiers.Below) float64 { return float64(b.Connections) })
	series("runnel_input_below_seen_seconds", all, func(b *tiers.Below) float64 { return max(0, now.Sub(b.Seen).Seconds()) })
	series("runnel_input_below_lag_records", said, func(b *tiers.Below) float64 { return float64(b.Lag.Records) })
	series("runnel_input_below_lag_seconds", said, func(b *tiers.Below) float64 { return b.Lag.Oldest.Seconds() })
	series("runnel_input_below_lost_records", said, func(b *tiers.Below) float64 { return float64(b.Lag.Lost) })
}

// labelOf is a name that a peer gives, made fit to be the value of a label as it is.
func labelOf(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '"' || r == '\\' || r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, name)
}
