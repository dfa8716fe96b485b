package wasm

import (
	"cmp"
	"slices"
)

// The journals of a State: what there was when the call at hand began, and what
// there was when the state was settled last.

// save notes what an entry is before it changes. It returns memory that its next
// value may be written to, or nil.
func (s *State) save(e *entry) []byte {
	if e.tried.at > 0 {
		return e.value // made by this call: nobody else has it
	}
	s.tried = append(s.tried, e)
	e.tried = was{e.value, len(s.tried)}
	spare := e.spare
	e.spare = nil
	return spare
}

// forget takes an entry out of the journal of the call at hand if it was not
// there when that began and is not now: a guest that sets and deletes would
// otherwise fill the host's memory.
func (s *State) forget(e *entry) {
	if e.tried.at == 0 || e.tried.value != nil || e.value != nil {
		return
	}
	s.tried = unlist(s.tried, e.tried.at, func(e *entry) *was { return &e.tried })
	s.release(e)
}

// unlist takes the entry at a place, from 1, out of a journal.
func unlist(list []*entry, at int, of func(*entry) *was) []*entry {
	last := len(list) - 1
	*of(list[at-1]) = was{}
	if at-1 < last {
		list[at-1] = list[last]
		of(list[at-1]).at = at
	}
	list[last] = nil
	return list[:last]
}

// release lets an entry go that has no value and that no journal knows.
func (s *State) release(e *entry) {
	if e.value == nil && !e.record && e.tried.at == 0 && e.settled.at == 0 {
		delete(s.values, e.key)
	}
}

// begin marks where a call begins: undo goes back to here.
func (s *State) begin() {
	if len(s.tried) > 0 {
		panic("bug: a call began before the last one's changes were kept or undone")
	}
}

// keep makes the changes of a call part of what Changes gives.
func (s *State) keep() {
	if len(s.tried) == 0 {
		return
	}
	for _, e := range s.tried {
		if e.settled.at == 0 {
			s.touched = append(s.touched, e)
			e.settled = was{e.tried.value, len(s.touched)}
		}
		e.tried = was{}
		if e.value == nil && e.settled.value == nil { // it has come and gone
			s.touched = unlist(s.touched, e.settled.at, func(e *entry) *was { return &e.settled })
			s.release(e)
		}
	}
	s.tried = emptied(s.tried)
	s.show()
}

// undo takes the changes of a call back.
func (s *State) undo() {
	s.back(s.tried, func(e *entry) *was { return &e.tried })
	s.tried = emptied(s.tried)
}

// undoAll takes back what changed since the last settle.
func (s *State) undoAll() {
	s.undo()
	s.back(s.touched, func(e *entry) *was { return &e.settled })
	s.touched = emptied(s.touched)
	s.line = nil
	s.show()
}

// Settle says that what Changes gave is staged to be stored.
func (s *State) Settle() {
	for _, e := range s.touched {
		if cap(e.settled.value) <= roomy {
			e.spare = e.settled.value
		}
		e.settled = was{}
		s.release(e)
	}
	s.touched = emptied(s.touched)
}

// Changes appends what has changed since the last Settle, each key once. The
// values are borrowed until the next change.
func (s *State) Changes(dst []Change) []Change {
	for _, e := range s.touched {
		dst = append(dst, Change{e.id(), e.value})
	}
	return dst
}

// back gives every entry of a journal the value it had, whatever came first.
func (s *State) back(list []*entry, of func(*entry) *was) {
	for _, e := range list {
		before := of(e).value
		*of(e) = was{}
		there := e.value != nil
		s.put(e, before)
		switch {
		case e.record:
			h := s.hold(e.key)
			h.stale = true
			if !there && before != nil {
				h.records = append(h.records, e)
			}
		case !there && before != nil:
			s.keys.insert(e.key)
		case there && before == nil:
			s.keys.remove(e.key)
		}
		s.release(e)
	}
	for _, e := range list {
		if h := s.holds[e.key]; e.record && h != nil && h.stale {
			s.tidy(h)
		}
	}
}

// tidy puts in order what is held under a key after an undo.
func (s *State) tidy(h *hold) {
	h.stale = false
	h.records = slices.DeleteFunc(h.records, func(e *entry) bool { return e.value == nil })
	slices.SortFunc(h.records, byNumber)
	if len(h.records) == 0 {
		delete(s.holds, h.key)
	}
}

// byNumber compares held records by when they were held.
func byNumber(a, b *entry) int { return cmp.Compare(a.number, b.number) }

// emptied returns an empty journal, without its memory if that has grown large.
func emptied(list []*entry) []*entry {
	if cap(list) > maxHeld {
		return nil
	}
	clear(list)
	return list[:0]
}
