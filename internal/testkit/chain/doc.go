// Package chain runs agents behind one another, as real processes, and does
// them harm: it kills them at random, and has a proxy between each two that cuts,
// holds, drops, repeats, exchanges and falsifies what they say. All of it is drawn from a seed.
// In the end what the last tier has is held against what the first has, record by
// record. It must never end a process that it did not start.
package chain
