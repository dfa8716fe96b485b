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
	all, err := h.sendAgain(ctx, stream, q.Forwarder)
	if err != nil {
		return answer, err
	}
	if q.Stop {
		return answer, h.stopRedrive(ctx, &answer, all, q.Forwarder)
	}
	info := &infos[i]
	from, until := h.bound(info, q.From), info.Next
	if q.To != (query.Bound{}) {
		until = min(until, max(h.bound(info, q.To), info.First))
	}
	return answer, h.redrive(ctx, &answer, all, info, from, until, q)
}

// sendAgain returns the deliveries that can send a stream of dead letters again, in
// the order of their names; of one forwarder, or "" for all.
func (h host) sendAgain(ctx context.Context, stream, forwarder string) (all []*delivering, err error) {
	ctx, cancel := context.WithTimeout(ctx, durableWithin)
	defer cancel()
	deliveries, err := h.a.settled(ctx, forwarder)
	if err != nil {
		return nil, err
	}
	if forwarder != "" && deliveries[forwarder] == nil {
		return nil, fmt.Errorf("forwarder %q: %w", forwarder, query.ErrNotFound)
	}
	for _, name := range slices.Sorted(maps.Keys(deliveries)) {
		if d := deliveries[name]; d.sendsAgain(stream) && (forwarder == "" || forwarder == name) {
			all = append(all, d)
		}
	}
	return all, nil
}

// askRedrives asks whichever deliveries these forwarders have at the moment. only is the
// one forwarder that is meant, or "".
func (h host) askRedrives(ctx context.Context, forwarders []string, only, stream string, moving bool, ask func(*redrive)) error {
	if len(forwarders) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*durableWithin) // for those that a reload replaces, and for the disk
	defer cancel()
	return h.a.withSettled(ctx, only, func(deliveries map[string]*delivering) error {
		var all []*delivery
		for _, name := range forwarders {
			d := deliveries[name]
			if d == nil || !d.sendsAgain(stream) { // a reload has seen to that
				return fmt.Errorf("forwarder %q: %w", name, query.ErrNotFound)
			}
			all = append(all, d.delivery)
		}
		return askRedrives(ctx, all, stream, moving, ask)
	})
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
	var asked []string
	for _, d := range all {
		n := letters.of(d.name, starts[d.name])
		answer.Forwarders = append(answer.Forwarders, query.RedriveOf{Forwarder: d.name, Records: n, From: starts[d.name], Until: max(until, starts[d.name])})
		letters.forget(d.name)
		if q.DryRun || (n == 0 && letters.complete) {
			continue
		}
		asked = append(asked, d.name)
		answer.Records += n
	}
	if err := h.askRedrives(ctx, asked, q.Forwarder, in.Name, from > 0, func(r *redrive) { r.ask(in.First, from, until) }); err != nil {
		return err
	}
	for _, f := range answer.Forwarders {
		if slices.Contains(asked, f.Forwarder) {
			h.a.events.redriveAsked(f.Forwarder, in.Name, f.From, until, f.Records)
		}
	}
	answer.Left = letters.left(q.Forwarder)
	return nil
}

// stopRedrive has the redrives of a stream end where they are.
func (h host) stopRedrive(ctx context.Context, answer *query.Redriven, all []*delivering, only string) error {
	var asked []string
	for _, d := range all {
		if now, ok := d.redrives.at(answer.Stream); ok {
			asked = append(asked, d.name)
			answer.Forwarders = append(answer.Forwarders, query.RedriveOf{Forwarder: d.name, From: now.next, Until: now.next})
		}
	}
	return h.askRedrives(ctx, asked, only, answer.Stream, false, func(r *redrive) { r.until = r.next })
}
