package relay

import (
	"errors"
	"fmt"
	"time"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// notStored is the error of a session whose records, or those before it, are not on disk in
// time; trouble is the store's, nil where it has none that it knows of.
func (x *session) notStored(trouble error) error {
	if trouble != nil {
		return fmt.Errorf("%w: %w", errRefused, trouble)
	}
	return fmt.Errorf("%w: what came before is not on disk after %s; the disk may hang", errRefused, x.in.patience.stored)
}

// inTime has the session refused unless done is called before what it waits for, the store or
// others who wait for that, has kept it too long: then it cannot say so itself.
func (x *session) inTime() (done func()) {
	late := time.AfterFunc(x.in.patience.stored, func() { x.refuse(x.notStored(x.in.trouble())) })
	return func() { late.Stop() }
}

// refuse ends the session, and tells the agent at once: it keeps its records, and asks again.
func (x *session) refuse(why error) {
	if !x.say(why) {
		return
	}
	x.in.counters.errors("not_taken").Inc()
	x.in.events.notTaken(x.conn.URL, why)
	x.give()
	x.wake()
}

// say says the last word, if none was said.
func (x *session) say(why error) bool {
	x.writing.Lock()
	defer x.writing.Unlock()
	if x.refusal.Load() != nil {
		return false
	}
	_ = x.writeOut(lastWord(why)) // where it fails, the agent notices
	x.refusal.Store(&why)
	return true
}

// lastWord is how a peer is told why its session ends.
func lastWord(why error) []byte {
	if e := endingOf(why); e != nil && !errors.Is(why, errStopped) {
		return relaywire.Append(nil, &relaywire.Nack{Code: e.code, Text: brief(why), After: e.after})
	}
	return relaywire.Append(nil, &relaywire.Bye{})
}

// brief is an error as a peer is told it.
func brief(err error) string {
	text := err.Error()
	return text[:min(len(text), 500)]
}
