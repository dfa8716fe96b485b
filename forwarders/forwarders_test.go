package forwarders

import (
	"errors"
	"strings"
	"testing"
)

func TestRecordKeyDoesNotDependOnTheBatch(t *testing.T) {
	one := Batch{Stream: "app", Offsets: []uint64{7, 9}, Key: "7f3c/3/app/7-9"}
	two := Batch{Stream: "app", Offsets: []uint64{9, 12}, Key: "7f3c/3/app/9-12"}
	if one.RecordKey(1) != "7f3c/3/app/9" || two.RecordKey(0) != one.RecordKey(1) {
		t.Errorf("keys %q and %q, want 7f3c/3/app/9", one.RecordKey(1), two.RecordKey(0))
	}
}

func TestMetaComesFromTheKey(t *testing.T) {
	b := Batch{Stream: "app", Key: "7f3c0000000000000000000000000001/3/app/7-9"}
	m := b.Meta("vm-17")
	if m.Stream != "app" || m.Agent != "vm-17" || m.OriginEpoch != 3 || m.OriginAgent[0] != 0x7f || m.OriginAgent[15] != 1 {
		t.Errorf("meta %+v", m)
	}
	for _, key := range []string{"", "x", "7f3c/3", "zz/3/app/1-2", "7f3c0000000000000000000000000001/99999999999/app/1-2"} {
		b.Key = key
		b.Meta("vm-17") // must not panic
	}
}

func TestRewindAlarmsOnce(t *testing.T) {
	var r Rewind
	at := func(stream string, first uint64) bool {
		return r.Overtakes(&Batch{Stream: stream, Offsets: []uint64{first}}) != nil
	}
	if at("app", 1) {
		t.Error("alarm before any failure")
	}
	r.Failed("app", 10, &Refused{Index: 3})
	if at("errors", 50) {
		t.Error("alarm for another stream")
	}
	err := r.Overtakes(&Batch{Stream: "app", Offsets: []uint64{20}})
	var refused *Refused
	if err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "offered again") {
		t.Errorf("Overtakes = %v, want an error that is no refusal", err)
	}
	if at("app", 20) {
		t.Error("alarm twice: retention may have taken what is missing")
	}
	r.Failed("app", 10, errors.New("reset"))
	if at("app", 10) || at("app", 11) {
		t.Error("alarm although the stream goes on where it has to")
	}
}

func TestPartly(t *testing.T) {
	var r Rewind
	b := &Batch{Stream: "app", Offsets: []uint64{5, 6, 9}}
	reset := errors.New("reset")
	if ack, err := r.Partly(b, 0, reset); ack != nil || err != reset {
		t.Errorf("Partly of none = %v, %v, want the error", ack, err)
	}
	ack, err := r.Partly(b, 2, reset)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := ack.Wait(t.Context()); n != 2 || err != reset {
		t.Errorf("Wait = %d, %v", n, err)
	}
	if r.Overtakes(&Batch{Stream: "app", Offsets: []uint64{10}}) == nil {
		t.Error("the next batch may overtake record 9")
	}
}
