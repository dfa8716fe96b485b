package syslog

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// bom is what some programs write before text.
const bom = "\xef\xbb\xbf"

func TestAppend5424(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := string(Append5424(nil, viewOf(t, in))); got != want {
			t.Errorf("%q\n got %q\nwant %q", in, got, want)
		}
	}
	same := func(in string) { t.Helper(); f(in, in) }
	same(`<165>1 2003-10-11T22:14:15.003Z host evntslog - ID47 [a@1 k="v\"\]\\"][b] text`)
	same("<13>1 2026-11-22T10:00:00Z h a 1 m - \xff\xfe\x00\n")
	same("<13>1 2026-11-22T10:00:00.000001Z h a 1 " + strings.Repeat("c", 64) + " - m") // Docker's MSGID
	same("<0>1 1960-02-29T23:59:59.999999Z - - - - -")
	f("<13>1 2026-11-22T10:00:00.123456789+02:00 h a - - - m", "<13>1 2026-11-22T08:00:00.123456Z h a - - - m")
	f("<13>Nov 22 10:00:00 h a[1]: m", "<13>1 2026-11-22T10:00:00Z h a 1 - - m")
	f("<13>1 2026-11-22T10:00:00Z h \xd0\xbf\x7f - - - m", "<13>1 2026-11-22T10:00:00Z h \xd0\xbf\x7f - - - m"[:0]+"<13>1 2026-11-22T10:00:00Z h - - - - \xd0\xbf\x7f - - - m")
	f("<13>1 2026-11-22T10:00:00Z h \xd0\xbf - - - m", "<13>1 2026-11-22T10:00:00Z h __ - - - m")
	f("<13>1 2026-11-22T10:00:00Z h a - - [x k=v] m", "<13>1 2026-11-22T10:00:00Z h a - - - [x k=v] m")
	f("no header", "<13>1 1970-01-01T00:00:00Z - - - - - no header")
	f("<13>1 2026-11-22T10:00:00Z h a - - - "+bom+"m", "<13>1 2026-11-22T10:00:00Z h a - - - "+bom+"m")
	f("<13>Nov 22 10:00:00 h a: "+bom+"m", "<13>1 2026-11-22T10:00:00Z h a - - - "+bom+"m")
}

func TestAppend3164(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	f := func(in, want string) {
		t.Helper()
		if got := string(Append3164(nil, viewOf(t, in), berlin)); got != want {
			t.Errorf("%q\n got %q\nwant %q", in, got, want)
		}
	}
	f("<13>1 2026-11-22T10:00:00.5Z h a 12 id [x] m", "<13>Nov 22 11:00:00 h a[12]: m")
	f("<13>1 2026-07-02T10:00:00Z - - - - - m", "<13>Jul  2 12:00:00 - -: m")
	f("<13>1 2026-07-02T10:00:00Z a=b [x] 1:2 - -", "<13>Jul  2 12:00:00 a_b _x_[1:2]:")
	f("<13>1 2026-07-02T10:00:00Z name: {\"a\" - - - m", "<13>Jul  2 12:00:00 name_ _\"a\": m")
}

func TestFraming(t *testing.T) {
	if got, want := string(AppendOctet([]byte("x"), []byte("<1>a\nb\n"))), "x7 <1>a\nb\n"; got != want {
		t.Errorf("octet: got %q want %q", got, want)
	}
	if got, want := string(AppendLF([]byte("x"), []byte("<1>a\nb\n"))), "x<1>a#012b#012\n"; got != want {
		t.Errorf("lf: got %q want %q", got, want)
	}
}

func TestEncodingDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 1024)
	for _, msg := range []string{msg5424SD, msg5424, msg3164} {
		v := viewOf(t, msg)
		if n := testing.AllocsPerRun(100, func() { dst = AppendLF(Append5424(dst[:0], v), nil) }); n != 0 {
			t.Errorf("Append5424: %v allocations", n)
		}
		if n := testing.AllocsPerRun(100, func() { dst = Append3164(dst[:0], v, time.UTC) }); n != 0 {
			t.Errorf("Append3164: %v allocations", n)
		}
	}
}

// seeds are one message of each kind, for all fuzz tests.
var seeds = []string{
	msg5424SD, msg5424, msg3164, msgDocker, "", "<13>", "<13>x", "<999>x", "no header", "<13>1", "<13>1 ", "<0>1 - - - - - -",
	"<13>1  2026-11-22T10:00:00Z  h  a  -  -  -  m", `<13>1 2026-11-22T10:00:00Z h a - - [x@1 k="a"b"] m`,
	`<13>1 2026-11-22T10:00:00Z h a - - [x k="]"][y z=a q="\"" ] m`, "<13>1 2026-11-22T24:00:00Z h a - - - m",
	"<30>1 2026-11-22T10:15:05Z vm my app 2833 my app - text", "<13>12 2026-11-22T10:00:00Z h a p m [x] " + bom + "m",
	"<13>Feb 30 10:00:00 h a: m", "<189>643: *Jan  8 19:46:03.295 CET: %LINEPROTO-5-UPDOWN: Line", "<189>20: name: 634: Jan  8 2024 19:46:03: %A-5-B: x",
	"<13>2026-11-22 10:00:00,123+0200 h a[1]: m", "Oct 11 22:14:15 host app[123]: no pri", "<013>Nov 22 10:00:00 1:: Use", "<14>tag[1]: m",
	"<13>Nov 22 10:00:00  tag: m", "<13>Nov 22 10:00:00 h {\"a\": 1}", "<13>Nov 22 10:00:00", "<13>Nov 22 10:00:00 h a[b]c]:", "<13>1 2026-11-22T10:00:00Z h a - - [x]m",
}

