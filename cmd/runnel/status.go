package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/runnel-log/runnel/agent/query"
)

// cursorState is a cursor as the API gives it.
type cursorState = query.CursorStatus

// statusCmd shows how the agent is doing.
type statusCmd struct{}

func (statusCmd) Run(g *globals) error {
	agent, err := g.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	var raw json.RawMessage
	if err := agent.GetJSON(ctx, "/api/v1/status", nil, &raw); err != nil {
		return err
	}
	if g.Output == "json" {
		return printJSON(g.Stdout, raw)
	}
	var st query.Status
	if err := json.Unmarshal(raw, &st); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return printStatus(g.Stdout, st, time.Now())
}

// printStatus prints every part as a table, and below them what went wrong.
func printStatus(w io.Writer, st query.Status, now time.Time) error {
	a := st.Agent
	fmt.Fprintf(w, "%s  runnel %s  pid %d  up %s", visible(w, a.Name), visible(w, a.Version), a.PID, span(a.Uptime))
	if a.RSS > 0 {
		fmt.Fprintf(w, "  %s of memory", size(a.RSS))
	}
	fmt.Fprintf(w, "\ndata in %s", visible(w, a.DataDir))
	if a.DiskMax > 0 {
		fmt.Fprintf(w, ": %s of %s", size(a.DiskUsed), size(a.DiskMax))
	}
	fmt.Fprintln(w)
	if a.Ready != "" {
		fmt.Fprintf(w, "not ready: %s\n", visible(w, a.Ready))
	}
	tables := []table{inputTable(st), belowTable(st, now), pipelineTable(st), moduleTable(st), streamTable(st, now), forwarderTable(st)}
	for i := range tables {
		if err := tables[i].print(w); err != nil {
			return err
		}
	}
	troubles := troubleTable(st, now)
	if err := troubles.print(w); err != nil {
		return err
	}
	if err := printOutlook(w, st); err != nil {
		return err
	}
	return printUnended(w, st)
}

