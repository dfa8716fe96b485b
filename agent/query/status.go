package query

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-log/runnel/record"
)

// ErrNotFound: the forwarder or stream that a call names does not exist. A Host
// wraps it; the caller of the API gets 404.
var ErrNotFound = errors.New("not found")

// Host is the agent as the API sees it. Its methods may be called at any time
// and from many goroutines.
type Host interface {
	// Status describes every part of the agent as it is now.
	Status() Status
	// Audit balances the ledger as of the last commit.
	Audit() Audit
	// Reload reads the configuration again. An error means that the running
	// one goes on unchanged; its text goes to the caller.
	Reload(ctx context.Context) error
	// Ready returns nil once inputs accept and the store can write, or what is missing.
	Ready() error
	// Config returns the effective configuration as YAML, secrets hidden.
	Config() []byte
	// SetCursor makes to the next offset that the forwarder gets of the stream.
	// It returns once the move is durable; ErrNotFound for an unknown pair.
	SetCursor(forwarder, stream string, to uint64) error
	// SkipCursor moves the cursor n records on from where it is at that
	// moment, at most to the stream's end, and returns the offset it came to.
	SkipCursor(forwarder, stream string, n uint64) (to uint64, err error)
	// Redrive sends dead letters to the forwarders that refused them again, and
	// returns once that is durable; ErrNotFound for a stream or forwarder that is not there.
	Redrive(ctx context.Context, q Redrive) (Redriven, error)
	// TryModule gives batches of one record each, borrowed, to a fresh copy of
	// a module, one after another, and returns what it made of them; ErrNotFound
	// for an unknown module. Nothing is stored and nothing counted.
	TryModule(ctx context.Context, name string, records []*record.Batch) ([]Verdict, error)
}

// Status is the agent and all of its parts. The names of its JSON are promised
// in docs/api.md. Counts are since the start of the agent, rates are records a
// second over the last seconds, times are absent where there is none.
type Status struct {
	Agent      AgentStatus       `json:"agent"`
	Inputs     []InputStatus     `json:"inputs"`
	Pipelines  []PipelineStatus  `json:"pipelines"`
	Modules    []ModuleStatus    `json:"modules"`
	Streams    []StreamStatus    `json:"streams"`
	Forwarders []ForwarderStatus `json:"forwarders"`

	Certificates []CertificateStatus `json:"certificates,omitempty"`        // that are out of date
	Ending       []CertificateStatus `json:"certificates_ending,omitempty"` // that will be within 14 days
}

// CertificateStatus is a file of certificates that is out of date, or soon will be, and is in use.
type CertificateStatus struct {
	Part  string    `json:"part"` // api, or input or forwarder and its name
	File  string    `json:"file"`
	Until time.Time `json:"until"`           // the last moment at which it is good
	Error string    `json:"error,omitempty"` // empty: it is good still
}

// AgentStatus is the process. The server fills Name, Version, Started and
// Uptime in where the host leaves them empty.
type AgentStatus struct {
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Uptime   float64   `json:"uptime_seconds"`
	DataDir  string    `json:"data_dir"`
	Config   string    `json:"config,omitempty"` // the file in use; empty for the embedded default
	RSS      int64     `json:"rss_bytes,omitempty"`
	DiskUsed int64     `json:"disk_used_bytes,omitempty"` // of the data directory
	DiskMax  int64     `json:"disk_max_bytes,omitempty"`  // agent.max_size
	Ready    string    `json:"not_ready,omitempty"`       // why it is not ready; empty when it is
}

// InputStatus is one input.
type InputStatus struct {
	Name      string           `json:"name"`
	Kind      string           `json:"kind"`
	Listeners []ListenerStatus `json:"listeners"`
	Records   uint64           `json:"records"`
	Bytes     uint64           `json:"bytes"`
	Malformed uint64           `json:"malformed"`
	Truncated uint64           `json:"truncated"`
	Dropped   uint64           `json:"dropped"` // by the input itself, for want of room
	Errors    uint64           `json:"errors"`
	Rate      float64          `json:"rate"`
	Below     []BelowStatus    `json:"below,omitempty"` // of a relay input: directly below first
}

// BelowStatus is an agent that sends here, directly or by way of others, as it was
// when it was last heard of.
type BelowStatus struct {
	Name        string    `json:"name"`
	Agent       string    `json:"agent"`                 // its id
	Certificate string    `json:"certificate,omitempty"` // the name that its certificate gives it
	Renamed     bool      `json:"renamed,omitempty"`     // that is another
	Version     string    `json:"version"`
	Through     string    `json:"through,omitempty"` // the agent directly below that it reports through; empty: it is directly below itself
	Between     int       `json:"between"`           // agents between it and this one
	Connected   bool      `json:"connected"`         // directly, at the moment
	Copies      int       `json:"copies"`            // 1, or how many agents go by its id: its data directory was copied
	Before      bool      `json:"before,omitempty"`  // not heard of since this agent's start: all is as it was kept
	Seen        time.Time `json:"seen"`
	Reported    time.Time `json:"reported,omitzero"` // when what follows was so; never: nothing is known of it
	LagRecords  uint64    `json:"lag_records"`       // that it has and no agent above it
	LagBytes    uint64    `json:"lag_bytes"`
	LagSeconds  float64   `json:"lag_seconds"`
	Lost        uint64    `json:"lost"` // records that retention or damage took before they were delivered, ever
}

