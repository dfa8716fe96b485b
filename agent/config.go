package agent

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/expression"
	"github.com/runnel-log/runnel/internal/tlsconf"
	"github.com/runnel-log/runnel/storage"
	"github.com/runnel-log/runnel/wasm"
)

// Kinds are the kinds of part that a binary has.
type Kinds struct {
	Inputs     []inputs.Kind
	Forwarders []forwarders.Kind
}

// Config is one configuration, read and checked: every name in it exists, every
// expression is compiled, every default is filled in. It is not changed afterwards.
type Config struct {
	File        string        // as the user named it
	Name        string        // of this agent
	DataDir     string        // absolute, or relative to the working directory
	MaxSize     int64         // bytes of all streams together
	CommitEvery time.Duration // 0: by load
	Engine      wasm.Engine   // that runs modules
	API         APIConfig
	Inputs      []InputConfig    // in file order, as all of these
	Modules     []ModuleConfig   //
	Pipelines   []PipelineConfig //
	Streams     map[string]storage.Policy
	Forwarders  []ForwarderConfig

	known map[string]bool // every stream that the file names
	at    *config.At      // of the section api
}

// APIConfig is where and to whom the API answers.
type APIConfig struct {
	Listen string          `yaml:"listen"` // HOST:PORT, or unix:///PATH
	Token  config.Secret   `yaml:"token"`  // zero: the one in the data directory
	Open   bool            `yaml:"open"`   // no token wanted; on loopback only
	TLS    *tlsconf.Server `yaml:"tls"`
}

// InputConfig is one input.
type InputConfig struct {
	Name    string
	Kind    inputs.Kind
	Options config.Options
	Digest  string // equal digests: nothing of it changed

	at *config.At
}

// ModuleConfig is one module.
type ModuleConfig struct {
	Name    string
	Options wasm.Options // without KnownStream and Tables
	Tables  []TableConfig
	Digest  string // also of the files' content

	section string // digest of what the configuration says of it
	at      *config.At
}

// PipelineConfig is one pipeline.
type PipelineConfig struct {
	Name   string
	From   []string // inputs
	Steps  []StepConfig
	Stream string // where no route and no module says otherwise
	// KeepsStreams: it names no stream, and records that come from another runnel stay in
	// those that they were in there.
	KeepsStreams bool
}

// StepConfig is one step of a pipeline: exactly one of its fields is set, besides Text.
type StepConfig struct {
	Parse    string // json or logfmt
	ParseMap bool   // with Parse: level and time become the record's own
	Drop     *expression.Program
	Set      []SetField
	Module   string
	Route    []Route
	Text     string // the step on one line, as a person would write it
}

// SetField sets one attribute.
type SetField struct {
	Key   string
	Value *expression.Program
}

// Route sends the records that a condition is true of to a stream.
type Route struct {
	Stream string
	When   *expression.Program
}

// ForwarderConfig is one forwarder.
type ForwarderConfig struct {
	Name      string
	Kind      forwarders.Kind
	Options   config.Options
	From      []string            // streams, or "*"
	Where     *expression.Program // nil: every record
	WhereText string
	Start     string // oldest or end: where a forwarder begins that has no cursor yet
	To        string // the destination, for people; no password and no query in it
	Digest    string // also of authorities that it reads once

	at *config.At
}

// allStreams stands for every stream in from and streams.
const allStreams = "*"

// Policy returns the bounds of a stream; dead letters have those of their stream.
func (c *Config) Policy(stream string) storage.Policy {
	if p, ok := c.Streams[stream]; ok {
		return p
	}
	if p, ok := c.Streams[strings.TrimSuffix(stream, deadSuffix)]; ok {
		return p
	}
	return c.Streams[allStreams]
}

// relays reports whether the input of that name takes records from other runnels.
func (c *Config) relays(input string) bool {
	return slices.ContainsFunc(c.Inputs, func(in InputConfig) bool { return in.Name == input && in.Kind.Relays })
}

// keepsStreams reports whether records may come into streams that other runnels have named.
func (c *Config) keepsStreams() bool {
	for _, in := range c.Inputs {
		i := slices.IndexFunc(c.Pipelines, func(p PipelineConfig) bool { return slices.Contains(p.From, in.Name) })
		if in.Kind.Relays && (i < 0 || c.Pipelines[i].KeepsStreams) {
			return true
		}
	}
	return false
}

// KnownStream reports whether the configuration names the stream, so that a
// module may route to it. Dead letters are none to route to.
func (c *Config) KnownStream(name string) bool { return c.known[name] }

// moduleProblems calls load for every module and returns what it could not
// load, placed in the file; nil if it could all.
func (c *Config) moduleProblems(load func(ModuleConfig) error) error {
	var ps config.Problems
	for _, m := range c.Modules {
		err := load(m)
		if err == nil {
			continue
		}
		if m.at == nil { // made by hand, in a test
			ps = append(ps, config.Problem{File: c.File, Path: "modules." + m.Name, Text: err.Error()})
			continue
		}
		at := m.at.To(&ps).Key("file")
		if table, ok := errors.AsType[tableError](err); ok {
			at = m.at.To(&ps).Key("tables").Key(table.name).Key("file")
			err = table.err
		}
		at.Problemf("%v", err)
	}
	return ps.Err()
}
