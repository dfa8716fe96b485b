package main

import (
	"fmt"
	"io"
	"time"

	"github.com/runnel-log/runnel/agent/query"
)

// printLosses says in words what was lost, where and why.
func printLosses(w io.Writer, a *query.Audit) error {
	lines := lossesOf(a)
	if a.Interrupted {
		if _, err := fmt.Fprint(w, "\nThe run before this one did not end properly: what it had taken from senders without acknowledgement,\nor dropped, since its last commit is not known. What was acknowledged is there.\n"); err != nil {
			return err
		}
		if len(lines) == 0 {
			_, err := fmt.Fprint(w, "Nothing else was lost.\n")
			return err
		}
	}
	if len(lines) == 0 {
		_, err := fmt.Fprint(w, "\nNothing was lost.\n")
		return err
	}
	if _, err := fmt.Fprint(w, "\nLOST\n"); err != nil {
		return err
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, visible(w, line)); err != nil {
			return err
		}
	}
	return nil
}

// lossesOf has a sentence for every loss.
func lossesOf(a *query.Audit) (lines []string) {
	say := func(n uint64, format string, args ...any) {
		if n > 0 {
			lines = append(lines, records(n)+" "+fmt.Sprintf(format, args...))
		}
	}
	for _, in := range a.Inputs {
		say(in.Dropped, "of input %s since the start: the pipeline did not take them, as the disk or a stream that pushes back was full, and their sender cannot be told", in.Name)
		say(in.KernelDrops, "of input %s since the start: the kernel dropped their datagrams, as its receive buffer was full", in.Name)
	}
	for i := range a.Streams {
		s := &a.Streams[i]
		say(s.Dropped, "for stream %s: it was full, or the disk was, and on_full drops what is new", s.Name)
		say(s.Uncommitted, "for stream %s since the last commit: likewise, and that is not on disk yet: if the agent ends before it is, the ledger does not have them", s.Name)
		say(s.Lost, "of stream %s: gone with a damaged file, offsets and all", s.Name)
	}
	for _, g := range a.Gaps {
		say(g.Records, "of stream %s: offsets %d to %d, %s on the disk, found %s", g.Stream, g.From, g.To, g.Reason, g.Found.Format(time.RFC3339))
	}
	for i := range a.Forwarders {
		f := &a.Forwarders[i]
		say(f.Expired, "of stream %s for forwarder %s: retention took them before they were delivered", f.Stream, f.Name)
		say(f.Damaged, "of stream %s for forwarder %s: damaged before they were delivered", f.Stream, f.Name)
		say(a.StillDead(f), "of stream %s for forwarder %s: the receiver refused them for good; they are in %s.dead", f.Stream, f.Name, f.Stream)
		say(f.Skipped, "of stream %s for forwarder %s: left out by hand", f.Stream, f.Name)
	}
	return lines
}
