package systemd

import (
	"context"
	"os"
	"strconv"
	"time"
)

// Watchdog returns how often the manager wants to hear of this process
// (WatchdogSec=, of which half is asked for); 0 if it does not.
func Watchdog() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return 0
	}
	return time.Duration(usec) * time.Microsecond / 2
}

// RunWatchdog tells the manager every so often that the process lives, for as
// long as alive returns and until ctx ends. A process whose alive hangs is
// killed by the manager, and started again.
func (m *Manager) RunWatchdog(ctx context.Context, every time.Duration, alive func()) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		alive()
		_ = m.Tell("WATCHDOG=1") // who cannot be told kills us, which is what it is for
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
