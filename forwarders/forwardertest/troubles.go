package forwardertest

import (
	"context"
	"strings"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// receiverName is what a receiver is called in these parts.
const receiverName = "receiver.test"

// named returns a forwarder that goes by the name, which names resolves.
func (s *suite) named(names *Names) forwarders.Forwarder {
	return newWith(s.T, s.kind, s.receiver.Named(receiverName), names.Resolver())
}

// offer offers one batch, once.
func (s *suite) offer(f forwarders.Forwarder, from, to uint64) error {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	a := &agent{f: f, stream: "app", from: from, to: to, size: to - from, window: 8}
	return a.run(ctx, s.T, func(error) bool { return true })
}

// failsWith offers one batch, once, and checks that the error says what is wrong.
func (s *suite) failsWith(f forwarders.Forwarder, from, to uint64, want ...string) {
	s.Helper()
	err := s.offer(f, from, to)
	for _, text := range want {
		if err == nil || !strings.Contains(err.Error(), text) {
			s.Errorf("got %v, want an error with %q", err, text)
		}
	}
}

// notices breaks the connections, and offers a batch until the forwarder has
// noticed: the first try may meet the old connection.
func (s *suite) notices(f forwarders.Forwarder, from, to uint64) {
	s.receiver.Break()
	if err := s.offer(f, from, to); err == nil {
		s.Errorf("delivered, and the receiver cannot be reached")
	}
}

// nameThatDoesNotExist: the error says which, each try asks anew, and when it
// exists all arrives.
func (s *suite) nameThatDoesNotExist() {
	names := ListenNames(s.T)
	f := s.named(names)
	s.failsWith(f, 1, 11, receiverName, "no such host")
	asked := names.Asked()
	s.failsWith(f, 1, 11, receiverName, "no such host")
	if names.Asked() == asked {
		s.Errorf("the name was not looked up again")
	}
	names.Set(receiverName, "127.0.0.1")
	s.deliver(f, "app", 1, 11, nil)
	s.inOrder(s.received(10), 1, 11)
}

// nobody is an address of this host at which no receiver listens.
const nobody = "127.0.0.9"

// nameThatMoves: a name with several addresses is tried at all of them, and one that has moved
// is found at its new place once the old connection is gone.
func (s *suite) nameThatMoves() {
	names := ListenNames(s.T)
	f := s.named(names)
	names.Set(receiverName, nobody, "127.0.0.1")
	s.deliver(f, "app", 1, 11, nil)
	s.received(10)
	names.Set(receiverName, nobody)
	s.notices(f, 11, 21)
	s.failsWith(f, 11, 21, nobody) // it has moved, and its old address is not tried
	names.Set(receiverName, "127.0.0.1")
	s.deliver(f, "app", 11, 31, nil)
	s.inOrder(s.received(30), 1, 31)
}

// badCertificates: each is named, costs one handshake for each try, and is no
// reason to give up: once a good one is shown all arrives.
func (s *suite) badCertificates() {
	shown := s.receiver.Shown
	other := tlstest.NewAuthority(s.T, "somebody else")
	f := s.new()
	next := uint64(1)
	good := func() {
		s.Helper()
		shown.show(s.T, shown.CA, time.Now().Add(time.Hour))
		s.deliver(f, "app", next, next+10, nil)
		next += 10
		s.inOrder(s.received(int(next)-1), 1, next)
	}
	for _, bad := range []struct {
		by    *tlstest.Authority
		until time.Time
		want  string
	}{
		{shown.CA, time.Now().Add(-time.Minute), "expired"},
		{other, time.Now().Add(time.Hour), "unknown authority"},
	} {
		good()
		shown.show(s.T, bad.by, bad.until)
		s.notices(f, next, next+10)
		before := shown.shaken()
		const tries = 3
		for range tries {
			s.failsWith(f, next, next+10, bad.want)
		}
		if n := shown.shaken() - before; n != tries {
			s.Errorf("%d tries cost %d handshakes", tries, n)
		}
	}
	good()
}
