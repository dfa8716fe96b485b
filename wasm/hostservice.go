package wasm

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// What in a module's config grants a service (ABI §5).
const (
	needState   = "state"
	needMetrics = "metrics"
	needLookup  = "lookup"
)

// Grants are the host services that a module may use beside those that every
// module has (ABI §5). The zero value grants none.
type Grants struct {
	State   bool // keep state and hold records
	Metrics bool // add to counters of its own
}

// service is a host service. params and results are those of its type, as the
// binary format has them; need is what grants it, empty: every module has it.
type service struct {
	params, results string
	need            string
	call            api.GoFunc
}

// services are the functions of the import module "runnel" (ABI §5), but for
// the one the rewriter adds.
var services = map[string]service{
	"log":          {"\x7f\x7f\x7f", "", "", hostLog},
	"now":          {"", "\x7e", "", hostNow},
	"state_get":    {"\x7f\x7f\x7f\x7f", "\x7f", needState, hostStateGet},
	"state_set":    {"\x7f\x7f\x7f\x7f", "\x7f", needState, hostStateSet},
	"state_delete": {"\x7f\x7f", "\x7f", needState, hostStateDelete},
	"state_next":   {"\x7f\x7f\x7f\x7f", "\x7f", needState, hostStateNext},
	"held":         {"\x7f\x7f\x7f\x7f", "\x7f", needState, hostHeld},
	"metric_add":   {"\x7f\x7f\x7c", "", needMetrics, hostMetricAdd},
	"lookup":       {"\x7f\x7f\x7f\x7f\x7f\x7f", "\x7f", needLookup, hostLookup},
	"scan":         {"\x7f\x7f\x7f\x7f", "\x7f", "", hostScan},
}

// grants reports whether what a service needs is granted.
func (o *Options) grants(need string) bool {
	switch need {
	case needState:
		return o.Grant.State
	case needMetrics:
		return o.Grant.Metrics
	case needLookup:
		return len(o.Tables) > 0
	}
	return true
}

// howToGrant says what to write in a module's config, beside what it grants already.
func howToGrant(o *Options, needs []string) string {
	var all, may []string
	for _, one := range [...]struct{ need, may string }{{needState, "keep state"}, {needMetrics, "count"}} {
		missing := slices.Contains(needs, one.need)
		if missing {
			may = append(may, one.may)
		}
		if missing || o.grants(one.need) {
			all = append(all, one.need)
		}
	}
	return fmt.Sprintf("write grant: [%s] in the module's config if it may %s", strings.Join(all, ", "), and(may))
}

// bindRunnel makes the host services a module imports, and no more, bound
// without reflection.
func bindRunnel(ctx context.Context, rt wazero.Runtime, names []string) error {
	b := rt.NewHostModuleBuilder(fuelModule)
	for _, name := range names {
		s := services[name]
		b.NewFunctionBuilder().WithGoFunction(s.call, []byte(s.params), []byte(s.results)).Export(name)
	}
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(hostFuel), nil, []api.ValueType{typeI32}).Export(fuelName)
	if _, err := b.Instantiate(ctx); err != nil {
		return fmt.Errorf("bind host services: %w", err)
	}
	return nil
}

// give copies a value to a guest's buffer if it fits, and returns its length.
func (in *instance) give(value []byte, at, room uint64) uint64 {
	buffer := in.region(uint32(at), uint32(room))
	in.served(len(value))
	if len(value) <= len(buffer) {
		copy(buffer, value)
	}
	return uint64(uint32(len(value)))
}

// none is what a service returns for what is not there.
const none = uint64(0xffffffff)

// hostScan is runnel.scan(text, word) → i32 (ABI §5.6).
func hostScan(ctx context.Context, stack []uint64) {
	in := caller(ctx)
	text, word := in.region(uint32(stack[0]), uint32(stack[1])), in.region(uint32(stack[2]), uint32(stack[3]))
	in.served(len(word))
	stack[0] = uint64(uint32(int32(in.find(text, word))))
}

// Searching is done in pieces, each charged by itself: the search of a
// short word cannot be interrupted by the Go scheduler, and one of a long word
// may compare it at every byte.
const (
	scanPiece = 64 << 10
	scanWord  = 60 // bytes of a word that are searched for, the rest is compared
)

// find returns where in text word first is, or -1.
func (in *instance) find(text, word []byte) int {
	if len(word) > len(text) {
		return -1
	}
	head, tail := word, []byte(nil)
	if len(word) > scanWord {
		head, tail = word[:scanWord], word[scanWord:]
	}
	last := len(text) - len(tail) // where a head ends at the latest
	for at := 0; ; {
		end := min(at+scanPiece+len(head), last)
		i := bytes.Index(text[at:end], head)
		if i >= 0 {
			in.served(scanCost * i)
		} else {
			in.served(scanCost * (end - at))
		}
		switch {
		case i >= 0 && len(tail) == 0:
			return at + i
		case i >= 0:
			in.served(len(tail))
			if bytes.HasPrefix(text[at+i+len(head):], tail) {
				return at + i
			}
			at += i + 1
		case end == last:
			return -1
		default:
			at = end - len(head) + 1
		}
	}
}

// scanCost is what a byte searched costs, in bytes copied, at worst.
const scanCost = 8

// hostLookup is runnel.lookup(table, key, buffer) → i32 (ABI §5.5).
func hostLookup(ctx context.Context, stack []uint64) {
	in := caller(ctx)
	name, key := in.region(uint32(stack[0]), uint32(stack[1])), in.region(uint32(stack[2]), uint32(stack[3]))
	in.served(len(name) + len(key))
	table, known := in.module.options.Tables[string(name)]
	if !known {
		in.module.absent.note(in.module, name)
	}
	row, ok := table.row(key)
	if !ok {
		in.region(uint32(stack[4]), uint32(stack[5]))
		stack[0] = none
		return
	}
	stack[0] = in.give(row, stack[4], stack[5])
}

// maxAbsent bounds the names of tables that are told of; a record may make them up.
const maxAbsent = 16

// absentTables are the tables that a module's guests asked for and its config does
// not have, each told of once: to the guest it looks like a key that is not there.
type absentTables struct {
	mu    sync.Mutex
	names map[string]bool // guarded by mu
}

func (a *absentTables) note(m *Module, name []byte) {
	name = name[:min(len(name), 64)]
	a.mu.Lock()
	told := a.names[string(name)] || len(a.names) >= maxAbsent
	if !told {
		if a.names == nil {
			a.names = map[string]bool{}
		}
		a.names[string(name)] = true
	}
	a.mu.Unlock()
	if !told {
		m.events.tableAbsent(string(name), slices.Sorted(maps.Keys(m.options.Tables)))
	}
}

// appendNeed adds what a service needs to a list without repeating it.
func appendNeed(needs []string, need string) []string {
	if need == "" || slices.Contains(needs, need) {
		return needs
	}
	return append(needs, need)
}
