// Package tick is for guests that do something between batches: emit what they
// counted, or let go of what they hold. It stands apart from the SDK because
// what it exports, runnel_tick and runnel_flush, makes a guest ordered: the host
// then runs one instance of it for each pipeline (ABI §1.3). A guest that does
// not import this package stays free of that.
package tick

import runnel "github.com/runnel-log/runnel/guest-sdk/go"

// Every registers f to be called between batches, once a second at most, also
// when no batch comes (ABI §2.3). Call it from the guest's init function.
func Every(f func(t *runnel.Tick)) { runnel.OnTick(f) }

// Flush registers f to be called when the module leaves its pipeline for good,
// because a new config does not name it there any more. When the agent stops,
// state and held records stay for the next start, and f is not called.
func Flush(f func(t *runnel.Tick)) { runnel.OnFlush(f) }
