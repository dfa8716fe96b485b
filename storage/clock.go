package storage

import "time"

// believed is how far the host's clock may be ahead of the last block when the
// store is opened. Beyond it, it is taken to be wrong: what is to live for a day must
// not go because a host came up in another century.
const believed = 366 * 24 * time.Hour

// setClock begins the store's own time, by which blocks arrive and age: where the
// host's clock is now, or where the last block was, if that is later; and from there on
// as much later as time has passed. However the host's clock is set meanwhile, nothing
// grows older by it, and nothing stays young.
func (s *Store) setClock() {
	now := s.options.Now().UnixNano()
	if last := s.arrival; last > 0 && (now < last || now-last > int64(believed)) {
		if now > last || last-now > int64(time.Minute) {
			s.events.clockDoubted(time.Unix(0, now), time.Unix(0, last))
		}
		now = last
	}
	s.latest = s.arrival
	s.begun = now - int64(s.options.elapsed())
}

// now is the store's time. It may go back where tests have it so.
func (s *Store) now() int64 { return s.begun + int64(s.options.elapsed()) }
