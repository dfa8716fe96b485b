package relaywire

import (
	"errors"
	"fmt"
	"time"

	"github.com/runnel-log/runnel/record"
)

// Version is the version of the protocol that this package speaks.
const Version = 1

// Bounds of what is on the wire. A sender keeps to them, a receiver insists.
const (
	MaxFrame   = 4 << 20        // of a frame, without its first 8 bytes
	MaxPayload = 129 << 19      // 64.5 MiB: of Data.Payload, in all its frames, and of Data.Raw
	MaxText    = 4096           // bytes of a text
	MaxName    = 255            // bytes of an agent's name and build
	MaxRanges  = 1 << 16        // ranges in one set, and entries of Data.Gone
	MaxParts   = MaxRanges / 2  // ranges in an Ask: what is known of a line may split them
	MaxRecords = 1 << 14        // records of a Data
	MaxGone    = 1 << 40        // offsets that are gone in a Data
	MaxPath    = 8              // hops above
	MaxBelow   = 1000           // agents below in one report
	piece      = 2 << 20        // of a payload, in one frame
	cheap      = 64 << 10       // what a message may have without anybody being asked
	never      = ^uint64(0)     // the end of what has none
	magic      = "runnel-relay" // begins a Hello, so that a stranger is known for one
)

// Message is what a frame says: *Hello, *Welcome, *Ask, *Tell, *Data, *Ack, *Nack,
// *Report, *Path, *Bye or *Ended.
type Message interface {
	kind() byte
	append(dst []byte) []byte
	parse(p *parser)
}

// Hello is what a sender says first. Its encoding stays the same in every version.
type Hello struct {
	Writer
	Versions    [2]uint16 // the lowest and the highest that the sender speaks
	Name, Build string
}

// Welcome is what a receiver answers.
type Welcome struct {
	Version uint16 // that both go on with
	Agent   Agent  // the receiver
	Name    string
	Build   string
	Session Session
	Credit  uint64 // how much (Data.Cost) may be unacknowledged
	Above   []Hop  // whom the receiver passes records on to, itself first
}

// Hop is an agent on the way. Its name can be shown as it is, as all names and builds can: each character
// prints.
type Hop struct {
	Agent Agent
	Name  string
}

// Ask is a sender's question, before it sends anything of one of its lines, what of it the
// receiver has. The line's agent is the sender.
type Ask struct {
	Stream string
	Epoch  uint32
	// Parts is what the sender can answer for: what this receiver has acknowledged before, which it may
	// have lost since, and what nobody has. The last ends at the highest uint64 where
	// there is more to come. There is one at least, and MaxParts at most.
	Parts Ranges
}

// Tell is a receiver's answer to an Ask.
type Tell struct {
	Stream  string
	Epoch   uint32
	Missing Ranges  // of the parts of the Ask, what is not there
	Ends    Range   // all that is known of the line lies in it; empty: nothing is
	Prints  []Print // of the line, what was taken last, the oldest first
	Forgot  bool    // of the agent's lines some, or the beginnings of some, were too many: what lies before Ends may have been there
}

// Data is a frame of records. Range is dense: what it says is all there is of that part of
// the line. Offsets without a record were left out by the sender's filter, or are Gone.
type Data struct {
	Number  uint64 // 1, 2, … in a session
	Part           // its Agent is the session's, and is not on the wire
	Sum     uint64 // of the record before To (see Sum); 0 without records
	Gone    []Gone // what the sender has no more, in order
	Offsets Ranges // of the records, in order; the last ends at To
	Payload []byte // their batch, compressed with s2; empty without records
	Raw     uint32 // the length of Payload, decompressed
	// Origin is where the first record was stored first, and the ith so many further on: of those whose encoding has no origin. The
	// zero value: at this offset of this line. Its Child is 0.
	Origin record.Origin

	// Origins is computed by the receiver: where the records were first stored, one Part after another, of those
	// that another agent or line had first; their children (record.Origin.Child) are left out.
	Origins []Part
}

// Cost is what the frame counts towards the credit: its payload, but at least a sixteenth of what that is
// decompressed.
func (m *Data) Cost() int { return max(len(m.Payload), int(m.Raw)/16) }

// Gone is a part of a line that a sender cannot send.
type Gone struct {
	Range
	Reason Reason
}

// Reason says why a record is gone.
type Reason uint8

const (
	Retention Reason = 1 + iota // the store's limits took it
	Damage                      // it was unreadable
	lastReason
)

// Ack says that all frames up to Number are on disk.
type Ack struct{ Number uint64 }

// Nack refuses, and ends the connection. Its encoding stays the same in every version.
type Nack struct {
	Code  Code
	Text  string
	After time.Duration // when to try again; 0: as the sender likes
}

// Code is the kind of a refusal.
type Code uint8

const (
	CodeVersion   Code = 1 + iota // no version in common
	CodeIdentity                  // this certificate does not speak for this agent
	CodeOrigin                    // nor for the agents whose records these are
	CodeLoop                      // the sender is the receiver itself, or above it
	CodeFenced                    // a newer connection of this agent has taken over
	CodeKnown                     // offsets are known from another frame
	CodeHole                      // offsets are left out
	CodeFull                      // the receiver has no room
	CodeMalformed                 // the frame is none
	CodeClosing                   // the receiver ends
	lastCode
)

func (c Code) String() string {
	if c == 0 || c >= lastCode {
		return fmt.Sprintf("code %d", uint8(c))
	}
	return [...]string{"version", "identity", "origin", "loop", "fenced", "known", "hole", "full", "malformed", "closing"}[c-1]
}

func (n *Nack) Error() string {
	if n.Text == "" {
		return fmt.Sprintf("the receiver refuses (%v)", n.Code)
	}
	return fmt.Sprintf("the receiver refuses (%v): %q", n.Code, n.Text)
}

// Report is what a sender says of itself and of the agents below it, at most MaxBelow.
type Report struct {
	Lag   Lag
	Below []Below
}

// Lag is what an agent has yet to pass on.
type Lag struct {
	Records, Bytes uint64
	Oldest         time.Duration
	Lost           uint64 // records that retention or damage took before they were passed on, ever
}

// Below is an agent whose records come through the sender.
type Below struct {
	Hop
	Build string
	Via   uint8     // how many hops it is away from the sender
	Seen  time.Time // zero: never
	Lag   Lag
}

// Path is a receiver's answer to each Report: who is above the sender, the receiver first.
type Path struct{ Above []Hop }

// Bye ends a session in peace. From a sender: all has been said; the receiver acknowledges it and
// closes. From a receiver: it is about to end, go elsewhere.
type Bye struct{}

// ErrMalformed says that what arrived is no frame, or none that may stand here. The
// connection cannot be resynchronised.
var ErrMalformed = errors.New("malformed frame")
