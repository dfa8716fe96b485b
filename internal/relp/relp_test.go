package relp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// read returns the frames of a stream as text, and how it ended.
func read(from io.Reader, keep, most int) (frames []string, err error) {
	r := NewReader(from)
	r.Allow(keep, most)
	for {
		f, err := r.Next()
		if err != nil {
			return frames, err
		}
		frames = append(frames, fmt.Sprintf("%d %s %q cut %d", f.Txnr, f.Command, f.Data, f.Cut))
	}
}

func TestFramesAreCut(t *testing.T) {
	f := func(in string, wantErr error, want ...string) {
		t.Helper()
		for name, from := range map[string]io.Reader{"whole": strings.NewReader(in), "a byte at a time": iotest.OneByteReader(strings.NewReader(in)),
			"halves": iotest.HalfReader(strings.NewReader(in)), "error with the bytes": iotest.DataErrReader(strings.NewReader(in))} {
			got, err := read(from, 10, 1000)
			if !reflect.DeepEqual(got, want) || !errors.Is(err, wantErr) {
				t.Errorf("%.60q, %s:\n got %q, %v\nwant %q, %v", in, name, got, err, want, wantErr)
			}
		}
	}
	f("", io.EOF)
	f("1 open 12 relp_version\n2 syslog 2 hi\n3 close 0\n", io.EOF, `1 open "relp_version" cut 0`, `2 syslog "hi" cut 0`, `3 close "" cut 0`)
	f("0 serverclose 0\n", io.EOF, `0 serverclose "" cut 0`)
	f("999999999 syslog 3 a\nb\n1 syslog 1 c\n", io.EOF, `999999999 syslog "a\nb" cut 0`, `1 syslog "c" cut 0`)
	f("000000007 syslog 001 x\n", io.EOF, `7 syslog "x" cut 0`)
	f("7 syslog 000000000\n", io.EOF, `7 syslog "" cut 0`)
	f("7 "+strings.Repeat("X", 32)+" 0\n", io.EOF, `7 XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX "" cut 0`)
	f("7 rsp 11 longer than\n", io.EOF, `7 rsp "longer than" cut 0`)

	// Longer than keep: the rest is read over.
	f("7 syslog 11 0123456789x\n8 syslog 10 0123456789\n", io.EOF, `7 syslog "0123456789" cut 1`, `8 syslog "0123456789" cut 0`)
	f("7 syslog 1000 "+strings.Repeat("0123456789", 100)+"\n8 syslog 1 x\n", io.EOF, `7 syslog "0123456789" cut 990`, `8 syslog "x" cut 0`)
	f("7 syslog 11 0123456789xx\n", ErrFrame)

	for _, in := range []string{"1 syslog 1001 ", "1 syslog 999999999 ", "1 syslog 9999999999 ", "1 syslog 99999999999999999999 ",
		"1 rsp 65537 ", "1000000000 syslog", "99999999999999999999", " 1 syslog", "-1 syslog", "x", "<13>1 - - -", "\x16\x03\x01\x02\x00",
		"1  syslog", "1 sys1og", "1 " + strings.Repeat("X", 33), "1 syslog x", "1 syslog  1 x\n", "1 syslog 1x", "1 syslog 0 \n", "1 syslog 1\nx\n",
		"1 syslog 1 xy", "1 syslog 0x", "1\nsyslog", "1 syslog -1 x", "\n"} {
		f(in, ErrFrame)
	}
	for _, in := range []string{"1", "1 ", "1 sys", "1 syslog ", "1 syslog 1", "1 syslog 0", "1 syslog 1 ", "1 syslog 1 x", "7 syslog 11 0123456789x"} {
		f(in, io.ErrUnexpectedEOF)
	}
}

func TestNoSyslogBeforeItIsAllowed(t *testing.T) {
	r := NewReader(strings.NewReader("1 syslog 1 x\n"))
	if f, err := r.Next(); !errors.Is(err, ErrFrame) {
		t.Errorf("got %q, %v, want ErrFrame", f.Data, err)
	}
}

