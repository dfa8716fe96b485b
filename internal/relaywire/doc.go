// Package relaywire is what two agents say to each other so that each record
// arrives exactly once: the frames (docs/format/relay.md), and the rules by which a
// receiver decides what is new, what it knows and what cannot be. The rules are
// plain values and functions without clock, disk or network, so that the model
// checker in this package's tests runs the very code that the agent runs. Who
// keeps them on disk, and in which transaction, is the agent's business.
package relaywire
