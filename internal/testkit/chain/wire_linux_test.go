//go:build integration

package chain

import (
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wiring is how long packets take over a wire, which kernels without netem cannot say of a
// device. Each has a delay of its own, so they overtake each other. The zero value is no wire.
type wiring struct{ delay, jitter time.Duration }

// newWire makes both ends of a line: what goes into one comes out of the other.
func newWire(t *testing.T, l *line, w wiring) error {
	var files [2]*os.File
	for i, e := range l.ends() {
		if err := e.inside(func() (err error) {
			files[i], err = tunnel(e.device)
			return err
		}); err != nil {
			return err
		}
	}
	var running sync.WaitGroup
	running.Go(func() { w.carry(files[0], files[1]) })
	running.Go(func() { w.carry(files[1], files[0]) })
	t.Cleanup(func() {
		files[0].Close()
		files[1].Close()
		running.Wait()
	})
	return nil
}

// tunnel makes a device whose packets are read from and written to a file.
func tunnel(device string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(device)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), device), nil
}

// carry carries one direction until a file is closed.
func (w wiring) carry(from, to *os.File) {
	var onTheWay sync.WaitGroup
	defer onTheWay.Wait()
	packet := make([]byte, 64<<10)
	for {
		n, err := from.Read(packet)
		if err != nil {
			return
		}
		carried := slices.Clone(packet[:n])
		onTheWay.Add(1)
		time.AfterFunc(w.delay+rand.N(w.jitter+1), func() {
			defer onTheWay.Done()
			_, _ = to.Write(carried) // what a device does not take is lost, as on any line
		})
	}
}
