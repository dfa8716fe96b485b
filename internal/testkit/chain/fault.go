package chain

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// kind is what a proxy does to a connection.
type kind int

// The kinds of harm. A unit is a frame of the relay, or of what is encrypted
// whatever one read brought.
const (
	none     kind = iota
	cut           // passes a part of a unit, and closes both ends
	reset         // the same, and what is on its way is thrown away
	delay         // holds each of some units up
	hold          // holds one unit, and so all behind it, for longer
	drop          // leaves some units out
	again         // says a unit twice
	later         // says a unit again, behind others
	exchange      // has a unit overtaken by the next
	flip          // changes one bit
	silence       // passes nothing more of one direction; both ends stay open, then are closed
	halfOpen      // closes one end, and leaves the other open for a while
	kinds         // how many there are
)

var kindNames = [kinds]string{"none", "cut", "reset", "delay", "hold", "drop", "again", "later", "exchange", "flip", "silence", "halfOpen"}

func (k kind) String() string { return kindNames[k] }

// fault is what is done to one connection.
type fault struct {
	kind  kind
	up    bool          // to what the lower tier says; else to what the upper one does
	after int           // units of that direction that are passed before
	part  float64       // of the unit: where it is cut or changed
	units int           // how many of them, for delay and drop; how many lie between, for later
	pause time.Duration // for delay and hold, and before the end of silence and halfOpen
}

func (f fault) String() string {
	way := "down"
	if f.up {
		way = "up"
	}
	return fmt.Sprintf("%s %s after %d units (%d units, at %.2f, for %v)", f.kind, way, f.after, f.units, f.part, f.pause.Round(time.Millisecond))
}

// draw draws the fault of a proxy's nth connection. Half of the faults are in the
// first few units, where the two ends find out what each has.
func draw(seed, n uint64) fault {
	r := rand.New(rand.NewPCG(seed, n))
	f := fault{kind: kind(r.IntN(int(kinds))), up: r.IntN(2) == 0, part: r.Float64(), units: 1 + r.IntN(4)}
	f.after = int(math.Exp(r.Float64()*math.Log(maxAfter))) - 1
	f.pause = time.Duration(r.Int64N(int64(maxPause)))
	if f.kind == delay {
		f.pause /= 20
		f.units *= 10
	}
	return f
}

const (
	maxAfter = 300
	maxPause = 800 * time.Millisecond
)
