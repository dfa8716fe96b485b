//go:build soak

package inputtest

// silent is how many connections say one thing and then nothing.
// Both ends are in this process, which is often allowed 20 000 descriptors.
const silent = 9_500
