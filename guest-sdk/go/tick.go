package runnel

// atTick is the index of a verdict that belongs to no record (ABI §2.3).
const atTick = 0xffffffff

var (
	ticking, flushing func(*Tick)
	call              Tick // the one there is at a time
)

// Tick is a call without a batch, in which a guest emits records and lets go
// of what is held.
type Tick struct{ now int64 }

// Now returns the clock: nanoseconds since 1970 UTC.
func (t *Tick) Now() int64 { return t.now }

// Emit makes a record. Fill it in before the next call on the Tick and before
// the handler returns; it borrows what it is given until then. Its input is the
// module's name.
func (t *Tick) Emit() *New { return current.fresh(kindEmit) }

// Release lets the records held under the key go on as they came.
func (t *Tick) Release(key string) { current.Release(key) }

// Merge lets the first of the records held under the key go on, and drops the
// others, counted as "merged". What it returns says how that first one changes.
func (t *Tick) Merge(key string) *Merge { return current.Merge(key) }

// Discard drops the records held under the key; the reason is counted.
func (t *Tick) Discard(key, reason string) { current.Discard(key, reason) }

// OnTick registers what is called between batches, and OnFlush what is called
// when the module leaves its pipeline for good. A guest calls Every and Flush of
// package tick instead, which also make the host call it.
func OnTick(f func(t *Tick)) { ticking = f }

// OnFlush is explained at OnTick.
func OnFlush(f func(t *Tick)) { flushing = f }

// AnswerTick is runnel_tick (ABI §2.3), for package tick to export.
func AnswerTick(now int64) uint64 { return answerOf(tick(ticking, now)) }

// AnswerFlush is runnel_flush, for package tick to export.
func AnswerFlush() uint64 { return answerOf(tick(flushing, hostNow())) }

// answerOf says where the output of a call is (ABI §2.1), if it has one.
func answerOf(some bool) uint64 {
	if !some {
		return 0
	}
	return uint64(uintptr(pointerTo(out.buf)))<<32 | uint64(len(out.buf))
}

// tick runs f and reports whether there are verdicts in out.buf.
func tick(f func(*Tick), now int64) bool {
	if f == nil {
		return false
	}
	out.start()
	current = Record{index: atTick}
	call.now = now
	f(&call)
	current.settle()
	return out.finish()
}
