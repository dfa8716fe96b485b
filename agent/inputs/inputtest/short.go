//go:build !soak

package inputtest

// silent is how many connections say one thing and then nothing.
const silent = 300
