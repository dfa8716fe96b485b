package syslog

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
)

func TestMessages(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	f := func(name string, e encoder) {
		t.Helper()
		e.messages.Agent, e.messages.Zone = "vm-17", berlin
		got, ends := e.batch(nil, nil, forwardertest.Samples(t))
		forwardertest.Golden(t, name+".golden", got)
		if len(ends) != 5 || ends[4] != len(got) {
			t.Errorf("%s: the messages end at %v of %d bytes, want 5 ends", name, ends, len(got))
		}
	}
	f("rfc5424-lf", encoder{messages: forwarders.Messages{Format: forwarders.RFC5424}, framing: framingLF})
	f("rfc5424-octet", encoder{messages: forwarders.Messages{Format: forwarders.RFC5424}, framing: framingOctet})
	f("rfc3164-lf", encoder{messages: forwarders.Messages{Format: forwarders.RFC3164}, framing: framingLF})
	f("json-lf", encoder{messages: forwarders.Messages{Format: forwarders.RFC5424, Content: forwarders.MessageJSON}, framing: framingLF})
	f("attrs-lf", encoder{messages: forwarders.Messages{Format: forwarders.RFC5424, Content: forwarders.MessageAttrs}, framing: framingLF})
	f("json-octet", encoder{messages: forwarders.Messages{Format: forwarders.RFC3164, Content: forwarders.MessageJSON}, framing: framingOctet})
}

// one makes a batch of one record with that message.
func one(t *testing.T, message string) *forwarders.Batch {
	return forwardertest.Batch(t, "app", 1, 2, func(uint64) string { return message })
}

func TestDatagramIsCutAtACharacter(t *testing.T) {
	f := func(message string) {
		t.Helper()
		e := encoder{messages: forwarders.Messages{Format: forwarders.RFC5424}, framing: framingNone, most: maxDatagram}
		got, _ := e.batch(nil, nil, one(t, message))
		if e.cut != 1 || len(got) > maxDatagram || len(got) < maxDatagram-3 {
			t.Errorf("%d bytes, %d cut, want one message cut to %d", len(got), e.cut, maxDatagram)
		}
		if !utf8.Valid(got) {
			t.Errorf("cut inside a character: ends with %q", got[len(got)-4:])
		}
	}
	f(strings.Repeat("x", 70_000))
	for shift := range 4 { // wherever the limit falls in a character
		f(strings.Repeat("x", shift) + strings.Repeat("é", 40_000))
	}
	e := encoder{messages: forwarders.Messages{Format: forwarders.RFC5424}, framing: framingNone, most: maxDatagram}
	if _, _ = e.batch(nil, nil, one(t, "short")); e.cut != 0 {
		t.Errorf("a short message counts as cut")
	}
}

func TestCutJSONIsJSON(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 70_000), strings.Repeat("\x01", 70_000), strings.Repeat("é\n\xff", 40_000)} {
		e := encoder{messages: forwarders.Messages{Format: forwarders.RFC5424, Content: forwarders.MessageJSON, Agent: "vm-17"}, framing: framingNone, most: maxDatagram}
		got, _ := e.batch(nil, nil, one(t, text))
		var r struct {
			Message string
			Flags   []string
		}
		err := json.Unmarshal(got[bytes.IndexByte(got, '{'):], &r)
		if err != nil || len(got) > maxDatagram || len(r.Flags) != 1 || r.Flags[0] != "truncated" || len(r.Message) < 5000 {
			t.Errorf("%d bytes, flags %v, message of %d: %v", len(got), r.Flags, len(r.Message), err)
		}
	}
}

func TestSampleIsTheDefault(t *testing.T) {
	forwardertest.Sample(t, Kind, strings.NewReplacer(), "to", "tls.min_version")
}

func TestConfigErrors(t *testing.T) {
	forwardertest.ConfigErrors(t, Kind, map[string]string{
		"format: rfc5424":                               "to: is missing",
		"to: 10.0.0.9:514":                              "to: has no scheme",
		"to: http://x:1":                                "to: unknown scheme",
		"to: tcp://:514":                                "to: names no host",
		"to: tcp://10.0.0.9":                            "to: ",
		"to: tcp://10.0.0.9:0":                          "to: names no port",
		"to: unixgram:///dev/log":                       "to: write unix://",
		"to: udp://10.0.0.9:514\nframing: octet":        "framing: a datagram is a message",
		"to: tcp://10.0.0.9:514\nframing: nul":          "framing: auto, lf or octet",
		"to: tcp://10.0.0.9:514\nformat: gelf":          "format: rfc5424 or rfc3164",
		"to: tcp://10.0.0.9:514\nmessage: raw":          `message: "raw" is not known; write original, json or attrs`,
		"to: tcp://10.0.0.9:514\ntimezone: Mars/North":  "timezone: is no time zone here",
		"to: tcp://10.0.0.9:514\nconnect_timeout: 0s":   "connect_timeout: write 1s to 10m",
		"to: tcp://10.0.0.9:514\ntls: {ca: x.pem}":      "tls: is not encrypted",
		"to: tls://10.0.0.9:6514\ntls: {ca: no.pem}":    "tls.ca: ",
		"to: tls://10.0.0.9:6514\ntls: {verify: false}": "tls.verify: is not a key",
	})
}

func TestUDPIsLossy(t *testing.T) {
	f := func(to string, accept, wantLossy, wantAccepted bool) {
		t.Helper()
		lossy, accepted := options(to, func(o *Options) { o.AcceptLoss = accept }).Lossy()
		if lossy != wantLossy || accepted != wantAccepted {
			t.Errorf("%s: lossy %t, accepted %t", to, lossy, accepted)
		}
	}
	f("udp://h:514", false, true, false)
	f("udp://h:514", true, true, true)
	f("tcp://h:514", false, false, false)
	f("tls://h:514", false, false, false)
}
