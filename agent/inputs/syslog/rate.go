package syslog

import (
	"net/netip"
	"sync"
	"time"

	"github.com/runnel-log/runnel/internal/config"
)

// Rate is what one source may send. The zero value bounds nothing.
type Rate struct {
	Records int             `yaml:"records"`
	Per     config.Duration `yaml:"per"`
}

// check reports a bound that is none.
func (r Rate) check(at *config.At) {
	if r.Records < 0 || r.Records > 1e9 {
		at.Key("records").Problemf("%d is no number of records; write 1 to 1000000000, or 0 for no bound", r.Records)
	}
	if r.Per < time.Millisecond || r.Per > 24*time.Hour {
		at.Key("per").Problemf("%s is no time to count in; write 1ms to 24h", config.FormatDuration(r.Per))
	}
}

// maxSources is how many other machines are told apart. Beyond it those that have
// all of their share are forgotten, and if there are none, everybody is.
const maxSources = 10_000

// rates has what is left of the share of each source.
type rates struct {
	rate Rate

	mu sync.Mutex // guards of
	of map[netip.Addr]*share
}

// share is a source's. A source is another machine, however many connections it
// has, or a connection of this one: all containers of a host come from one address.
type share struct {
	each float64 // records a nanosecond
	most float64

	mu   sync.Mutex // guards left, at
	left float64
	at   int64 // when left was so, in nanoseconds
}

func newRates(r Rate) *rates { return &rates{rate: r, of: make(map[netip.Addr]*share)} }

// share returns the share of a peer; nil if nothing is bounded. A machine with IPv6 has
// all addresses of a /64.
func (r *rates) share(addr netip.Addr, local bool) *share {
	if r == nil || r.rate.Records == 0 {
		return nil
	}
	most := float64(r.rate.Records)
	fresh := &share{each: most / float64(r.rate.Per), most: most, left: most}
	if local {
		return fresh
	}
	if addr.Is6() && !addr.Is4In6() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.of[addr]; s != nil {
		return s
	}
	if len(r.of) >= maxSources {
		r.forget()
	}
	r.of[addr] = fresh
	return fresh
}

// forget makes room; r.mu is held.
func (r *rates) forget() {
	now := time.Now().UnixNano()
	for addr, s := range r.of {
		if s.whole(now) {
			delete(r.of, addr)
		}
	}
	if len(r.of) >= maxSources {
		clear(r.of)
	}
}

// take reports whether one more record may come now. A nil share is without end.
func (s *share) take(now int64) bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fill(now)
	if s.left < 1 {
		return false
	}
	s.left--
	return true
}

// whole reports whether nothing of the share is used.
func (s *share) whole(now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fill(now)
	return s.left >= s.most
}

// fill adds what has come due; s.mu is held. A clock that goes back adds nothing.
func (s *share) fill(now int64) {
	if s.at != 0 {
		s.left = min(s.most, s.left+s.each*float64(max(0, now-s.at)))
	}
	s.at = now
}
