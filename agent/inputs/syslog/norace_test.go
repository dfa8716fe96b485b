//go:build !race

package syslog

// memoryFactor scales the memory limits of the hostile cases.
const memoryFactor = 1
