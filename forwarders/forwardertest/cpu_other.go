//go:build !linux

package forwardertest

import "time"

func threadCPU() time.Duration { return 0 }
