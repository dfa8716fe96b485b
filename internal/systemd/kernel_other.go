//go:build !linux

package systemd

import (
	"errors"
	"os"
)

// Memory fails: systemd is Linux's.
func Memory([]byte) (*os.File, error) { return nil, errors.ErrUnsupported }

func monotonic() int64 { return 0 }
