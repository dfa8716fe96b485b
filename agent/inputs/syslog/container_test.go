package syslog

import (
	"strings"
	"testing"

	"github.com/runnel-log/runnel/record"
)

func TestContainerID(t *testing.T) {
	const short = "3b367bc4d768"
	full := strings.Repeat("0123456789abcdef", 4)
	f := func(app, procid, msgid, want string) {
		t.Helper()
		r := record.Record{App: []byte(app), ProcID: []byte(procid), MsgID: []byte(msgid)}
		setContainer(&r)
		v, _ := r.Attrs.Get(attrContainer)
		if got := string(v.Data); got != want {
			t.Errorf("app %q procid %q msgid %q: got %q, want %q", app, procid, msgid, got, want)
		}
	}
	f(short, "2833", "", short)
	f(short, "2833", short, short)
	f(full, "2833", full, full)
	f("docker/web-1/"+short, "2833", "", short)
	f(short+"/web-1", "2833", "", short)
	f("web|prod|"+short, "2833", "", short)
	f(`{"id":"`+short+`"}`, "2833", "", short)
	f("приложение."+short, "2833", "", short)
	f("sha256:"+full+"/"+short, "2833", "", short) // an image's id and the container's
	f("sha256:"+full, "2833", "", "")
	f("my", "app", short, short)               // a blank in the tag shifts the fields
	f("my", short, "2833", short)              // likewise
	f("202611221016", "1", "", "202611221016") // the whole tag: one id in 280 has no letter
	f("backup.202611221016", "1", "", "")
	f("abcdefabcdef.x", "1", "", "")
	f("web-1", "2833", "web-1", "")
	f("3B367BC4D768", "1", "", "")
	f("550e8400-e29b-41d4-a716-446655440000", "1", "", "")
	f("svc.1.x7k2m9p4q8r1", "1", "", "")
	f("app", "1234567890123", "123456789012", "")
	f("", "", "", "")
	f(short+"0", "1", "", "")
}

func TestContainerIDAllocatesNothing(t *testing.T) {
	var r record.Record
	r.App = []byte("docker/web-1/3b367bc4d768")
	setContainer(&r)
	if n := testing.AllocsPerRun(100, func() { r.Attrs.Reset(); setContainer(&r) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
