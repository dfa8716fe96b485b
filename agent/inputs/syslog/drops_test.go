package syslog

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/record"
)

// TestKernelDropsAreCounted overfills the socket before anybody reads it: what
// was sent is received or counted, and the next input of the socket does not
// count it again.
func TestKernelDropsAreCounted(t *testing.T) {
	sockets, set, sink := newSockets(t), metrics.NewSet(), inputtest.NewSink()
	build := func() (inputs.Input, func()) {
		in, err := Kind.New(inputtest.Options(t, Kind, "", "listen: udp://127.0.0.1:0"),
			inputs.Setup{Name: "in", Emit: sink.Emit, Sockets: sockets, Metrics: set, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		return in, func() {
			go func() { done <- in.Run(ctx) }()
			sink.WaitFor(t, 1, from("marker"))
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	in, run := build()
	c := inputtest.Dial(t, in.Status()[0].URL, "")
	const n = 20_000
	body := "<13>1 - flood - - - - " + strings.Repeat("x", 1000) // 20 MB against a buffer of at most 8
	for range n {
		if _, err := io.WriteString(c, body); err != nil {
			t.Fatal(err)
		}
	}
	var marked net.Conn = inputtest.Dial(t, in.Status()[0].URL, "")
	stop := make(chan struct{})
	sent := make(chan int, 1)
	go func() { // the marker cannot come before there is room for it
		markers := 0
		for {
			select {
			case <-stop:
				sent <- markers
				return
			default:
				fmt.Fprint(marked, "<13>1 - marker - - - - -")
				markers++
			}
		}
	}()
	run()
	close(stop)
	markers := <-sent
	got := 0
	for _, v := range sink.Records() {
		if string(v.Host()) == "flood" {
			got++
		}
	}
	drops := int(in.Status()[0].KernelDrops)
	if got == 0 || got == n || drops < n-got || drops > n-got+markers {
		t.Errorf("%d of %d received and %d counted as dropped; want the sum", got, n, drops)
	}
	r := &inputtest.Running{Metrics: set}
	counted(t, r, `runnel_input_kernel_drops_total{input="in"}`, float64(drops))
	next, run := build()
	sink2 := sink.Len()
	fmt.Fprint(marked, "<13>1 - marker - - - - again")
	run()
	if sink.Len() <= sink2 && next.Status()[0].KernelDrops > uint64(markers) {
		t.Errorf("the next input counted %d drops again", next.Status()[0].KernelDrops)
	}
}

// TestOctetCountAttacks is faults.md row 37: counts that no message can have
// cost their connection or are text; none sticks, and later ones are fine.
func TestOctetCountAttacks(t *testing.T) {
	r := inputtest.Start(t, at(captured), "", "listen: tcp://127.0.0.1:0", inputtest.Setup{})
	closed := 0
	f := func(attack string, closes bool) {
		t.Helper()
		c := inputtest.Dial(t, r.URL(0), "")
		if _, err := io.WriteString(c, attack); err != nil {
			t.Fatal(err)
		}
		if closes {
			closed++
		} else {
			c.(*net.TCPConn).CloseWrite()
		}
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%q: the connection sticks", attack)
		}
	}
	f("99999999999999999999 <13>1 - - - - - - x\n", true) // beyond 64 bits
	f("18446744073709551616 <13>x", true)
	f("1844674407370955162 <13>x", true) // SIZE_MAX/10
	f("9999999999 <13>x", true)
	f("4294967296 <13>x", true)
	f("0 <13>1 - - - - - - zero\n", false)
	f("000012 <13>1 - - - - - - leading zeros\n", false)
	f("12<13>1 - - - - - - no blank\n", false)
	f("12  <13>1 - - - - - - two blanks\n", false)
	f("-5 <13>1 - - - - - - negative\n", false)
	f("+5 <13>1 - - - - - - positive\n", false)
	f("1e3 <13>1 - - - - - - a float\n", false)
	f("100 <13>1 - - - - - - short", false)
	f(strings.Repeat("7", 1<<20), false)
	f("5", false)
	f("5 ", false)
	f("5 <", false)
	c := inputtest.Dial(t, r.URL(0), "")
	io.WriteString(c, "<13>1 - after - - - - fine\n")
	r.Sink.WaitFor(t, 1, from("after"))
	r.Stop(t)
	counted(t, r, `runnel_input_errors_total{input="in",reason="octet_count"}`, float64(closed))
	for _, v := range r.Sink.Records() {
		if v.Flags()&record.Truncated != 0 && len(v.Message()) != 1<<20 {
			t.Errorf("got %d bytes, truncated", len(v.Message()))
		}
	}
}
