package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runnel-log/runnel/internal/testkit/oracle"
)

// Trial kills the tiers of a chain at random while senders send and its proxies do
// harm, lets it come to rest, and judges.
type Trial struct {
	*Chain
	Seed    uint64 // of the moments
	Kills   int
	Enough  func(*Outcome) bool // if not nil: whether fewer kills are enough
	From    time.Duration       // the least between two
	To      time.Duration       // the most
	Down    time.Duration       // how long a tier stays dead at most
	Rate    int                 // records a second, of each of the two kinds of senders
	Senders int                 // of each kind
	Within  time.Duration       // how long it may take to come to rest
	// Put back to a snapshot now and then, or wiped, instead of killed only. Of the host
	// nothing can then be known but that what it has is above, once.
	Restored, Wiped []*Tier
	// Meanwhile, if not nil, fills the disks of the clusters and empties them until its
	// context ends. They may complain then, and give up what they have passed on.
	Meanwhile func(context.Context)
	// In the place of kills, if not nil.
	Instead func(context.Context) error
	Excused []string // what complaints that are to be expected have in them
	Bounded bool     // the host's streams are: it gives up what it has passed on, and complains when it is full
}

// Outcome is what a trial has shown.
type Outcome struct {
	Records      int // at the host
	Acknowledged uint64
	Kills        map[string]int // by tier
	Frozen       int
	Disks        map[string]int // what was done to them, by tier
	Harm         []string       // what the proxies did
	Rest         time.Duration
	Keyed, Lines oracle.Verdict
	Above        int      // records at the last tier that the host has no more, as it was put back or gave them up
	Wrong        []string // what must not be; empty: all is well
}

// forgetful reports whether the host may have forgotten what it acknowledged.
func (t *Trial) forgetful() bool { return slices.Contains(t.Restored, t.Host) }

// flow is one kind of senders.
type flow struct {
	load oracle.Load
	sent *oracle.Sent
	done chan error // its one value
}

// Run runs the trial. It returns an error if that could not be done; what the relay
// does wrong is in the outcome.
func (t *Trial) Run(ctx context.Context) (*Outcome, error) {
	o := &Outcome{Kills: map[string]int{}, Disks: map[string]int{}}
	for _, each := range t.Tiers() {
		if err := each.Start(); err != nil {
			return o, err
		}
	}
	if err := t.ready(ctx); err != nil {
		return o, err
	}
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	enough := make(chan struct{})
	keyed, err := t.begin(sending, oracle.Load{To: func() string { return t.Keyed }, Keys: true}, enough)
	if err != nil {
		return o, err
	}
	lines, err := t.begin(sending, oracle.Load{To: func() string { return t.Lines }, First: t.Senders}, enough)
	if err != nil {
		return o, err
	}
	err = t.harmMeanwhile(ctx, o)
	t.Calm()
	close(enough)
	if err == nil {
		err = t.ready(ctx)
	}
	if err != nil {
		return o, err
	}
	if err := errors.Join(<-keyed.done, <-lines.done); err != nil {
		return o, fmt.Errorf("senders: %w\n%s", err, t.Host.Log())
	}
	begun := time.Now()
	t.rest(ctx, o, t.Passing()...)
	o.Rest = time.Since(begun)
	return o, t.judge(ctx, o, keyed, lines)
}

// begin begins to send.
func (t *Trial) begin(ctx context.Context, l oracle.Load, enough <-chan struct{}) (*flow, error) {
	sent, err := oracle.NewSent("")
	if err != nil {
		return nil, err
	}
	l.Senders, l.Rate, l.Drain = t.Senders, t.Rate, t.Within
	f := &flow{load: l, sent: sent, done: make(chan error, 1)}
	go func() { f.done <- oracle.Send(ctx, l, sent, enough) }()
	return f, nil
}

