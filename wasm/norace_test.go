//go:build !race

package wasm

// raced says that the race detector watches: tests take a part of their cases, and all
// of them without it.
const raced = false