// printOutlook says what will become of forwarders that are behind, if all goes on
// as it does.
func printOutlook(w io.Writer, st query.Status) error {
	for _, f := range st.Forwarders {
		for _, c := range f.Streams {
			if c.Full == nil {
				continue
			}
			said := fmt.Sprintf("at this rate the buffer of %s is full in %s (%s): then ", visible(w, c.Stream), fullSpan(c.Full), visible(w, c.Full.By))
			if c.Full.InSeconds == 0 {
				said = fmt.Sprintf("the buffer of %s is full (%s): ", visible(w, c.Stream), visible(w, c.Full.By))
			}
			if _, err := fmt.Fprintf(w, "\n%s%s\n", said, outcome(w, c.Full.Then, f.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// printUnended says what is delivered, and kept for the case that a tier above is lost.
func printUnended(w io.Writer, st query.Status) error {
	for _, f := range st.Forwarders {
		for _, c := range f.Streams {
			if c.Unended == 0 {
				continue
			}
			if _, err := fmt.Fprintf(w, "\n%s records of %s are delivered by %s, and kept until the last agent above has them\n", num(c.Unended), visible(w, c.Stream), visible(w, f.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// outcome says what happens when a buffer is full.
func outcome(w io.Writer, then, forwarder string) string {
	switch then {
	case "drop_new", "push_back":
		return "http, relp and relay senders wait; what comes by syslog is dropped"
	}
	return "records are dropped that " + visible(w, forwarder) + " has not delivered"
}

// fullIn is when the buffer is full: a question mark where that is not known yet.
func fullIn(c *query.CursorStatus) string {
	switch {
	case c.Full != nil && c.Full.InSeconds == 0:
		return "now"
	case c.Full != nil:
		return fullSpan(c.Full)
	case c.Measuring:
		return "?"
	}
	return "-"
}

func fullSpan(f *query.FullStatus) string {
	text := span(max(f.InSeconds, 0.1))
	if hours, whole := strings.CutSuffix(text, "h0m"); whole {
		return hours + "h"
	}
	return text
}

func lagSize(n int64) string {
	if n == 0 {
		return "-"
	}
	return size(n)
}

func inputTable(st query.Status) table {
	t := table{title: "INPUTS", head: []string{"NAME", "KIND", "LISTENS ON", "CONNS", "RECORDS", "BYTES", "RATE", "MALFORMED", "TRUNCATED", "LOST", "ERRORS"}}
	for _, in := range st.Inputs {
		urls, connections, lost := []string{}, uint64(0), in.Dropped
		for _, l := range in.Listeners {
			urls = append(urls, l.URL)
			connections += uint64(l.Connections)
			lost += l.KernelDrops
		}
		if len(urls) == 0 {
			urls = []string{""}
		}
		t.add(in.Name, in.Kind, urls[0], zero(connections), num(in.Records), size(int64(in.Bytes)), rate(in.Rate),
			zero(in.Malformed), zero(in.Truncated), zero(lost), zero(in.Errors))
		for _, url := range urls[1:] {
			t.add("", "", url, "", "", "", "", "", "", "", "")
		}
	}
	return t
}

// oldReport is how old an agent's word of itself may be to be shown as how it is: it
// comes every ten seconds.
const oldReport = 30 * time.Second

// belowTable is who sends here from agents below. What is not known is a question mark, and so
// is what follows a number that was so some time ago.
func belowTable(st query.Status, now time.Time) table {
	t := table{title: "AGENTS BELOW", head: []string{"NAME", "VERSION", "INPUT", "THROUGH", "STATE", "SEEN", "LAG", "BYTES", "BEHIND", "LOST", "AS_OF"}}
	names := make(map[string]int)
	for _, in := range st.Inputs {
		for _, b := range in.Below {
			names[b.Name]++
		}
	}
	for _, in := range st.Inputs {
		for _, b := range in.Below {
			name := b.Name
			if b.Renamed {
				name += "(" + b.Certificate + ")"
			} else if names[b.Name] > 1 {
				name += "(" + b.Agent[:min(8, len(b.Agent))] + ")"
			}
			t.add(append([]string{name, b.Version, in.Name, b.Through, belowState(&b, now), ago(b.Seen, now)}, belowLag(&b, now)...)...)
		}
	}
	return t
}

// belowState is whether an agent is there.
func belowState(b *query.BelowStatus, now time.Time) string {
	switch {
	case b.Copies > 1:
		return fmt.Sprintf("connected×%d", b.Copies)
	case b.Connected:
		return "connected"
	case b.Between > 0 && !b.Before && now.Sub(b.Seen) < time.Minute:
		return "reported"
	}
	return "gone"
}

// belowLag is the cells from LAG on.
func belowLag(b *query.BelowStatus, now time.Time) []string {
	if b.Reported.IsZero() {
		return []string{"?", "?", "?", "?", "?"}
	}
	cells := []string{zero(b.LagRecords), lagSize(int64(b.LagBytes)), span(b.LagSeconds), zero(b.Lost), ago(b.Reported, now)}
	if (b.Connected || b.Between > 0 && !b.Before) && now.Sub(b.Reported) < oldReport {
		return cells
	}
	for i, cell := range cells[:3] {
		if cells[i] = cell + "?"; cell == "-" {
			cells[i] = "0?"
		}
	}
	return cells
}

func pipelineTable(st query.Status) table {
	t := table{title: "PIPELINES", head: []string{"NAME", "FROM", "RECEIVED", "EMITTED", "STORED", "HELD", "REJECTED", "RATE", "LOST", "DROPPED"}}
	for _, p := range st.Pipelines {
		lost, wanted := maps.Clone(p.Dropped), maps.Clone(p.Dropped)
		maps.DeleteFunc(lost, func(reason string, _ uint64) bool { return !isLoss(reason) })
		maps.DeleteFunc(wanted, func(reason string, _ uint64) bool { return isLoss(reason) })
		t.add(p.Name, strings.Join(p.From, ","), num(p.Received), zero(p.Emitted), num(p.Stored), zero(uint64(max(0, p.Held))), zero(p.Rejected), rate(p.Rate), reasons(lost), reasons(wanted))
	}
	return t
}

// isLoss tells what nobody wanted dropped from what the configuration and its modules drop.
func isLoss(reason string) bool { return reason == "full" || reason == "damaged" }

func moduleTable(st query.Status) table {
	t := table{title: "MODULES", head: []string{"NAME", "FILE", "HASH", "RECORDS", "DROPPED", "FAILED", "PER RECORD", "STATE"}}
	for _, m := range st.Modules {
		each := "-"
		if m.Records > 0 {
			each = perRecord(time.Duration(m.Seconds * 1e9 / float64(m.Records)))
		}
		state := "runs"
		if m.Refused != "" {
			state = "runs an older file"
		}
		if m.Bypassed {
			state = "bypassed"
		}
		t.add(m.Name, m.File, m.Hash[:min(12, len(m.Hash))], num(m.Records), zero(m.Dropped), zero(m.Failed), each, state)
	}
	return t
}

// perRecord is in whole nanoseconds up to 10 µs, in µs or ms beyond.
func perRecord(d time.Duration) string {
	if d < 10*time.Microsecond {
		return fmt.Sprintf("%dns", d.Nanoseconds())
	}
	return d.Round(time.Microsecond).String()
}

func streamTable(st query.Status, now time.Time) table {
	t := table{title: "STREAMS", head: []string{"NAME", "RECORDS", "FIRST", "NEXT", "ON DISK", "RAW", "RATE", "OLDEST", "NEWEST"}}
	for _, s := range st.Streams {
		t.add(s.Name, num(s.Records), num(s.First), num(s.Next), size(s.Bytes), size(s.RawBytes), rate(s.Rate), ago(s.Oldest, now), ago(s.Newest, now))
	}
	return t
}

func forwarderTable(st query.Status) table {
	t := table{title: "FORWARDERS", head: []string{"NAME", "KIND", "TO", "STATE", "RATE", "STREAM", "NEXT", "LAG", "BYTES", "BEHIND", "FULL IN", "DELIVERED", "FILTERED", "EXPIRED", "DEAD"}}
	for _, f := range st.Forwarders {
		cells := []string{f.Name, f.Kind, destinations(&f), f.State, rate(f.Rate)}
		if len(f.Streams) == 0 {
			t.add(append(cells, "", "", "", "", "", "", "", "", "", "")...)
		}
		for _, c := range f.Streams {
			t.add(append(cells, c.Stream, num(c.Next), zero(c.LagRecords), lagSize(c.LagBytes), span(c.LagSeconds), fullIn(&c), num(c.Delivered), zero(c.Filtered), zero(c.Expired), zero(c.Dead))...)
			cells = []string{"", "", "", "", ""}
		}
	}
	return t
}

// destinations are where a forwarder sends to, and which of several it is connected to.
func destinations(f *query.ForwarderStatus) string {
	all := strings.Split(f.To, ", ")
	for i, to := range all {
		if to == f.Using && len(all) > 1 {
			all[i] += " (in use)"
		}
	}
	return strings.Join(all, ", ")
}

// troubleTable is the last error of everything that has one.
func troubleTable(st query.Status, now time.Time) table {
	t := table{title: "LAST ERRORS", head: []string{"PART", "AGO", "ERROR"}}
	for _, c := range st.Certificates {
		t.add(c.Part, "-", c.Error)
	}
	for _, c := range st.Ending {
		t.add(c.Part, "-", fmt.Sprintf("%s expires in %s, on %s; renew it", c.File, span(max(0, c.Until.Sub(now).Seconds())), c.Until.UTC().Format(time.DateOnly)))
	}
	for _, in := range st.Inputs {
		for _, l := range in.Listeners {
			if l.LastError != "" {
				t.add("input "+in.Name, ago(l.LastErrorAt, now), l.URL+": "+l.LastError)
			}
		}
	}
	for _, m := range st.Modules {
		if m.LastError != "" {
			t.add("module "+m.Name, ago(m.LastErrorAt, now), m.LastError)
		}
		if m.Refused != "" {
			t.add("module "+m.Name, "-", "its file cannot take the place of the running one, and a start would fail: "+m.Refused)
		}
	}
	for i := range st.Forwarders {
		addForwarder(&t, &st.Forwarders[i], now)
	}
	return t
}

// addForwarder adds a forwarder's last error, and those of its destinations that it does not name.
func addForwarder(t *table, f *query.ForwarderStatus, now time.Time) {
	if f.LastError != "" {
		text := f.LastError
		if !f.NextTry.IsZero() {
			text += "; next try in " + span(max(f.NextTry.Sub(now).Seconds(), 0.1))
		}
		t.add("forwarder "+f.Name, ago(f.LastErrorAt, now), text)
	}
	for _, to := range f.Destinations {
		if text := to.URL + ": " + to.LastError; to.LastError != "" && !strings.Contains(f.LastError, text) {
			t.add("forwarder "+f.Name, ago(to.LastErrorAt, now), text)
		}
	}
}
