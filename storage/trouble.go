package storage

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// slowCommit is how long a commit may take before the store counts as not
// answering.
const slowCommit = 10 * time.Second

// Trouble returns why the store takes nothing at the moment, without naming
// files; nil if it does. It is for whoever asks whether this agent is fit to be
// sent to: Append says by itself what becomes of records.
func (s *Store) Trouble() error {
	s.mu.RLock()
	refusal, full, byDisk := s.refusal, s.full, s.byDisk
	s.mu.RUnlock()
	switch at := s.writing.Load(); {
	case refusal != nil:
		return fmt.Errorf("the disk takes nothing: %w", refusal)
	case full && byDisk:
		return errors.New("the store is full, and nothing in it can give way: the disk has no room for more")
	case full:
		return errors.New("the store is full, and nothing in it can give way: agent.max_size is used up")
	case at != 0 && time.Since(time.Unix(0, at)) > slowCommit:
		return fmt.Errorf("the disk has not answered for %s", time.Since(time.Unix(0, at)).Round(time.Second))
	}
	return nil
}

// fullFor returns ErrFull with the limit that keeps a stream from taking more.
func (s *Store) fullFor(stream string) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := s.streams[stream]
	switch {
	case s.refusal != nil:
		return fmt.Errorf("%w: the disk takes nothing: %v", ErrFull, s.refusal)
	case st != nil && st.policy.MaxSize > 0 && st.bytes > st.policy.MaxSize:
		return fmt.Errorf("%w: stream %s has its max_size of %d bytes", ErrFull, stream, st.policy.MaxSize)
	case s.full && s.byDisk:
		return fmt.Errorf("%w: stream %s takes no more, as the disk has no room", ErrFull, stream)
	case s.full:
		return fmt.Errorf("%w: stream %s takes no more, as agent.max_size is used up", ErrFull, stream)
	}
	return fmt.Errorf("%w: stream %s takes no more", ErrFull, stream)
}

// causeOf is what the system said, without the file that it said it of.
func causeOf(err error) error {
	var errno syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.As(err, &errno):
		return errno
	case isFull(err):
		return syscall.ENOSPC
	}
	return err
}
