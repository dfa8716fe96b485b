//go:build integration && (soak || criu)

package chain

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/internal/testkit/oracle"
)

const cloneSent = 400 // records of each sender

// clones is a chain whose host is copied.
type clones struct {
	*Chain
	t       *testing.T
	trial   Trial
	random  *rand.Rand
	sent    *oracle.Sent
	senders int // that have sent
}

func (x *clones) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *clones) read(t *Tier) *Copy {
	x.t.Helper()
	c, err := Read(x.t.Context(), t)
	x.must(err)
	return c
}

// send has a sender of its own send to the host or its clone, and returns what waits for that.
func (x *clones) send(to string) (wait func()) {
	l := oracle.Load{To: func() string { return strings.Replace(x.Keyed, "/host/", "/"+to+"/", 1) }, First: x.senders, Rate: 2000, Count: cloneSent, Keys: true}
	x.senders++
	done := make(chan error, 1) // its one value
	go func() { done <- oracle.Send(x.t.Context(), l, x.sent, nil) }()
	return func() {
		x.t.Helper()
		x.must(<-done)
	}
}

// ready waits until tiers are.
func (x *clones) ready(tiers ...*Tier) {
	x.t.Helper()
	ctx, end := context.WithTimeout(x.t.Context(), x.trial.Within)
	defer end()
	for _, each := range tiers {
		x.must(each.Ready(ctx))
	}
}
