package storage

import "strings"

// endedSuffix ends the names of cursors of another kind: how far what a reader has delivered has come to its end,
// as whoever it delivers to says. No reader has a name like that.
const endedSuffix = ".ended"

// EndedName names the cursor of what a reader has delivered and has ended. As any cursor it keeps records of a
// stream that pushes back, unless KeepEnded says otherwise; what retention takes in front of it is no
// loss, since the reader had it.
func EndedName(reader string) string { return reader + endedSuffix }

// ReaderOf returns whose cursor that is of a name; ended: it is EndedName's.
func ReaderOf(name string) (reader string, ended bool) { return strings.CutSuffix(name, endedSuffix) }

// KeepEnded says whether records are to be kept until they have ended. Until it is called, they are
// where they once were noted to have ended.
func (s *Store) KeepEnded(reader string, keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unkept == nil {
		s.unkept = make(map[string]bool)
	}
	s.unkept[EndedName(reader)] = !keep
}
