//go:build soak

package storage

// soak says that tests run in their long form.
const soak = true
