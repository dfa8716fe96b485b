// Package forwardertest holds the conformance suite of the forwarders' contract
// and the receivers it needs: a syslog server and a web server, both real, on
// loopback, and able to misbehave on command. Every kind's tests call Run. Nothing here
// sleeps; what has to happen is waited for.
package forwardertest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
)

// Receiver is a destination under the suite's control. Only Options and Texts
// are needed; a nil function means that the kind knows no such thing.
type Receiver struct {
	// Options are those of a forwarder that sends to it.
	Options config.Options
	// Texts returns what has arrived, in order, one element for each record; a record
	// delivered twice is there twice. It contains the record's message somewhere.
	Texts func() []string
	// Freeze makes it take connections and bytes from the kernel no more, or
	// answer nothing, until it is called with false.
	Freeze func(frozen bool)
	// Reached has an element for each connection or request that a frozen
	// receiver was given; its capacity is more than any test makes.
	Reached <-chan struct{}
	// Break resets every connection. What they brought before stays received.
	Break func()
	// Refuse has it refuse for good whatever contains text.
	Refuse func(text string)
	// Busy has it turn the next n deliveries away for now.
	Busy func(n int)
	// Named returns options of a forwarder that reaches it by a host's name, without
	// TLS. It listens at 127.0.0.1, and Break is there.
	Named func(host string) config.Options
	// Shown is the certificate that it shows; Break is there.
	Shown *Shown
}

// patience is how long a test waits for what must happen.
const patience = time.Minute

// Run checks that the kind keeps the contract of package forwarders. start makes a
// fresh receiver for each part of the suite.
func Run(t *testing.T, kind forwarders.Kind, start func(t *testing.T) *Receiver) {
	part := func(name string, applies bool, test func(s *suite)) {
		if applies {
			t.Run(name, func(t *testing.T) { test(&suite{T: t, kind: kind, receiver: start(t)}) })
		}
	}
	can := start(t)
	part("AllRecordsInOrder", true, (*suite).allRecordsInOrder)
	part("BatchIsBorrowedOnlyDuringDeliver", true, (*suite).batchIsBorrowed)
	part("AnyBytesStayOneRecord", true, (*suite).anyBytesStayOneRecord)
	part("SeveralStreams", true, (*suite).severalStreams)
	part("CloseFromManySides", true, (*suite).closeFromManySides)
	part("LeavesNoGoroutine", true, (*suite).leavesNoGoroutine)
	part("BrokenConnectionLosesNothing", can.Break != nil, (*suite).brokenConnection)
	part("FrozenReceiverLetsGoAtClose", can.Freeze != nil, (*suite).frozenThenClosed)
	part("FrozenReceiverLetsGoWithContext", can.Freeze != nil, (*suite).frozenThenCancelled)
	part("SlowReceiverGetsAll", can.Freeze != nil, (*suite).slowReceiver)
	part("RefusedRecordAlone", can.Refuse != nil, (*suite).refusedRecord)
	part("NameThatDoesNotExistIsAskedForAgain", can.Named != nil, (*suite).nameThatDoesNotExist)
	part("NameThatMovesIsFollowed", can.Named != nil, (*suite).nameThatMoves)
	part("BadCertificateIsNamedAndTriedAgain", can.Shown != nil, (*suite).badCertificates)
	part("BusyReceiverIsOfferedAgain", can.Busy != nil, (*suite).busyReceiver)
}

// New builds a forwarder of the kind, closed with the test.
func New(t testing.TB, kind forwarders.Kind, options config.Options) forwarders.Forwarder {
	t.Helper()
	return newWith(t, kind, options, nil)
}

func newWith(t testing.TB, kind forwarders.Kind, options config.Options, names *net.Resolver) forwarders.Forwarder {
	t.Helper()
	f, err := kind.New(options, forwarders.Setup{Name: "test", Agent: "vm-17", Version: "test",
		Log: zerolog.Nop(), Metrics: metrics.NewSet(), Resolver: names, Source: new(Source)})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Eventually waits until done, and fails the test if that takes too long.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
	}
}
