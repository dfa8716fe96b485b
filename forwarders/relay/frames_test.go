package relay

import (
	"fmt"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/record"
)

// A batch that is a whole block goes out as it lies in the store; another one, or one that is to
// be compressed otherwise, does not.
func TestWholeBlocksGoOutAsTheyLie(t *testing.T) {
	kept := forwardertest.Batch(t, "app", 1, 11, func(uint64) string { return "as it lies" })
	given := func(from, to uint64) *forwarders.Batch {
		return forwardertest.Batch(t, "app", from, to, func(uint64) string { return "as given__" }) // as long, so that it can be told which it was
	}
	f := func(want, how string, b *forwarders.Batch) {
		t.Helper()
		s := startReceiver(t, "tcp", "127.0.0.1:0", nil)
		sender := newSender(t, options("tcp://"+s.address, func(o *Options) { o.Compress = how }), &forwardertest.Source{Whole: kept.Records})
		got := packedOf(sender, b)
		if fmt.Sprint(got) != want {
			t.Errorf("packed: %v, want %s", got, want)
		}
	}
	f("true", compressFast, given(1, 11))
	f("false", compressBetter, given(1, 11))
	f("false", compressNone, given(1, 11))
	f("false", compressFast, given(1, 10)) // the block has more
	holes := given(1, 11)
	holes.Offsets[9]++ // a filter left one out
	f("false", compressFast, holes)
	dead := given(1, 11)
	dead.From = "app" // restored from dead letters, which is what the store has
	f("false", compressFast, dead)
	dead = given(1, 11)
	dead.Places = make([]uint64, 10)
	f("false", compressFast, dead)
}

func packedOf(s *sender, b *forwarders.Batch) bool { return s.packer.packed(b, s.source) != nil }

// What goes out as it lies in the store arrives, and is what it was.
func TestPackedBlocksArrive(t *testing.T) {
	s := startReceiver(t, "tcp", "127.0.0.1:0", nil)
	b := forwardertest.Batch(t, "app", 1, 101, nil)
	f := newSender(t, options("tcp://"+s.address, nil), &forwardertest.Source{Whole: b.Records, Texts: text})
	ack, err := f.Deliver(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := ack.Wait(t.Context()); n != 100 || err != nil {
		t.Fatalf("Wait = %d, %v, want 100", n, err)
	}
	s.once(t, 101)
}

// Over a long way batches are larger, so that what may be under way lasts for the round trip.
func TestALongWayWantsLargeBatches(t *testing.T) {
	s := startReceiver(t, "tcp", "127.0.0.1:0", nil)
	f := newSender(t, options("tcp://"+s.address, nil), nil)
	if got := f.Batching(); got != (forwarders.Batching{}) {
		t.Errorf("without a session it wants %+v", got)
	}
	f.acked(t, 1, 11)
	way := func(long bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.conn.way <= 0 {
			t.Error("the way takes no time")
		}
		f.conn.way = longWay
		if !long {
			f.conn.way--
		}
	}
	way(true)
	if got := f.Batching(); got.Records <= record.BatchRecords || got.Bytes <= record.BatchBytes || got.Wait != 0 {
		t.Errorf("over a long way it wants %+v", got)
	}
	way(false)
	if got := f.Batching(); got != (forwarders.Batching{}) {
		t.Errorf("over a short way it wants %+v", got)
	}
}
