package syslog

import (
	"sync"
	"sync/atomic"

	"github.com/runnel-log/runnel/internal/headroom"
	"github.com/runnel-log/runnel/internal/syslog"
)

// totalBuffers is how many bytes the connections of one input may hold of
// unfinished long messages, beyond 64 KiB each. Other inputs stop reading when it is
// used up; a sender of syslog can be a container that stops with us, so here the
// message that finds no room is cut instead.
const totalBuffers = 64 << 20

// mostBuffers is totalBuffers, or less in a process that may have little memory.
var mostBuffers = sync.OnceValue(func() int64 { return int64(headroom.Share(totalBuffers)) })

// memory counts the bytes of totalBuffers that are taken.
type memory struct{ taken atomic.Int64 }

// take reports whether there are more bytes to be had; fewer than none are given back.
func (m *memory) take(more int) bool {
	if m.taken.Add(int64(more)) > mostBuffers() && more > 0 {
		m.taken.Add(-int64(more))
		return false
	}
	return true
}

// share has the Framer of a connection take its buffers from what the input has.
func (in *Input) share(f *syslog.Framer, who *peer) {
	f.Share(func(more int) bool {
		if in.memory.take(more) {
			return true
		}
		in.counters.errMemory.Inc()
		in.events.memoryFull(string(who.text))
		return false
	})
}
