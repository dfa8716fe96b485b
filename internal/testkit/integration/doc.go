// Package integration tests the agent as a user runs it: the real binary
// against real daemons (Docker, rsyslog, syslog-ng) that each test starts itself, on
// loopback and in folders of its own, and on disks and machines that fail. Its tests carry the build tag
// `integration`; `make test` installs what they need. Nothing here may be
// imported, and no test may end a process that it did not start.
package integration
