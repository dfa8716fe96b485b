//go:build race

package syslog

// memoryFactor: the race detector keeps five to ten times the memory (its
// manual), so that the limits of the cases are checked without it.
const memoryFactor = 8
