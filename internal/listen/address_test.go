package listen

import (
	"strings"
	"testing"
)

func TestParseReadsWhatStringWrites(t *testing.T) {
	f := func(url string, want Address) {
		t.Helper()
		got, err := Parse(url)
		if err != nil {
			t.Errorf("Parse(%q): %v", url, err)
			return
		}
		if got != want {
			t.Errorf("Parse(%q): got %+v, want %+v", url, got, want)
		}
		if got.String() != url {
			t.Errorf("Parse(%q).String(): got %q", url, got.String())
		}
	}
	f("tcp://127.0.0.1:514", Address{Scheme: "tcp", Host: "127.0.0.1", Port: 514})
	f("tls://0.0.0.0:6514", Address{Scheme: "tls", Host: "0.0.0.0", Port: 6514})
	f("udp://:514", Address{Scheme: "udp", Port: 514})
	f("udp://[::1]:0", Address{Scheme: "udp", Host: "::1"})
	f("tcp://localhost:5514", Address{Scheme: "tcp", Host: "localhost", Port: 5514})
	f("unix:///run/runnel/log.sock", Address{Scheme: "unix", Path: "/run/runnel/log.sock"})
	f("unix://runnel-data/log.sock", Address{Scheme: "unix", Path: "runnel-data/log.sock"})
	f("unixgram:///dev/log?mode=0666", Address{Scheme: "unixgram", Path: "/dev/log", Mode: 0o666})
}

func TestParseSaysWhatToWrite(t *testing.T) {
	f := func(url, want string) {
		t.Helper()
		if a, err := Parse(url); err == nil {
			t.Errorf("Parse(%q): got %+v, want an error", url, a)
		} else if err.Error() != want {
			t.Errorf("Parse(%q):\n got %s\nwant %s", url, err, want)
		}
	}
	f("udp:514", `"udp:514" has no host part; write "udp://:514" to listen everywhere`)
	f("tcp:127.0.0.1:514", `"tcp:127.0.0.1:514" has no "//"; write "tcp://127.0.0.1:514"`)
	f("tcp:/127.0.0.1:514", `"tcp:/127.0.0.1:514" has no "//"; write "tcp://127.0.0.1:514"`)
	f("udp://514", `"udp://514" has no host part; write "udp://:514" to listen everywhere`)
	f("tcp://127.0.0.1", `"tcp://127.0.0.1" has no port; write "tcp://127.0.0.1:514"`)
	f("tcp://::1", `"tcp://::1" has no port; write "tcp://[::1]:514"`)
	f("tcp://[::1]", `"tcp://[::1]" has no port; write "tcp://[::1]:514"`)
	f("tcp://fe80::1:x:514", `"tcp://fe80::1:x:514" has colons in its host; write an IPv6 address in brackets, as in "tcp://[::1]:514"`)
	f("tcp://*:514", `"tcp://*:514" has the host "*"; write "tcp://:514" to listen everywhere`)
	f("tcp://127.0.0.1:syslog", `"tcp://127.0.0.1:syslog" has the port "syslog"; write a number from 0 to 65535`)
	f("tcp://127.0.0.1:65536", `"tcp://127.0.0.1:65536" has the port "65536"; write a number from 0 to 65535`)
	f("tcp://127.0.0.1:-1", `"tcp://127.0.0.1:-1" has the port "-1"; write a number from 0 to 65535`)
	f("tcp://127.0.0.1:514/x", `"tcp://127.0.0.1:514/x" has "/x" after the host; write only host and port, as in "tcp://127.0.0.1:514"`)
	f("http://127.0.0.1:80", `"http://127.0.0.1:80" has the unknown scheme "http"; use one of tcp, tls, udp, unix, unixgram`)
	f("unix:/run/log.sock", `"unix:/run/log.sock" has no "//"; write "unix:///run/log.sock"`)
	f("unix://", `"unix://" has no path; write "unix:///run/runnel/log.sock"`)
	f("/run/log.sock", `"/run/log.sock" has no scheme; write "unix:///run/log.sock" or "unixgram:///run/log.sock"`)
	f("unix:///run/a?mode=rw", `"unix:///run/a?mode=rw" has "?mode=rw" after the path; write only a mode, as in "unix:///run/a?mode=0660"`)
	f("unix:///run/a?perm=0660", `"unix:///run/a?perm=0660" has "?perm=0660" after the path; write only a mode, as in "unix:///run/a?mode=0660"`)
	f("127.0.0.1:514", `"127.0.0.1:514" has no scheme; write "tcp://127.0.0.1:514" or "udp://127.0.0.1:514"`)
	f("514", `"514" has no scheme; write "udp://:514" to listen everywhere`)
	f("", `the address is empty; write one such as "tcp://127.0.0.1:514"`)
	long := "unix:///" + strings.Repeat("a", 120)
	f(long, `"`+long+`" has a path of 121 bytes; the kernel takes 103`)
}

