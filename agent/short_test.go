//go:build !soak

package agent

const soak = false
