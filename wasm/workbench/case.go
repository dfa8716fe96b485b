// Package workbench is where a module is made: it scaffolds a project, finds
// the compiler and builds, runs the project's cases, measures, and says what a
// host would think of the result. It hides compilers and the case format. It never
// talks to an agent and keeps nothing: what a module does here is gone when
// the call returns.
package workbench

import (
	"time"

	"github.com/runnel-log/runnel/record"
)

// Case is one test of a module: what goes in, step by step, and what must come
// out. A file in cases/ holds one or several of them (docs/modules.md "Cases").
type Case struct {
	Name string
	File string // as the user named it
	Line int    // where it begins

	Config  []byte           // JSON; nil: {}
	Now     time.Time        // the clock at the first step
	Tables  map[string]Table // for lookup
	State   map[string][]byte
	Streams []string // that the config would know; nil: any
	OnError string   // keep, drop or dead_letter
	Steps   []Step   // at least one

}

// Table is a table of the case: a file, or rows written out.
type Table struct {
	File string // resolved; empty: Rows
	Rows []byte // JSON
	Key  string
}

// Step is one thing that happens to the module: exactly one of Records, Tick, Flush
// and Restart.
type Step struct {
	Records *record.Batch // one batch; nil: another kind of step
	Tick    bool          // runnel_tick at Now
	Flush   bool          // the module leaves the pipeline
	Restart bool          // the instance ends; its state survives

	Now  time.Time // the clock of this step
	Want *Want     // nil: the case does not say, and fails until --update fills it

	first  int    // number in the case of the first of Records, from 1
	source source // where it stands, for --update
}

// Want is what must come of a step. All of it holds at once, and what is left
// out of it is wanted not to happen: no record goes on, none is dropped, none is held,
// none fails. Only State, Metrics and Log are not looked at where they are nil.
type Want struct {
	Same    bool              // records: same — those of the step, as they came
	Records []Fields          // that go on, in order
	Dead    []Fields          // for the dead-letter stream
	Dropped map[string]int    // by reason
	Held    int               // records held after the step
	State   map[string][]byte // all of it, after the step
	Metrics map[string]float64
	Log     []string // for each, in order, a line that contains it
	Failed  string   // contained in why the last record failed; empty: none failed
	Refused string   // contained in why the module refused its config; nothing else happens then
}