func (t *Trial) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.Within)
	defer cancel()
	for _, each := range t.Tiers() {
		if err := each.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (t *Trial) harmMeanwhile(ctx context.Context, o *Outcome) error {
	if t.Instead != nil {
		return t.Instead(ctx)
	}
	if t.Meanwhile == nil {
		return t.harm(ctx, o)
	}
	until, end := context.WithCancel(ctx)
	var other sync.WaitGroup
	other.Go(func() { t.Meanwhile(until) })
	err := t.harm(ctx, o)
	end()
	other.Wait()
	return err
}

// harm kills tiers, now and then two at once, and stops one for a while.
func (t *Trial) harm(ctx context.Context, o *Outcome) error {
	h := harm{Trial: t, outcome: o, random: rand.New(rand.NewPCG(t.Seed, 1)), kept: map[*Tier]bool{}}
	for killed := 0; killed < t.Kills && ctx.Err() == nil && (t.Enough == nil || !t.Enough(o)); {
		pause(ctx, h.some(t.From, t.To))
		n, err := h.once(ctx)
		if err != nil {
			return err
		}
		killed += n
	}
	return ctx.Err()
}

// ledger is what the audit says, as far as a chain cares.
type ledger struct {
	Forwarders []struct {
		Name, Stream                                                                             string
		Stored, Delivered, Filtered, Dead, Expired, Damaged, Skipped, Rewound, Pending, Repeated uint64
	}
	Streams []struct {
		Name                                   string
		Stored, Here, Retention, Damaged, Lost uint64
	}
	Unexplained uint64
}

// rest waits until each tier has nothing more to pass on; those that pass on to others come
// before them.
func (t *Trial) rest(ctx context.Context, o *Outcome, tiers ...*Tier) {
	ctx, cancel := context.WithTimeout(ctx, t.Within)
	defer cancel()
	for _, each := range tiers {
		for {
			var l ledger
			err := each.Ask("/api/v1/audit", &l)
			if err == nil && l.pending() == 0 {
				break
			}
			if ctx.Err() != nil {
				o.wrong("%s has %d records to pass on after %v, %v\n%s", each.Name, l.pending(), t.Within, err, t.status(each))
				break
			}
			pause(ctx, 50*time.Millisecond)
		}
	}
}

// status is what an agent says of its forwarders, and the end of its log.
func (t *Trial) status(of *Tier) string {
	var s struct{ Forwarders any }
	if err := of.Ask("/api/v1/status", &s); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%v\n%s", s.Forwarders, of.Log())
}

func (l *ledger) pending() (n uint64) {
	for _, f := range l.Forwarders {
		n += f.Pending
	}
	return n
}

func (o *Outcome) wrong(format string, args ...any) {
	o.Wrong = append(o.Wrong, fmt.Sprintf(format, args...))
}

// judge looks at every ledger, log and store.
func (t *Trial) judge(ctx context.Context, o *Outcome, keyed, lines *flow) error {
	for _, each := range t.Tiers() {
		var l ledger
		if err := each.Ask("/api/v1/audit", &l); err != nil {
			return err
		}
		if t.Meanwhile != nil && slices.Contains(t.Clusters, each) {
			l.Streams = nil
			for i := range l.Forwarders { // given up, as they were passed on; and killed before the cursor was on disk
				l.Forwarders[i].Delivered += l.Forwarders[i].Expired
				l.Forwarders[i].Expired = 0
			}
		}
		if t.Bounded && each == t.Host {
			l.Streams = nil
		}
		l.judge(o, each.Name)
		if err := each.Stop(); err != nil {
			o.wrong("%s stops with %v", each.Name, err)
		}
		said, err := each.Complaints()
		if err != nil {
			return err
		}
		if len(t.Restored)+len(t.Wiped) > 0 || t.Meanwhile != nil && slices.Contains(t.Clusters, each) || t.Bounded && each == t.Host {
			said = slices.DeleteFunc(said, func(line string) bool { return !isBug(line) })
		}
		for _, words := range t.Excused {
			said = slices.DeleteFunc(said, func(line string) bool { return strings.Contains(line, words) })
		}
		if len(said) > 0 {
			o.wrong("%d lines like %s", len(said), said[0])
		}
	}
	for _, p := range t.Proxies {
		text, err := p.Done()
		o.Harm = append(o.Harm, text)
		if err != nil {
			o.wrong("%v", err)
		}
	}
	host, err := Read(ctx, t.Host)
	if err != nil {
		return err
	}
	o.Records = host.Len()
	for _, each := range append(slices.Clone(t.Clusters), t.Central) {
		c, err := Read(ctx, each)
		if err != nil {
			return err
		}
		d := c.Compare(host)
		if t.forgetful() || t.Bounded {
			o.Above, d.Strange = d.Strange, 0
		}
		if len(t.Clusters) > 1 { // order is kept along one way, and each has what went its way
			d.Disordered = 0
		}
		if each != t.Central && (len(t.Clusters) > 1 || t.Meanwhile != nil) {
			d.Lost = 0
		}
		if d.Lost+d.Twice+d.Strange+d.Altered+d.Disordered > 0 {
			o.wrong("%s: lost %d, twice %d, strange %d, altered %d, disordered %d\n%s", each.Name, d.Lost, d.Twice, d.Strange, d.Altered, d.Disordered, d.Text)
		}
	}
	return t.acknowledged(ctx, o, keyed, lines)
}

// judge says what a ledger may not: a chain of which nothing is taken away has no
// losses to state.
func (l *ledger) judge(o *Outcome, name string) {
	if l.Unexplained != 0 {
		o.wrong("%s: %d unexplained: %+v", name, l.Unexplained, *l)
	}
	for _, s := range l.Streams {
		if s.Stored != s.Here || s.Retention+s.Damaged+s.Lost > 0 {
			o.wrong("%s: stream %+v", name, s)
		}
	}
	for _, f := range l.Forwarders {
		if f.Filtered+f.Dead+f.Expired+f.Damaged+f.Skipped > 0 || f.Stored+f.Rewound != f.Delivered+f.Pending {
			o.wrong("%s: forwarder %+v", name, f)
		}
	}
}

// acknowledged holds what the host's senders know against what the last tier has.
func (t *Trial) acknowledged(ctx context.Context, o *Outcome, keyed, lines *flow) error {
	arrived := map[string]*oracle.Arrived{}
	for _, stream := range []string{"keyed", "lines"} {
		a, err := oracle.NewArrived("")
		if err != nil {
			return err
		}
		arrived[stream] = a
	}
	if err := t.Central.Export(ctx, func(r Stored) error {
		a := arrived[r.Stream]
		if a == nil {
			return fmt.Errorf("the last tier has a stream %q", r.Stream)
		}
		a.Take([]byte(r.Message))
		return nil
	}); err != nil {
		return err
	}
	o.Keyed, o.Lines = oracle.Judge(keyed.sent, arrived["keyed"]), oracle.Judge(lines.sent, arrived["lines"])
	o.Acknowledged = o.Keyed.Acknowledged + o.Lines.Acknowledged
	for name, v := range map[string]oracle.Verdict{"keyed": o.Keyed, "lines": o.Lines} {
		bad := v.Lost + v.Duplicated + v.Altered + v.Another + v.Unknown
		if name == "keyed" { // a client of RELP repeats what had no answer, and the host stores it
			bad += v.Repeated
			if len(t.Clusters) == 1 {
				bad += v.Disordered
			}
		}
		if t.forgetful() {
			bad = v.Altered + v.Another + v.Unknown
		}
		if bad > 0 {
			var text strings.Builder
			v.Write(&text)
			o.wrong("%s:\n%s", name, &text)
		}
	}
	return nil
}
