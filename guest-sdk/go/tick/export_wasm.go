package tick

import runnel "github.com/runnel-log/runnel/guest-sdk/go"

//go:wasmexport runnel_tick
func tick(now int64) uint64 { return runnel.AnswerTick(now) }

//go:wasmexport runnel_flush
func flush() uint64 { return runnel.AnswerFlush() }
