package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/storage"
)

// Redrive sends dead letters of a stream to the forwarders that refused them again.
func (h host) Redrive(ctx context.Context, q query.Redrive) (query.Redriven, error) {
	stream := strings.TrimSuffix(q.Stream, deadSuffix) + deadSuffix
	if isDead(q.Stream) {
		stream = q.Stream
	}
	answer := query.Redriven{Stream: stream, DryRun: q.DryRun, Stopped: q.Stop, Forwarders: []query.RedriveOf{}, Left: []query.Letters{}}
	infos := h.a.store.Streams()
	i := slices.IndexFunc(infos, func(s storage.StreamInfo) bool { return s.Name == stream })
	if i < 0 {
		return answer, fmt.Errorf("dead letters of stream %q: %w", strings.TrimSuffix(stream, deadSuffix), query.ErrNotFound)
	}
	all := h.sendAgain(stream)
	if q.Forwarder != "" {
		if h.a.delivery(q.Forwarder) == nil {
			return answer, fmt.Errorf("forwarder %q: %w", q.Forwarder, query.ErrNotFound)
		}
		all = slices.DeleteFunc(all, func(d *delivering) bool { return d.name != q.Forwarder })
	}
	if q.Stop {
		return answer, h.stopRedrive(ctx, &answer, all)
	}
	info := &infos[i]
	from, until := h.bound(info, q.From), info.Next
	if q.To != (query.Bound{}) {
		until = min(until, max(h.bound(info, q.To), info.First))
	}
	return answer, h.redrive(ctx, &answer, all, info, from, until, q)
}

// sendAgain returns the deliveries that can send a stream of dead letters again, by name.
func (h host) sendAgain(stream string) (all []*delivering) {
	h.a.mu.Lock()
	defer h.a.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(h.a.deliveries)) {
		if d := h.a.deliveries[name]; d.sendsAgain(stream) {
			all = append(all, d)
		}
	}
	return all
}

// bound returns the offset that is meant; 0: none.
func (h host) bound(in *storage.StreamInfo, b query.Bound) uint64 {
	switch {
	case b.Time != 0:
		return max(h.a.store.Seek(in.Name, time.Unix(0, b.Time)), in.First)
	case b.Offset != 0:
		return min(max(b.Offset, in.First), in.Next)
	}
	return 0
}

// redrive counts the dead letters of each forwarder and, unless they are only to be counted, has them go again.
func (h host) redrive(ctx context.Context, answer *query.Redriven, all []*delivering, in *storage.StreamInfo, from, until uint64, q query.Redrive) error {
	starts, lowest := make(map[string]uint64, len(all)), until
	for _, d := range all {
		now, _ := d.redrives.at(in.Name)
		if from > 0 {
			now.next = from
		}
		starts[d.name] = max(now.next, in.First)
		lowest = min(lowest, starts[d.name])
	}
	if len(all) == 0 {
		lowest = max(from, in.First)
	}
	letters, err := countLetters(ctx, h.a.store, in.Name, lowest, until)
	if err != nil {
		return err
	}
	answer.Complete = letters.complete
	for _, d := range all {
		n := letters.of(d.name, starts[d.name])
		answer.Forwarders = append(answer.Forwarders, query.RedriveOf{Forwarder: d.name, Records: n, From: starts[d.name], Until: max(until, starts[d.name])})
		letters.forget(d.name)
		if q.DryRun || (n == 0 && letters.complete) {
			continue
		}
		err := d.askRedrive(ctx, in.Name, from > 0, func(r *redrive) { r.ask(in.First, from, until) })
		if err != nil {
			return err
		}
		answer.Records += n
		d.events.redriveAsked(d.name, in.Name, starts[d.name], until, n)
	}
	answer.Left = letters.left(q.Forwarder)
	return nil
}

// stopRedrive has the redrives of a stream end where they are.
func (h host) stopRedrive(ctx context.Context, answer *query.Redriven, all []*delivering) error {
	for _, d := range all {
		now, ok := d.redrives.at(answer.Stream)
		if !ok {
			continue
		}
		if err := d.askRedrive(ctx, answer.Stream, false, func(r *redrive) { r.until = r.next }); err != nil {
			return err
		}
		answer.Forwarders = append(answer.Forwarders, query.RedriveOf{Forwarder: d.name, From: now.next, Until: now.next})
	}
	return nil
}
