package syslog

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/record"
)

// TestHalfMessagesShareTheirMemory: connections that stop in the middle of long
// messages hold no more than totalBuffers together. Who comes then has a long
// message cut and counted, and short ones whole; when they go, all is given back.
func TestHalfMessagesShareTheirMemory(t *testing.T) {
	r := inputtest.Start(t, Kind, t.TempDir(), "listen: unix://"+t.TempDir()+"/s\nmax_message: 16MiB", inputtest.Setup{})
	in := r.Input.(*Input)
	peak := watchMemory(t)
	const conns, half = 20, 8 << 20 // 160 MiB in all
	body := bytes.Repeat([]byte("x"), half)
	all := make([]net.Conn, conns)
	for i := range all {
		all[i] = inputtest.Dial(t, r.URL(0), "")
		all[i].SetWriteDeadline(time.Now().Add(inputtest.Patience))
		if _, err := io.WriteString(all[i], "<13>1 - long - - - - "); err != nil {
			t.Fatal(err)
		}
		if _, err := all[i].Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if taken := in.memory.taken.Load(); taken > totalBuffers || taken < totalBuffers/2 {
		t.Errorf("%d bytes are taken, want at most %d, and nearly", taken, totalBuffers)
	}
	// Twice, for what a buffer is copied from when it grows, and for the records that were cut.
	if grown := peak(); grown > memoryFactor*3*totalBuffers>>20 {
		t.Errorf("memory grew by %d MB for %d half messages of %d", grown, conns, half)
	}
	short := func(v record.View) bool { return string(v.Host()) == "short" }
	for i, c := range all {
		fmt.Fprintf(c, "\n<13>1 - short - - - - %d\n", i)
	}
	r.Sink.WaitFor(t, conns, short)
	cut := 0
	for _, v := range r.Sink.Records() {
		switch {
		case v.Flags()&record.Truncated != 0:
			cut++
		case !short(v) && len(v.Message()) != half:
			t.Errorf("a message of %d bytes is not flagged", len(v.Message()))
		}
	}
	if n := r.Count(`runnel_input_errors_total{input="in",reason="memory"}`); cut == 0 || cut == conns || n != float64(cut) {
		t.Errorf("%d of %d long messages were cut and %v counted; want some, and as many counted", cut, conns, n)
	}
	r.Stop(t)
	if taken := in.memory.taken.Load(); taken != 0 {
		t.Errorf("%d bytes are still taken", taken)
	}
}
