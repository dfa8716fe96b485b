package agent

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/internal/tiers"
)

// mostBelowSeries bounds the agents below that have metrics of their own.
const mostBelowSeries = 1000

// belowStatus describes the agents that were heard of through an input.
func (a *Agent) belowStatus(input string) (all []query.BelowStatus) {
	for _, b := range a.tiers.Below() {
		if b.Input == input {
			s := query.BelowStatus{Name: b.Name, Agent: hex.EncodeToString(b.Agent[:]), Version: b.Build, Through: b.Through.Name,
				Between: max(0, int(b.Via)-1), Connected: b.Connections > 0, Copies: b.Copies(), Seen: b.Seen, Reported: b.Reported,
				LagRecords: b.Lag.Records, LagBytes: b.Lag.Bytes, LagSeconds: b.Lag.Oldest.Seconds(), Lost: b.Lag.Lost, Certificate: b.Identity}
			s.Renamed = tiers.Differ(b.Name, b.Identity)
			all = append(all, s)
		}
	}
	return all
}

// writeBelow writes metrics of the agents directly below, of the first mostBelowSeries by
// name. They are not registered: who is forgotten has none.
func (a *Agent) writeBelow(w io.Writer) {
	var direct []tiers.Below
	for _, b := range a.tiers.Below() {
		if b.Via == 1 && len(direct) < mostBelowSeries {
			direct = append(direct, b)
		}
	}
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