// FuzzParse holds that no message panics, none is altered, no byte of it is
// lost, and that what is sent on is read as the same record again.
func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		p := parserAt(moment, time.UTC)
		before := bytes.Clone(msg)
		var r record.Record
		r.Reset()
		p.Parse(msg, &r)
		if !bytes.Equal(msg, before) {
			t.Fatal("the message was changed")
		}
		if left := lost(msg, &r); left != "" && r.Flags&record.Malformed == 0 {
			t.Errorf("lost %q of %q\n%s", left, msg, show(&r))
		}
		if r.Flags&record.Malformed != 0 && !bytes.Equal(r.Message, msg) {
			t.Errorf("malformed, but %q became %q", msg, r.Message)
		}
		p.Parse(msg, &r)
		roundTrip(t, p, encoded(t, &r))
	})
}

// roundTrip reads what the encoder makes of v.
func roundTrip(t *testing.T, p *Parser, v record.View) {
	t.Helper()
	var r record.Record
	p.Parse(Append5424(nil, v), &r)
	message := v.Message()
	if sd := v.SD(); len(sd) > 0 && !ValidSD(sd) {
		message = slices.Concat(sd, []byte(" "), message)
		if len(v.Message()) == 0 {
			message = message[:len(sd)]
		}
	} else if !bytes.Equal(r.SD, sd) {
		t.Errorf("structured data %q became %q", sd, r.SD)
	}
	if !bytes.Equal(r.Message, message) || r.Flags&^record.TimeSkewed != 0 {
		t.Errorf("%q became %q", message, show(&r))
	}
	if when := v.When(); r.Time/1000 != when/1000 {
		t.Errorf("time %d became %d", when, r.Time)
	}
	header := func(name string, got, want []byte) {
		clean := []byte{}
		if len(want) > 0 && string(want) != "-" {
			clean = appendField(clean, want)
		}
		if string(clean) != string(got) {
			t.Errorf("%s %q became %q", name, want, got)
		}
	}
	header("host", r.Host, v.Host())
	header("app", r.App, v.App())
	header("procid", r.ProcID, v.ProcID())
	header("msgid", r.MsgID, v.MsgID())

	var old record.Record
	p.Parse(Append3164(nil, v, time.UTC), &old)
	if !bytes.Equal(old.Message, v.Message()) || old.Flags&^record.TimeSkewed != 0 {
		t.Errorf("by RFC 3164: %q became %s", v.Message(), show(&old))
	}
}

// FuzzGrammar holds that what both the fast path and go-syslog accept, they
// read alike.
func FuzzGrammar(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		p := parserAt(moment, time.UTC)
		var fast, grammar record.Record
		fast.Reset()
		grammar.Reset()
		_, at := priority(msg)
		if at == 0 || !p.fast(msg, &fast) || !bytes.HasPrefix(msg[at:], []byte("1 ")) || !p.grammar5424(msg, at, &grammar) {
			return
		}
		grammar.Facility, grammar.Severity = fast.Facility, fast.Severity // not set by grammar5424
		if a, b := show(&fast), show(&grammar); a != b {
			t.Errorf("%q\nfast    %s\ngrammar %s", msg, a, b)
		}
	})
}

// FuzzFramer holds that where reads end changes nothing, and that every byte
// is in a frame, a delimiter or a count.
func FuzzFramer(f *testing.F) {
	for _, s := range []string{"<1>a\n<1>b\n", "5 <1>ab5 <1>cd", "<134>hello\x00<131>multi\nline\x00", "0 5 <1>ab", "99 <1>x", "\x00<1>a\n\x00<1>b", "<1>a\n<1>b\x00<2>c\x00<2>d\n"} {
		f.Add([]byte(s), uint16(3), uint16(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, a, b uint16) {
		want, wantErr := frames(bytes.NewReader(data), 30)
		cuts := []int{int(min(a, b)), int(max(a, b))}
		got, err := frames(&chunks{data: data, cuts: cuts}, 30)
		if !slices.Equal(got, want) || err != wantErr {
			t.Errorf("cut at %v\n got %q, %v\nwant %q, %v", cuts, got, err, want, wantErr)
		}
		fr := NewFramer(bytes.NewReader(data), 30)
		for {
			frame, flags, err := fr.Next()
			if err != nil {
				if err != io.EOF && err != ErrFrameCount {
					t.Error(err)
				}
				return
			}
			if len(frame) == 0 || len(frame) > 30 || !bytes.Contains(data, frame) {
				t.Errorf("frame %q (%v)", frame, flags.Names())
			}
		}
	})
}

func TestDatesAreTheGregorian(t *testing.T) {
	for at := time.Date(minYear, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() <= maxYear; at = at.AddDate(0, 0, 1) {
		days := at.Unix() / 86400
		if at.Unix() < 0 {
			days = (at.Unix() - 86399) / 86400
		}
		year, month, dom := civilFromDays(days)
		if back := daysFromCivil(year, month, dom); year != at.Year() || month != int(at.Month()) || dom != at.Day() || back != days {
			t.Fatalf("%s: got %d-%d-%d, and %d from %d", at, year, month, dom, back, days)
		}
	}
}
