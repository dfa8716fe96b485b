package runnel

import "unsafe"

// batchHeader is the header of a batch: "rb", version u16, size u32, count
// u32, zero u32 (ABI §3.1).
const batchHeader = 16

var (
	handler   func(*Record)
	batches   func(*Batch)
	configure func(*Config)
	current   Record // one for all records: a handler's Record is good until it returns
	whole     Batch
)

// Handle registers f to be called for every record. Call it from the guest's
// init function, as a reactor's main is never run.
func Handle(f func(r *Record)) { handler = f }

// Register registers f to be called for every batch, for a guest that looks at
// records together. It takes the place of Handle.
func Register(f func(b *Batch)) { batches = f }

// Configure registers f to read the module's config, once, before the first
// batch. What it finds wrong it says by c.Problem, and the module is refused.
func Configure(f func(c *Config)) { configure = f }

// Batch is the batch at hand. Visit its records in order with Next; what was
// said of a record is final when the next one is asked for.
type Batch struct {
	at   unsafe.Pointer
	n, i int
}

// Len returns the number of records.
func (b *Batch) Len() int { return b.n }

// Next returns the next record, or nil at the end.
func (b *Batch) Next() *Record {
	if b.i > 0 {
		current.settle()
		b.at = unsafe.Add(b.at, uintptr(load32(b.at, recSize)))
	}
	if b.i == b.n {
		return nil
	}
	current.point(b.at)
	current.index = uint32(b.i)
	b.i++
	return &current
}

// process runs the guest's handler over one batch and reports whether there
// are verdicts in out.buf.
func process(batch unsafe.Pointer) bool {
	out.start()
	n := load32(batch, 8)
	first := unsafe.Add(batch, batchHeader)
	if batches != nil {
		whole = Batch{at: first, n: int(n)}
		batches(&whole)
		for whole.i < whole.n { // the guest stopped early: it keeps the rest
			whole.Next()
		}
		current.settle()
		return out.finish()
	}
	if handler == nil {
		return false
	}
	r := &current
	for i := range n {
		r.point(first)
		r.index = i
		handler(r)
		if out.made {
			r.settle()
		} else if r.open != 0 {
			store32(pointerTo(out.buf), uintptr(r.open), uint32(len(out.buf)-r.open))
			out.count++
			r.open = 0
		}
		first = unsafe.Add(first, uintptr(load32(first, recSize)))
	}
	return out.finish()
}

// initialise reads the config and returns the status for the host: 0, or 1
// after having logged what is wrong.
func initialise(config []byte) uint32 {
	c := parseConfig(config)
	if configure != nil && len(c.problems) == 0 {
		configure(c)
	}
	for _, p := range c.problems {
		Error(p)
	}
	if len(c.problems) > 0 {
		return 1
	}
	return 0
}

// Log levels (ABI §5.1).
const (
	LevelDebug = 0
	LevelInfo  = 1
	LevelWarn  = 2
	LevelError = 3
)

// Say writes a line to the agent's log; the host lets ten a second through.
func Say(level uint32, line string) { hostLog(level, line) }

// Error logs a line at level error.
func Error(line string) { hostLog(LevelError, line) }

// Now returns the batch's clock: nanoseconds since 1970 UTC, the same for
// every record of a batch.
func Now() int64 { return hostNow() }
