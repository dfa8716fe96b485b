package systemd

import "fmt"

// Reloading tells the manager that the configuration is being read again; done
// tells it that this is over, whatever came of it.
func (m *Manager) Reloading() (done func()) {
	// The time is what Type=notify-reload wants.
	_ = m.Tell("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonic())) // who is not told sees the log
	return func() { _ = m.Tell("READY=1") }
}
