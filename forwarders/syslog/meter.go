package syslog

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// patience is how long a connection may stand still.
type patience struct {
	silence time.Duration // with bytes outstanding and no sign of life from the peer
	stuck   time.Duration // with a peer that is alive and takes nothing
}

// A peer that is alive and slow is waited for: to break its connection would
// send again what our kernel goes on sending anyway. After five minutes
// without a byte it is taken for hung, and another connection may do better.
var usualPatience = patience{silence: 30 * time.Second, stuck: 5 * time.Minute}

// meter is a connection that counts what was written to it, and whose Write
// gives up when the peer is gone rather than when it is slow. Under TLS it counts ciphertext.
type meter struct {
	net.Conn
	patience patience
	alive    func() bool // has the peer shown a sign of life within patience.silence?
	sent     atomic.Uint64
}

// Write writes all of p, or fails.
func (m *meter) Write(p []byte) (int, error) {
	total := 0
	for moved := time.Now(); ; {
		if err := m.SetWriteDeadline(time.Now().Add(m.patience.silence)); err != nil {
			return total, err
		}
		n, err := m.Conn.Write(p[total:])
		total += n
		m.sent.Add(uint64(n))
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return total, err
		}
		if n > 0 {
			moved = time.Now()
		} else if time.Since(moved) >= m.patience.stuck || !m.alive() {
			return total, errStuck
		}
	}
}

var (
	errStuck  = errors.New("receiver takes no more bytes")
	errSilent = errors.New("receiver acknowledges nothing any more")
)
