// Package runnel is the SDK for guests written in Go: it turns the bytes of
// ABI v1 (guest-sdk/ABI.md) into records a handler can read, change, drop,
// route and emit.
//
// It hides the two encodings, the record batch and the verdict list. Nothing
// here allocates once a guest has warmed up, uses reflection or imports more
// than unsafe, because every package a guest links is code the host holds in
// memory, and every allocation is a collection inside the guest. What a Record
// returns is borrowed from the batch: it is good until the handler returns.
//
// The source compiles with the standard toolchain (GOOS=wasip1,
// -buildmode=c-shared) and, on any other platform, with a simulated host for
// `go test` (see Simulate and Simulation). What makes a guest ordered (ABI §1.3)
// is linked only into guests that call it: the functions of state by themselves,
// ticks by importing package tick.
package runnel
