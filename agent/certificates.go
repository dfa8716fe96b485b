package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/tlsconf"
)

// certificates watches the dates of what the parts show and trust. One that is out of date stops no agent, as
// what it can still take would be lost: it is said, and what waits for it tries again once its files are replaced.
type certificates struct {
	mu sync.Mutex
	// guarded by mu:
	of    *Config // that dates are of
	dates []dated
}

// dated is one file of a part.
type dated struct {
	*tlsconf.Dates
	part string // as `status` calls it
	at   *config.At
	spoken
}

// spoken is what was said of the dates of a file.
type spoken struct {
	bad  string    // why it is out of date; empty: it is not
	soon time.Time // when it was last said to end soon; zero: it does not, or is out of date
}

const (
	// endsSoon is how long before it goes out of date a file is spoken of, and sayAgain how often.
	endsSoon, sayAgain = 14 * 24 * time.Hour, 24 * time.Hour
)

// datesIn lists the files of c that have dates.
func datesIn(c *Config) (all []dated) {
	add := func(part string, options any, at *config.At) {
		for _, d := range tlsconf.DatesOf(options) {
			all = append(all, dated{Dates: d, part: part, at: at})
		}
	}
	add("api", &c.API, c.at)
	for i := range c.Inputs {
		add("input "+c.Inputs[i].Name, c.Inputs[i].Options, c.Inputs[i].at)
	}
	for i := range c.Forwarders {
		add("forwarder "+c.Forwarders[i].Name, c.Forwarders[i].Options, c.Forwarders[i].at)
	}
	return all
}

// look looks at every file that c names. It calls changed for each that has gone out of date, and, with an
// empty string, for each that was and is good again; and soon for each that ends soon, once a day.
func (cs *certificates) look(c *Config, now time.Time, changed func(part, file, bad string), soon func(part, file string, until time.Time)) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.of != c {
		before := make(map[string]spoken)
		for _, d := range cs.dates {
			before[d.part+"\x00"+d.File] = d.spoken
		}
		cs.of, cs.dates = c, datesIn(c)
		for i := range cs.dates {
			cs.dates[i].spoken = before[cs.dates[i].part+"\x00"+cs.dates[i].File]
		}
	}
	for i := range cs.dates {
		d := &cs.dates[i]
		bad := ""
		if err := d.Look(now); err != nil {
			bad = err.Error()
		}
		if bad != d.bad {
			d.bad = bad
			changed(d.part, d.File, bad)
		}
		switch until := d.Until(); {
		case bad != "" || until.Sub(now) > endsSoon:
			d.soon = time.Time{}
		case now.Sub(d.soon) >= sayAgain:
			d.soon = now
			soon(d.part, d.File, until)
		}
	}
}

// status lists what is out of date, and what soon will be.
func (cs *certificates) status() (bad, ending []query.CertificateStatus) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, d := range cs.dates {
		s := query.CertificateStatus{Part: d.part, File: d.File, Until: d.Until(), Error: d.bad}
		switch {
		case d.bad != "":
			bad = append(bad, s)
		case !d.soon.IsZero():
			ending = append(ending, s)
		}
	}
	return bad, ending
}

// write writes when each file goes out of date.
func (cs *certificates) write(w io.Writer) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	const name = "runnel_tls_certificate_expires_timestamp_seconds"
	metrics.WriteMetadataIfNeeded(w, name, "gauge")
	for i := range cs.dates {
		if d := &cs.dates[i]; !d.Until().IsZero() {
			fmt.Fprintf(w, "%s{part=\"%s\",key=\"%s\",file=\"%s\"} %d\n", name, d.part, d.Key, labelOf(d.File), d.Until().Unix())
		}
	}
}

// lookAtDates says what has gone out of date, and has forwarders try at once when something is in date again.
func (a *Agent) lookAtDates(now time.Time) {
	a.mu.Lock()
	c := a.config
	a.mu.Unlock()
	mended := false
	a.certificates.look(c, now, func(part, file, bad string) {
		if bad == "" {
			mended = true
			a.events.inDate(part, file)
		} else {
			a.events.outOfDate(part, bad)
		}
	}, a.events.endsSoon)
	if mended {
		a.retryNow()
	}
}

// Check loads the modules of c and looks at the dates of its certificates, without starting anything. The error is a
// config.Problems; an agent whose certificates are out of date would start.
func Check(ctx context.Context, c *Config) error {
	var ps config.Problems
	if err := CheckModules(ctx, c); err != nil && !errors.As(err, &ps) {
		return err
	}
	for _, d := range datesIn(c) {
		if err := d.Look(time.Now()); err != nil {
			d.at.To(&ps).Key("tls").Key(d.Key).Problemf("%v", err)
		}
	}
	return ps.Err()
}
