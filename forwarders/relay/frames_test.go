package relay

import (
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/record"
)

// A block goes out as it lies in the store, with the origin that it has; of one of which the receiver has some, the
// rest goes out, each record with its own. It is one to the receiver.
func TestBlocksArrive(t *testing.T) {
	for _, origin := range []record.Origin{{}, {Agent: [16]byte{7}, Epoch: 9, Sequence: 1000, Stream: []byte("far")}} {
		s := startReceiver(t, "tcp", "127.0.0.1:0", nil)
		f := newSender(t, options("tcp://"+s.address, nil), &forwardertest.Source{Texts: text})
		deliver := func(b *forwarders.Batch) {
			t.Helper()
			ack, err := f.Deliver(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := ack.Wait(t.Context()); n != len(b.Offsets) || err != nil {
				t.Fatalf("Wait = %d, %v, want %d", n, err, len(b.Offsets))
			}
		}
		deliver(forwardertest.Batch(t, "app", 1, 51, text))
		deliver(forwardertest.Block(forwardertest.Batch(t, "app", 1, 101, text), origin)) // as after the agent's cursor was set back
		deliver(forwardertest.Block(forwardertest.Batch(t, "app", 101, 201, text), origin))
		s.once(t, 201)
		for i, got := range get(s, func() []record.Origin { return s.origins }) {
			var want record.Origin
			if i >= 50 && !origin.IsZero() {
				want = origin
				want.Sequence += uint64(i % 100)
			}
			if got.Agent != want.Agent || got.Epoch != want.Epoch || got.Sequence != want.Sequence || string(got.Stream) != string(want.Stream) {
				t.Fatalf("record %d is from %+v, want %+v", i, got, want)
			}
		}
	}
}

// Blocks are not taken where they would have to be compressed anew.
func TestBlocksAreTakenAsTheyLieOrNotAtAll(t *testing.T) {
	for how, want := range map[string]bool{compressFast: true, compressBetter: false, compressNone: false} {
		f := newSender(t, options("tcp://127.0.0.1:9", func(o *Options) { o.Compress = how }), nil)
		if got := f.TakesBlocks(); got != want {
			t.Errorf("compress: %s: takes blocks: %v, want %v", how, got, want)
		}
	}
}

// Over a long way batches are larger, so that what may be under way lasts for the round trip.
func TestALongWayWantsLargeBatches(t *testing.T) {
	s := startReceiver(t, "tcp", "127.0.0.1:0", nil)
	f := newSender(t, options("tcp://"+s.address, nil), nil)
	if got := f.Batching(); got != (forwarders.Batching{}) {
		t.Errorf("without a session it wants %+v", got)
	}
	f.acked(t, 1, 11)
	f.mu.Lock()
	if f.conn.way.Load() <= 0 {
		t.Error("the way takes no time")
	}
	f.mu.Unlock()
	f = &sender{Forwarder: &Forwarder{conn: new(conn), options: &Options{Compress: compressBetter}}} // one that nobody answers any more
	way := func(long bool) {
		way := longWay
		if !long {
			way--
		}
		f.conn.way.Store(int64(way))
	}
	way(true)
	if got := f.Batching(); got.Records <= record.BatchRecords || got.Bytes <= record.BatchBytes || got.Wait != 0 {
		t.Errorf("over a long way it wants %+v", got)
	}
	way(false)
	if got := f.Batching(); got != (forwarders.Batching{}) {
		t.Errorf("over a short way it wants %+v", got)
	}
	f.options.Compress = compressFast
	way(true)
	if got := f.Batching(); got != (forwarders.Batching{}) {
		t.Errorf("of blocks as they lie there it wants %+v", got)
	}
}
