//go:build soak

package agent

// soak says that tests take as long as their promise asks (make soak).
const soak = true
