package query

import (
	"context"
	"slices"
	"time"

	"github.com/valyala/fasthttp"
)

// Audit is the ledger as of the last commit: every record that was ever taken,
// and what became of it. The names of its JSON are promised in docs/api.md. Unexplained
// is what has come and not gone, below 0 what has gone and not come; the last one adds
// all of them up without their signs, and is 0, or there is a bug.
type Audit struct {
	Agent      string           `json:"agent"`
	Inputs     []InputAudit     `json:"inputs"`
	Pipelines  []PipelineAudit  `json:"pipelines"`
	Modules    []ModuleAudit    `json:"modules"`
	Streams    []StreamAudit    `json:"streams"`
	Forwarders []ForwarderAudit `json:"forwarders"`
	Gaps       []GapAudit       `json:"gaps"`
	// Interrupted: the run before this one did not end properly, so that what it had taken
	// from senders without acknowledgement, or dropped, since its last commit is not known.
	Interrupted bool   `json:"interrupted"`
	Unexplained uint64 `json:"unexplained"`
}

// InputAudit is what pipelines have of one input, for ever; and what was lost
// before it could be taken, since the agent's start: those are in no sum.
type InputAudit struct {
	Name        string `json:"name"`
	Received    uint64 `json:"received"`
	Dropped     uint64 `json:"dropped"`      // by the input itself, for want of room
	KernelDrops uint64 `json:"kernel_drops"` // datagrams
}

// PipelineAudit is one pipeline: received + emitted + brought = stored + the
// dropped + held + left. Rejected is beside it, since the agent's start: those were not taken.
type PipelineAudit struct {
	Name        string            `json:"name"`
	Since       time.Time         `json:"since"`
	Received    map[string]uint64 `json:"received"` // by input
	Emitted     uint64            `json:"emitted"`
	Brought     uint64            `json:"brought,omitempty"` // held by modules when the ledger began, or by one that left and came here
	Stored      map[string]uint64 `json:"stored"`            // by stream
	Dropped     map[string]uint64 `json:"dropped"`           // by reason
	Held        uint64            `json:"held"`
	Left        uint64            `json:"left,omitempty"` // held by modules that left, brought to this pipeline or another
	Rejected    uint64            `json:"rejected"`
	Unexplained int64             `json:"unexplained"`
}

// ModuleAudit is one module in one pipeline: in + emitted + brought = out + dead +
// the dropped + held.
type ModuleAudit struct {
	Name        string            `json:"name"`
	Pipeline    string            `json:"pipeline"`
	In          uint64            `json:"in"`
	Emitted     uint64            `json:"emitted"`
	Brought     uint64            `json:"brought,omitempty"`
	Out         uint64            `json:"out"`
	Dead        uint64            `json:"dead"`
	Dropped     map[string]uint64 `json:"dropped"` // by reason
	Held        uint64            `json:"held"`
	Unexplained int64             `json:"unexplained"`
}

// StreamAudit is one stream, twice: stored = pipelines + dead letters + earlier -
// lost; and stored = here + retention + damaged. Dropped, uncommitted and expired are
// beside it.
type StreamAudit struct {
	Name        string `json:"name"`
	Stored      uint64 `json:"stored"`       // offsets given
	Pipelines   uint64 `json:"pipelines"`    // stored by them
	DeadLetters uint64 `json:"dead_letters"` // stored by forwarders
	Earlier     uint64 `json:"earlier"`      // stored before there was a ledger
	Lost        uint64 `json:"lost"`         // stored, and gone with a damaged file with their offsets
	Here        uint64 `json:"here"`
	Retention   uint64 `json:"retention"`   // taken by it
	Damaged     uint64 `json:"damaged"`     // cannot be read any more
	Dropped     uint64 `json:"dropped"`     // not stored, as it was full
	Uncommitted uint64 `json:"uncommitted"` // likewise, since the last commit: not on disk yet
	Expired     uint64 `json:"expired"`     // of those taken: before some forwarder had them
	Unexplained int64  `json:"unexplained"`
}

// ForwarderAudit is one forwarder in one stream, from where it began: stored +
// rewound = delivered + redriven + filtered + dead + expired + damaged + skipped +
// pending. Redrive: it is about the dead letters that were asked to go again; those of
// others are the filtered.
type ForwarderAudit struct {
	Name        string `json:"name"`
	Stream      string `json:"stream"`
	Start       uint64 `json:"start"`  // the offset where it began
	Stored      uint64 `json:"stored"` // in the stream since
	Delivered   uint64 `json:"delivered"`
	Redrive     bool   `json:"redrive,omitempty"`
	Redriven    uint64 `json:"redriven"` // dead letters that the receiver took in the end
	Repeated    uint64 `json:"repeated"` // of those delivered: offered before, so the receiver may have them twice
	Filtered    uint64 `json:"filtered"`
	Dead        uint64 `json:"dead"`
	Expired     uint64 `json:"expired"`
	Damaged     uint64 `json:"damaged"`
	Skipped     uint64 `json:"skipped"` // left out by hand
	Rewound     uint64 `json:"rewound"` // gone back over by hand
	Pending     uint64 `json:"pending"`
	Unexplained int64  `json:"unexplained"`
}

// GapAudit is a range of offsets whose records were stored and cannot be read any more.
// They are among the damaged of their stream.
type GapAudit struct {
	Stream  string    `json:"stream"`
	From    uint64    `json:"from"`
	To      uint64    `json:"to"` // the last
	Records uint64    `json:"records"`
	Reason  string    `json:"reason"` // damage
	Found   time.Time `json:"found"`
}

// Stream returns the one of that name, a new one if there is none.
func (a *Audit) Stream(name string) *StreamAudit {
	i := slices.IndexFunc(a.Streams, func(s StreamAudit) bool { return s.Name == name })
	if i < 0 {
		i = len(a.Streams)
		a.Streams = append(a.Streams, StreamAudit{Name: name})
	}
	return &a.Streams[i]
}

// Sum adds up what is unexplained.
func (a *Audit) Sum() {
	a.Unexplained = 0
	add := func(n int64) { a.Unexplained += uint64(max(n, -n)) }
	for i := range a.Pipelines {
		add(a.Pipelines[i].Unexplained)
	}
	for i := range a.Modules {
		add(a.Modules[i].Unexplained)
	}
	for i := range a.Streams {
		add(a.Streams[i].Unexplained)
	}
	for i := range a.Forwarders {
		add(a.Forwarders[i].Unexplained)
	}
}

func (s *Server) audit(_ context.Context, c *fasthttp.RequestCtx) {
	if !plain(c) {
		return
	}
	a := s.o.Host.Audit()
	if a.Agent == "" {
		a.Agent = s.o.Agent
	}
	a.Inputs, a.Pipelines, a.Modules = list(a.Inputs), list(a.Pipelines), list(a.Modules)
	a.Streams, a.Forwarders, a.Gaps = list(a.Streams), list(a.Forwarders), list(a.Gaps)
	answer(c, a)
}
