package chain

import "syscall"

// parting has an agent die with the test, whatever that dies of.
func parting() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