func TestKeyNamesTheSocket(t *testing.T) {
	f := func(one, other string, same bool) {
		t.Helper()
		a, err1 := Parse(one)
		b, err2 := Parse(other)
		if err1 != nil || err2 != nil || (a.Key() == b.Key()) != same {
			t.Errorf("%s and %s: got %q and %q, want the same: %v", one, other, a.Key(), b.Key(), same)
		}
	}
	f("tcp://127.0.0.1:514", "tls://127.0.0.1:514", true)
	f("tcp://127.0.0.1:0", "tls://127.0.0.1:0", false) // each its own free port
	f("tcp://127.0.0.1:514", "udp://127.0.0.1:514", false)
	f("unix:///a", "unix:///a?mode=0600", true)
	f("unix:///a", "unixgram:///a", false)
}

func TestIsLocal(t *testing.T) {
	f := func(url string, want bool) {
		t.Helper()
		a, err := Parse(url)
		if err != nil || a.IsLocal() != want {
			t.Errorf("%s: got %v, %v, want %v", url, a.IsLocal(), err, want)
		}
	}
	f("tcp://127.0.0.1:1", true)
	f("tcp://[::1]:1", true)
	f("udp://localhost:1", true)
	f("unix:///x", true)
	f("udp://:1", false)
	f("tcp://10.0.0.1:1", false)
}

func TestUsualIsSuggested(t *testing.T) {
	here, there := Usual{Scheme: "tls", Port: 6515}, Usual{Scheme: "tls", Port: 6515, To: true}
	f := func(u Usual, url, want string) {
		t.Helper()
		if _, err := u.Parse(url); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", url, err, want)
		}
	}
	f(there, "tls://c", `"tls://c" has no port; write "tls://c:6515"`)
	f(there, "c:6515", `"c:6515" has no scheme; write "tls://c:6515"`)
	f(there, "c", `"c" has no scheme and no port; write "tls://c:6515"`)
	f(there, "tls://::1", `"tls://::1" has no port; write "tls://[::1]:6515"`)
	f(there, "https://c:6515", `"https://c:6515" has the unknown scheme "https"; write "tls://c:6515"`)
	f(there, "6515", `"6515" has no scheme; write "tls://HOST:6515"`)
	f(there, "tls://*:6515", `"tls://*:6515" has the host "*"; write "tls://HOST:6515"`)
	f(there, "/run/relay", `"/run/relay" has no scheme; write "unix:///run/relay"`)
	f(there, "", `the address is empty; write one such as "tls://127.0.0.1:6515"`)
	f(here, "6515", `"6515" has no scheme; write "tls://:6515" to listen everywhere`)
	f(here, "tls:6515", `"tls:6515" has no host part; write "tls://:6515" to listen everywhere`)
	if a, err := there.Parse("tls://c:1"); err != nil || a.Host != "c" || a.Port != 1 {
		t.Errorf("got %+v, %v", a, err)
	}
}