// A peer that announces much and sends little costs little.
func TestMemoryIsForWhatCame(t *testing.T) {
	r := NewReader(strings.NewReader("1 syslog 900000000 " + strings.Repeat("x", 10_000)))
	r.Allow(16<<20, 1<<30)
	if _, err := r.Next(); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	if r.Size() > largeBuffer {
		t.Errorf("the buffer has %d bytes after 10 000 came", r.Size())
	}
}

func TestBufferGrowsAndShrinks(t *testing.T) {
	var in bytes.Buffer
	for i := range 3 {
		in.Write(AppendFrame(nil, uint32(i+1), Syslog, bytes.Repeat([]byte("x"), 300_000)))
	}
	r := NewReader(&in)
	r.Allow(1<<20, 1<<20)
	for range 3 {
		if f, err := r.Next(); err != nil || len(f.Data) != 300_000 {
			t.Fatalf("got %d bytes, %v", len(f.Data), err)
		}
	}
	if r.Begun() || r.Size() > 1<<20 {
		t.Errorf("the buffer has %d bytes for frames of 300 000", r.Size())
	}
	if r.Shrink(); r.Size() != smallBuffer {
		t.Errorf("shrunk to %d bytes", r.Size())
	}
}

func TestTransactionNumbersWrap(t *testing.T) {
	if Next(1) != 2 || Next(MaxTxnr-1) != MaxTxnr || Next(MaxTxnr) != 1 {
		t.Error("Next does not wrap from 999,999,999 to 1")
	}
	f := func(from, to, want uint32) {
		t.Helper()
		if got := Distance(from, to); got != want {
			t.Errorf("Distance(%d, %d) = %d, want %d", from, to, got, want)
		}
	}
	f(1, 1, 0)
	f(1, 5, 4)
	f(MaxTxnr, 1, 1)
	f(MaxTxnr-1, 2, 3)
	f(2, 1, MaxTxnr-1)
}

func TestOffers(t *testing.T) {
	f := func(in string, want Offers) {
		t.Helper()
		got, err := ParseOffers([]byte(in))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v, want %+v", in, got, err, want)
		}
		again, err := ParseOffers(got.Append(nil))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%q written and read again: %+v, %v", in, again, err)
		}
	}
	librelp := Offers{Version: 0, Software: []string{"librelp", "1.11.0", "http://librelp.adiscon.com"}, Commands: []string{"syslog"}}
	f("relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog", librelp)
	f("\nrelp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog\n", librelp)
	f("relp_version=1\nsomething=else\nand_more", Offers{Version: 1})
	f("relp_version=2\ncommands=syslog,eventlog", Offers{Version: 2, Commands: []string{"syslog", "eventlog"}})
	many := strings.Repeat("x=y\n", 63)
	f("relp_version=1\n"+many, Offers{Version: 1})

	bad := func(in string) {
		t.Helper()
		if got, err := ParseOffers([]byte(in)); !errors.Is(err, ErrOffers) {
			t.Errorf("%.60q: got %+v, %v, want ErrOffers", in, got, err)
		}
	}
	bad("")
	bad("commands=syslog")
	bad("relp_version")
	bad("relp_version=")
	bad("relp_version=one")
	bad("relp_version=-1")
	bad("relp_version=99999999999999999999")
	bad("relp_version=1\n" + many + "x=y\n")
	bad("relp_version=1\ncommands=" + strings.Repeat("syslog,", 64) + "syslog")
	bad("relp_version=1\n=x")
	bad("relp_version=1\n" + strings.Repeat("n", 33) + "=x")
	bad("relp_version=1\nx=" + strings.Repeat("v", 256))
}

func TestAnswers(t *testing.T) {
	f := func(in string, code int, text, data string) {
		t.Helper()
		got, err := ParseAnswer([]byte(in))
		if err != nil || got.Code != code || string(got.Text) != text || string(got.Data) != data {
			t.Errorf("%q: got %d %q %q, %v", in, got.Code, got.Text, got.Data, err)
		}
	}
	f("200 OK", 200, "OK", "")
	f("200 OK\nrelp_version=0\ncommands=syslog", 200, "OK", "relp_version=0\ncommands=syslog")
	f("200", 200, "", "")
	f("500 command disabled", 500, "command disabled", "")
	f("500 \n", 500, "", "")
	for _, in := range []string{"", "2", "20", "OK", "2000 OK", "20x", "-20 x", "\n200 OK"} {
		if got, err := ParseAnswer([]byte(in)); !errors.Is(err, ErrAnswer) {
			t.Errorf("%q: got %+v, %v, want ErrAnswer", in, got, err)
		}
	}
}