// ListenerStatus is one address that an input listens on.
type ListenerStatus struct {
	URL         string    `json:"url"`
	Connections int       `json:"connections"`
	KernelDrops uint64    `json:"kernel_drops"`
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

// PipelineStatus is one pipeline's part of the ledger: received + emitted =
// stored + the dropped + rejected + held, but for what modules held already when
// the agent started.
type PipelineStatus struct {
	Name     string            `json:"name"`
	From     []string          `json:"from"`
	Received uint64            `json:"received"`
	Emitted  uint64            `json:"emitted"`
	Stored   uint64            `json:"stored"`
	Dropped  map[string]uint64 `json:"dropped,omitempty"` // by reason
	Rejected uint64            `json:"rejected"`
	Held     int64             `json:"held,omitempty"` // by its modules, in their state
	Rate     float64           `json:"rate"`
}

// ModuleStatus is one Wasm module.
type ModuleStatus struct {
	Name        string    `json:"name"`
	File        string    `json:"file"`
	Hash        string    `json:"hash"`              // SHA-256 of the file, hexadecimal
	Version     string    `json:"version,omitempty"` // as its manifest says
	Ordered     bool      `json:"ordered"`           // it keeps state, and sees its batches one after another
	Records     uint64    `json:"records"`
	Dropped     uint64    `json:"dropped"`
	Failed      uint64    `json:"failed"`
	Seconds     float64   `json:"seconds"` // spent in the module, the host\'s share included
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Refused     string    `json:"refused,omitempty"` // why its file, as it is now, cannot take the place of the running one: a start would fail on it
	Bypassed    bool      `json:"bypassed"`          // it keeps failing, and on_error decides for every record
}

// StreamStatus is one stream.
type StreamStatus struct {
	Name     string    `json:"name"`
	First    uint64    `json:"first"` // the oldest offset still there
	Next     uint64    `json:"next"`  // the offset that the next record will get
	Records  uint64    `json:"records"`
	Bytes    int64     `json:"bytes"`     // on disk
	RawBytes int64     `json:"raw_bytes"` // before compression
	Oldest   time.Time `json:"oldest_received,omitzero"`
	Newest   time.Time `json:"newest_received,omitzero"`
	Rate     float64   `json:"rate"`
}

// ForwarderStatus is one forwarder and its cursors.
type ForwarderStatus struct {
	Name         string              `json:"name"`
	Kind         string              `json:"kind"`
	To           string              `json:"to"`
	Using        string              `json:"using,omitempty"`        // the one of several destinations that it is connected to
	Destinations []DestinationStatus `json:"destinations,omitempty"` // those that it chooses from
	Remembers    bool                `json:"remembers,omitempty"`    // its receivers keep what they were told, and are sent only what they have lost
	Streams      []CursorStatus      `json:"streams"`
	State        string              `json:"state"` // up, retrying or stopped; of one that keeps a connection also connecting: it has none yet, or lost it just now
	LastError    string              `json:"last_error,omitempty"`
	LastErrorAt  time.Time           `json:"last_error_at,omitzero"`
	NextTry      time.Time           `json:"next_try,omitzero"` // absent unless it waits for that
	Rate         float64             `json:"rate"`
}

// DestinationStatus is one of those that a forwarder chooses from.
type DestinationStatus struct {
	URL         string    `json:"url"`
	Connected   bool      `json:"connected"`
	LastError   string    `json:"last_error,omitempty"` // why it could not be used, since it last was
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

// CursorStatus is how far a forwarder has come in one stream.
type CursorStatus struct {
	Stream     string      `json:"stream"`
	Next       uint64      `json:"next"` // the first offset not delivered yet
	End        uint64      `json:"end"`  // the offset that the stream's next record will get
	LagRecords uint64      `json:"lag_records"`
	LagBytes   int64       `json:"lag_bytes"`   // of the blocks not delivered, on disk
	LagSeconds float64     `json:"lag_seconds"` // the age of the oldest record not delivered
	Delivered  uint64      `json:"delivered"`
	Filtered   uint64      `json:"filtered"`            // its where said no
	Expired    uint64      `json:"expired"`             // retention took them first
	Damaged    uint64      `json:"damaged"`             // could not be read any more
	Dead       uint64      `json:"dead"`                // refused for good; in the stream's dead letters
	Full       *FullStatus `json:"full,omitempty"`      // absent where nothing fills up, or that is not known yet
	Measuring  bool        `json:"measuring,omitempty"` // it is behind, and how fast its backlog grows is not known yet
	Unended    uint64      `json:"unended,omitempty"`   // delivered, and kept until they have come to their end (relay, trim_on: end)
	Redrive    bool        `json:"redrive,omitempty"`   // its dead letters go again up to End, and Delivered have; filtered are those of others
}

// FullStatus is when the buffer of a stream is full for a forwarder that is
// behind, if its backlog goes on growing as it does; or that it is.
type FullStatus struct {
	InSeconds float64 `json:"in_seconds"` // 0: it is full
	By        string  `json:"by"`         // max_age or max_size (the stream's), agent.max_size or disk
	Then      string  `json:"then"`       // expire: what it has not delivered is dropped; drop_new, push_back: senders that wait for an answer are told to wait, what comes by syslog is dropped
}
