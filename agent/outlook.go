package agent

import (
	"math"
	"sync"
	"time"

	"github.com/runnel-log/runnel/storage"
)

// Bounds of an outlook.
const (
	behindFrom    = 30 * time.Second // a forwarder whose oldest record is younger is not behind
	outlookLeast  = 30 * time.Second // of growth seen, before anything is said of what is to come
	outlookWindow = 5 * time.Minute  // of growth that counts
	outlookMost   = 10 * 365 * 24 * time.Hour
)

// outlook foresees when the buffer of a stream will be full for one forwarder
// that is behind: from how its backlog has grown over the last minutes, and since it
// has been behind. What is not known it does not say. The zero value is ready to use.
type outlook struct {
	mu sync.Mutex
	// guarded by mu:
	samples []sample
}

// sample is a backlog at some moment.
type sample struct {
	at time.Time
	storage.Backlog
}

// add takes a look.
func (o *outlook) add(now time.Time, b storage.Backlog) {
	o.mu.Lock()
	defer o.mu.Unlock()
	counts := b.Age >= behindFrom || takesNone(&b)
	if n := len(o.samples); n > 0 {
		if last := o.samples[n-1]; !counts || b.Policy != last.Policy || now.Sub(last.at) > outlookWindow || now.Before(last.at) {
			o.samples = o.samples[:0]
		}
	}
	if !counts {
		return
	}
	old := 0
	for old < len(o.samples) && now.Sub(o.samples[old].at) > outlookWindow {
		old++
	}
	o.samples = append(o.samples[:0], o.samples[old:]...)
	o.samples = append(o.samples, sample{now, b})
}

// takesNone reports whether the stream is full by its own limit, so that it takes no more
// until this forwarder has what it is to deliver, however young that is.
func takesNone(b *storage.Backlog) bool {
	if b.Policy.MaxSize == 0 || b.Stream <= b.Policy.MaxSize {
		return false
	}
	return b.Policy.OnFull == storage.DropNew || b.Policy.OnFull == storage.PushBack && b.Oldest
}

// What a stream does when it is full, as a forecast names it.
const (
	thenExpire   = "expire"    // it drops what the forwarder has not had
	thenDropNew  = "drop_new"  // it takes no more, and drops what comes
	thenPushBack = "push_back" // it takes no more, and says so to senders
)

// forecast is when a buffer is full, by which limit, and what then.
type forecast struct {
	in       time.Duration
	by, then string
}

// outlooks are what can be said.
const (
	outlookNone      = iota // the forwarder is not behind, or its backlog does not grow
	outlookMeasuring        // it is behind, and how fast it falls back is not known yet
	outlookFull             // the buffer will be full, or is
)

// ahead says when the buffer will be full if all goes on as it does; that it is full needs no
// growth to be seen. maxSize is agent.max_size.
func (o *outlook) ahead(maxSize int64) (f forecast, is int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.samples)
	if n == 0 {
		return f, outlookNone
	}
	last := &o.samples[n-1]
	measuring := last.at.Sub(o.samples[0].at) < outlookLeast
	f.in = outlookMost
	reach := func(by, then string, limit float64, value func(*sample) float64) {
		in, ok := o.reaches(limit, value)
		if ok && in < f.in && (in == 0 || !measuring) {
			f, is = forecast{in, by, then}, outlookFull
		}
	}
	p, then := &last.Policy, thenExpire
	switch p.OnFull {
	case storage.PushBack:
		then = thenPushBack
	case storage.DropNew:
		then = thenDropNew
	}
	if takesNone(&last.Backlog) {
		return forecast{0, "max_size", then}, outlookFull
	}
	if p.OnFull != storage.PushBack && p.MaxAge > 0 {
		reach("max_age", thenExpire, p.MaxAge.Seconds(), func(s *sample) float64 { return s.Age.Seconds() })
	}
	if p.MaxSize > 0 && p.OnFull == storage.DropNew {
		reach("max_size", then, float64(p.MaxSize), func(s *sample) float64 { return float64(s.Stream) })
	} else if p.MaxSize > 0 {
		reach("max_size", then, float64(p.MaxSize), func(s *sample) float64 { return float64(s.Bytes) })
	}
	by := "disk"
	if maxSize > 0 && last.Limit >= maxSize/10*9 {
		by = "agent.max_size"
	}
	if last.Limit < math.MaxInt64 {
		reach(by, then, float64(last.Limit), func(s *sample) float64 { return float64(s.Held) })
	}
	if is == outlookNone && measuring {
		return forecast{}, outlookMeasuring
	}
	return f, is
}

// reaches returns when a value reaches its limit, going on along the line that fits the
// samples best; false if it does not grow.
func (o *outlook) reaches(limit float64, value func(*sample) float64) (in time.Duration, ok bool) {
	last := &o.samples[len(o.samples)-1]
	var n, sumT, sumV, sumTT, sumTV float64
	for i := range o.samples {
		t, v := o.samples[i].at.Sub(last.at).Seconds(), value(&o.samples[i])
		n, sumT, sumV, sumTT, sumTV = n+1, sumT+t, sumV+v, sumTT+t*t, sumTV+t*v
	}
	slope := (n*sumTV - sumT*sumV) / (n*sumTT - sumT*sumT)
	left := limit - value(last)
	switch {
	case left <= 0:
		return 0, true
	case !(slope > 0) || left/slope > outlookMost.Seconds():
		return 0, false
	}
	return time.Duration(left / slope * float64(time.Second)), true
}

// fullSeconds is for metrics: infinite where nothing fills up, and no number
// where that is not known.
func (o *outlook) fullSeconds(maxSize int64) float64 {
	switch f, is := o.ahead(maxSize); is {
	case outlookFull:
		return f.in.Seconds()
	case outlookMeasuring:
		return math.NaN()
	}
	return math.Inf(1)
}

// look takes a look at the backlog of every stream.
func (d *delivery) look(now time.Time) {
	for _, in := range d.store.Streams() {
		if at, ok := d.needs(in.Name); ok && d.covers(in.Name) {
			d.counts.of(in.Name).outlook.add(now, d.store.Backlog(in.Name, at))
		}
	}
}

// backlog is what a delivery has before it in a stream.
func (d *delivery) backlog(stream string) storage.Backlog {
	at, ok := d.position(stream)
	if !ok {
		return storage.Backlog{}
	}
	return d.store.Backlog(stream, at)
}
