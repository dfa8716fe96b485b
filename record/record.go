// Package record holds the vocabulary every room speaks: a Record, a Batch of
// them, and the one flat encoding that is at once the guest's input, the
// store's block and the relay's payload (docs/format/record.md).
//
// It hides the byte layout: nobody else indexes into an encoded record. It
// imports only the standard library. Nothing here may panic on bytes that came
// from outside; Decode checks every length before a View is handed out.
package record

import (
	"math"
	"time"
)

// Limits of one record's fields. A field that would exceed its limit is not
// cut here: Batch.Append reports it, and the caller keeps the record raw.
const (
	// MaxField is the greatest length in bytes of a header field (host, app, …)
	// and of an attribute's key.
	MaxField = math.MaxUint16
	// MaxSize is the greatest length in bytes of one encoded record.
	MaxSize = 64 << 20
	// MaxAttrs is the greatest number of attributes of one record.
	MaxAttrs = math.MaxUint16
)

// A batch is full at BatchRecords records or BatchBytes encoded bytes,
// whichever comes first; a record larger than BatchBytes travels alone.
const (
	BatchRecords = 512
	BatchBytes   = 512 << 10
)

// Severity is a syslog severity, 0 (emerg) to 7 (debug); Absent if none is
// known (RFC 5424 §6.2.1).
type Severity = uint8

// Facility is a syslog facility, 0 (kern) to 23 (local7); Absent if none is
// known (RFC 5424 §6.2.1).
type Facility = uint8

// Absent marks a severity or facility that the message did not state.
const Absent = 255

// NoTime marks an event time that the message did not state.
const NoTime = math.MinInt64

// Flags say what happened to a record on its way in.
type Flags uint16

// The flags. Their bit positions are part of the format.
const (
	// Truncated: the message was longer than max_message and was cut to it.
	Truncated Flags = 1 << iota
	// Malformed: nothing could parse it; Message holds the bytes as they came.
	Malformed
	// HostFilled: the sender named no host; Host was filled in by the input.
	HostFilled
	// TimeSkewed: the stated time is more than a day away from the receive time.
	TimeSkewed
	// BestEffort: only a part of the header could be read; Message holds the rest.
	BestEffort
	// Duplicate: the sender repeated it after a break (RELP).
	Duplicate
	// Dead: a forwarder's receiver refused it for good.
	Dead
	// ModuleFailed: a guest failed on it and on_error kept it.
	ModuleFailed
	// Partial: the connection ended inside this record.
	Partial
	// Gap: not a message; stands for records that were lost, and says which.
	Gap
)

var flagNames = [...]string{"truncated", "malformed", "host_filled", "time_skewed", "best_effort",
	"duplicate", "dead", "module_failed", "partial", "gap"}

// Names returns the flags' names as they appear in JSON, in bit order.
func (f Flags) Names() []string {
	var names []string
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// FlagNamed returns the flag of that name, or 0 if there is none.
func FlagNamed(name string) Flags {
	for i, n := range flagNames {
		if n == name {
			return 1 << i
		}
	}
	return 0
}

// Record is one log record with its fields apart: what a parser fills and
// Batch.Append encodes. The byte slices are borrowed by Append and copied.
// The zero value has facility and severity 0 (kern, emerg); start from Reset.
type Record struct {
	Time     int64 // of the event, nanoseconds since 1970 UTC; NoTime if none was stated
	Received int64 // by the first runnel that had it, nanoseconds since 1970 UTC
	Severity Severity
	Facility Facility
	Flags    Flags

	Host, App, ProcID, MsgID []byte // RFC 5424 §6.2; empty if absent
	Stream                   []byte // where a route or a module sent it; empty: the pipeline's stream
	Input                    []byte // the input's name in the config that took it
	Peer                     []byte // the sender's address without port, or "unix", with uid where known
	Agent                    []byte // the name of the first runnel that had it
	SD                       []byte // STRUCTURED-DATA as it came, brackets and escapes included; empty if absent
	Message                  []byte // the text, byte for byte
	Origin                   Origin
	Attrs                    Attrs
}

// Origin names a record for ever, through every hop: the agent that first
// stored it, that agent's epoch, and where in which of its streams. The zero
// value means "here": the record's own place in this store is its origin.
type Origin struct {
	Agent    [16]byte
	Epoch    uint32
	Child    uint32 // index among the records that one record became; 0 for the record itself
	Sequence uint64
	Stream   []byte
}

// IsZero reports whether the record originates at this agent.
func (o *Origin) IsZero() bool {
	return o.Sequence == 0 && o.Epoch == 0 && o.Child == 0 && len(o.Stream) == 0 && o.Agent == [16]byte{}
}

// Reset makes r an empty record with nothing stated, keeping the attribute
// buffer for reuse.
func (r *Record) Reset() {
	attrs := r.Attrs
	attrs.Reset()
	*r = Record{Time: NoTime, Severity: Absent, Facility: Absent, Attrs: attrs}
}

// TimeOf turns a record's nanoseconds into a time in UTC; the zero time for NoTime.
func TimeOf(ns int64) time.Time {
	if ns == NoTime {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// SeverityNames are the severities' names in order, as syslog.conf writes them.
var severityNames = [8]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

// SeverityName returns the name of s, or "" if s is Absent or unknown.
func SeverityName(s Severity) string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return ""
}

// SeverityNamed returns the severity that users and programs call by that
// name, the common aliases and single letters included, in any case.
func SeverityNamed(name string) (Severity, bool) {
	var lower [16]byte
	if len(name) == 0 || len(name) > len(lower) {
		return Absent, false
	}
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "emerg", "emergency", "panic", "f", "fatal":
		if lower[0] == 'f' {
			return 2, true // a program's "fatal" is critical to the host, not an emergency of it
		}
		return 0, true
	case "alert":
		return 1, true
	case "crit", "critical", "c":
		return 2, true
	case "err", "error", "e", "severe":
		return 3, true
	case "warning", "warn", "w":
		return 4, true
	case "notice", "n":
		return 5, true
	case "info", "information", "informational", "i":
		return 6, true
	case "debug", "d", "trace", "t", "verbose", "fine", "finer", "finest":
		return 7, true
	}
	return Absent, false
}

var facilityNames = [24]string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
	"authpriv", "ftp", "ntp", "audit", "alert", "clock",
	"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}

// FacilityName returns the name of f, or "" if f is Absent or unknown.
func FacilityName(f Facility) string {
	if int(f) < len(facilityNames) {
		return facilityNames[f]
	}
	return ""
}

// FacilityNamed returns the facility of that name.
func FacilityNamed(name string) (Facility, bool) {
	for i, n := range facilityNames {
		if n == name {
			return Facility(i), true
		}
	}
	return Absent, false
}
