//go:build !linux

package chain

import "syscall"

func parting() *syscall.SysProcAttr { return nil }
