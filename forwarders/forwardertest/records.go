package forwardertest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
)

// AgentID is the agent in the keys of batches made here.
const AgentID = "7f3c0000000000000000000000000001"

// Epoch is that under which batches made here were written.
const Epoch = 3

// Record is the record at an offset as the suite makes it: its message names
// the offset and is followed by text.
func Record(offset uint64, text string) *record.Record {
	r := new(record.Record)
	r.Reset()
	r.Time = time.Date(2026, 11, 22, 10, 7, 5, 143147000, time.UTC).UnixNano() + int64(offset)*1e6
	r.Received = r.Time + 1e6
	r.Severity, r.Facility = 6, 3
	r.Host, r.App, r.ProcID = []byte("vm"), []byte("nginx"), []byte("2833")
	r.Input, r.Peer = []byte("docker"), []byte("127.0.0.1")
	r.Message = []byte(mark(offset) + text)
	return r
}

func mark(offset uint64) string { return fmt.Sprintf("record=%08d ", offset) }

var marks = regexp.MustCompile(`record=(\d{8}) `)

// offsets returns the offsets that texts name, one a text; it fails the test
// for a text that names none or several.
func offsets(t testing.TB, texts []string) []uint64 {
	t.Helper()
	got := make([]uint64, len(texts))
	for i, text := range texts {
		all := marks.FindAllStringSubmatch(text, -1)
		if len(all) != 1 {
			t.Fatalf("text %d has %d records, want 1: %.300q", i, len(all), text)
		}
		got[i], _ = strconv.ParseUint(all[0][1], 10, 64) // the pattern allows digits only
	}
	return got
}

// Batch makes a batch of the records at offsets from to to, exclusive. text
// makes the text of each; nil stands for a short one.
func Batch(t testing.TB, stream string, from, to uint64, text func(offset uint64) string) *forwarders.Batch {
	t.Helper()
	if text == nil {
		text = func(uint64) string { return "GET /healthz 200" }
	}
	b := &forwarders.Batch{Stream: stream, Records: new(record.Batch),
		Key: fmt.Sprintf("%s/3/%s/%d-%d", AgentID, stream, from, to-1), Epoch: Epoch, First: from, Next: to}
	for offset := from; offset < to; offset++ {
		if err := b.Records.Append(Record(offset, text(offset))); err != nil {
			t.Fatalf("append record %d: %v", offset, err)
		}
		b.Offsets = append(b.Offsets, offset)
	}
	return b
}

// Block makes of a batch one that is a block of the store, whose records are from o on; zero: from here.
func Block(b *forwarders.Batch, o record.Origin) *forwarders.Batch {
	whole, n := *b, b.Records.Len()
	last := o
	if !o.IsZero() {
		last.Sequence += uint64(n - 1)
	}
	whole.Records, whole.Block = nil, &record.Block{Body: s2.Encode(nil, b.Records.Bytes()), Count: n, Raw: b.Records.Size(), Origin: o,
		Sum: record.DigestOf(b.Records.At(n-1), &last).Sum(b.Offsets[n-1])}
	return &whole
}

// scribble overwrites all of b, as its owner may after Deliver has returned.
func scribble(b *forwarders.Batch) {
	p := b.Records.Bytes()
	copy(p, strings.Repeat("SCRIBBLE", len(p)/8+1))
	for i := range b.Offsets {
		b.Offsets[i] = 0
	}
}