func TestWhatIsWrittenIsAsLibrelpWritesIt(t *testing.T) {
	f := func(got []byte, want string) {
		t.Helper()
		if string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(AppendFrame(nil, 1, Syslog, []byte("hi")), "1 syslog 2 hi\n")
	f(AppendFrame(nil, 0, ServerClose, nil), "0 serverclose 0\n")
	f(AppendOK(nil, 17), "17 rsp 6 200 OK\n")
	f(AppendError(nil, 17, "no"), "17 rsp 6 500 no\n")
	f(AppendError(nil, 17, strings.Repeat("x", 100)), "17 rsp 84 500 "+strings.Repeat("x", 80)+"\n")
	o := Offers{Version: 0, Software: []string{"runnel"}, Commands: []string{Syslog}}
	f(AppendOpen(nil, 1, &o), "1 open 51 relp_version=0\nrelp_software=runnel\ncommands=syslog\n")
	f(AppendOpened(nil, 1, &o), "1 rsp 58 200 OK\nrelp_version=0\nrelp_software=runnel\ncommands=syslog\n")
}

// FuzzReader: whatever comes, and however it is cut, the frames are the same,
// nothing panics, and no more is held than is allowed.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{"1 open 51 relp_version=0\nrelp_software=runnel\ncommands=syslog\n2 syslog 5 hello\n3 close 0\n",
		"1 rsp 6 200 OK\n0 serverclose 0\n", "7 syslog 40 0123456789012345678901234567890123456789\n8 syslog 0\n", "999999999 syslog 1 x\n1 syslog 1 y\n",
		"1 syslog 99999999999 x", "1 open 12 relp_version\n", "1 syslog 20 half", "x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err := read(bytes.NewReader(in), 16, 64)
		split, splitErr := read(iotest.OneByteReader(bytes.NewReader(in)), 16, 64)
		if !reflect.DeepEqual(whole, split) || fmt.Sprint(err) != fmt.Sprint(splitErr) {
			t.Errorf("%q in one piece: %q, %v\nbyte by byte: %q, %v", in, whole, err, split, splitErr)
		}
		if err == nil || !errors.Is(err, ErrFrame) && err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Errorf("%q ends with %v", in, err)
		}
	})
}

// FuzzRoundTrip: what is written is read as it was.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint32(1), []byte("hello"), "OK")
	f.Add(uint32(MaxTxnr), []byte("a\nb\x00 1 syslog 1 x\n"), "")
	f.Fuzz(func(t *testing.T, txnr uint32, data []byte, text string) {
		txnr %= MaxTxnr + 1
		wire := AppendOK(AppendFrame(nil, txnr, Syslog, data), Next(txnr))
		r := NewReader(bytes.NewReader(wire))
		r.Allow(1<<20, 1<<20)
		got, err := r.Next()
		if err != nil || got.Txnr != txnr || string(got.Command) != Syslog || !bytes.Equal(got.Data, data) || got.Cut != 0 {
			t.Errorf("%q: got %+v, %v", wire, got, err)
		}
		if got, err = r.Next(); err != nil || got.Txnr != Next(txnr) {
			t.Errorf("%q: then got %+v, %v", wire, got, err)
		}
		if a, err := ParseAnswer(got.Data); err != nil || a.Code != CodeOK {
			t.Errorf("answer %q: %+v, %v", got.Data, a, err)
		}
		_, _ = ParseAnswer(data) // must not panic
		_, _ = ParseOffers(data)
		if !strings.Contains(text, "\n") {
			r := NewReader(bytes.NewReader(AppendError(nil, 1, text)))
			got, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if a, err := ParseAnswer(got.Data); err != nil || a.Code != CodeError || string(a.Text) != text[:min(len(text), maxText)] {
				t.Errorf("error %q: %+v, %v", text, a, err)
			}
		}
	})
}
