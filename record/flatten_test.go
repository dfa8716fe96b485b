package record

import (
	"fmt"
	"strings"
	"testing"
)

// show writes attributes as key=kind:value, one a line.
func show(a *Attrs) string {
	var b strings.Builder
	for key, v := range a.All() {
		switch v.Kind {
		case Int:
			fmt.Fprintf(&b, "%s=int:%d\n", key, v.Int())
		case Float:
			fmt.Fprintf(&b, "%s=float:%v\n", key, v.Float())
		case Bool:
			fmt.Fprintf(&b, "%s=bool:%v\n", key, v.Bool())
		case String:
			fmt.Fprintf(&b, "%s=string:%q\n", key, v.Data)
		case JSON:
			fmt.Fprintf(&b, "%s=json:%s\n", key, v.Data)
		case Bytes:
			fmt.Fprintf(&b, "%s=bytes:%x\n", key, v.Data)
		}
	}
	return b.String()
}

func TestFlattenJSONNamesAndTypesFields(t *testing.T) {
	f := func(in string, want ...string) {
		t.Helper()
		var a Attrs
		ok, n := FlattenJSON([]byte(in), &a, FlattenOptions{})
		if got := show(&a); !ok || n < a.Len() || got != strings.Join(want, "") {
			t.Errorf("%s\n got %v %d\n%s\nwant\n%s", in, ok, n, got, strings.Join(want, ""))
		}
		if !validAttrs(a.buf, a.n) {
			t.Errorf("%s: attributes are not well formed", in)
		}
	}
	f(`{}`)
	f(" \t\r\n{ } \n")
	f(`{"a":1}`, "a=int:1\n")
	f(`{ "a" : 1 , "b" : "x" }`, "a=int:1\n", "b=string:\"x\"\n")
	f(`{"a":true,"b":false,"c":null}`, "a=bool:true\n", "b=bool:false\n", "c=json:null\n")
	f(`{"a":[1, {"b":2}],"c":{}}`, "a=json:[1, {\"b\":2}]\n", "c=json:{}\n")
	f(`{"a":{"b":{"c":1},"d":2},"e":3}`, "a.b.c=int:1\n", "a.d=int:2\n", "e=int:3\n")
	f(`{"":{"":1}}`, ".=int:1\n")
	f(`{"a":1,"a":2}`, "a=int:2\n")
	f(`{"a.b":1,"c":0,"a":{"b":"x"}}`, "c=int:0\n", "a.b=string:\"x\"\n")
	f(`{"a":{"b":1},"a":2}`, "a.b=int:1\n", "a=int:2\n")
	f(`{"1":{"2":{"3":{"4":{"5":{"6":{"7":{"8":1}}}}}}}}`, "1.2.3.4.5.6.7.8=int:1\n")
	f(`{"1":{"2":{"3":{"4":{"5":{"6":{"7":{"8":{"9":1}}}}}}}}}`, "1.2.3.4.5.6.7.8=json:{\"9\":1}\n")
	f(`{"a":"q\"\\\/\b\f\n\r\t\u0041\u00e9\u2028"}`, `a=string:"q\"\\/\b\f\n\r\tAé\u2028"`+"\n")
	f(`{"a":"\ud83d\ude00","b":"\ud83d","c":"\ude00x","d":"\ud83d\u0041"}`,
		"a=string:\"😀\"\n", "b=string:\"\ufffd\"\n", "c=string:\"\ufffdx\"\n", "d=string:\"\ufffdA\"\n")
	f(`{"k\u00e9\n":1}`, "ké\n=int:1\n")
	f("{\"a\":\"\xff\xfe\"}", `a=string:"\xff\xfe"`+"\n")
	f(`{"a":0,"b":-0,"c":-1,"d":9223372036854775807,"e":-9223372036854775808,"f":123456789012345678}`,
		"a=int:0\n", "b=int:0\n", "c=int:-1\n", "d=int:9223372036854775807\n", "e=int:-9223372036854775808\n", "f=int:123456789012345678\n")
	f(`{"a":9223372036854775808,"b":18446744073709551615,"c":1e400,"d":-1E+999}`,
		"a=float:9.223372036854776e+18\n", "b=float:1.8446744073709552e+19\n", "c=string:\"1e400\"\n", "d=string:\"-1E+999\"\n")
	f(`{"a":1.0,"b":-0.5,"c":1e3,"d":1.7976931348623157e308,"e":5e-324,"f":0.1,"g":123456789.123456789,"h":1e-400}`,
		"a=float:1\n", "b=float:-0.5\n", "c=float:1000\n", "d=float:1.7976931348623157e+308\n", "e=float:5e-324\n",
		"f=float:0.1\n", "g=float:1.2345678912345679e+08\n", "h=float:0\n")
}

func TestFlattenJSONRefusesWhatIsNotOneObject(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	f := func(in string) {
		t.Helper()
		var a Attrs
		a.SetInt("kept", 1)
		if ok, n := FlattenJSON([]byte(in), &a, FlattenOptions{}); ok || n != 0 || show(&a) != "kept=int:1\n" {
			t.Errorf("%.80q: got %v %d\n%s", in, ok, n, show(&a))
		}
	}
	for _, in := range []string{``, ` `, `1`, `"a"`, `null`, `[]`, `[{"a":1}]`, `{`, `}`, `{"a"}`, `{"a":}`, `{"a":1`, `{"a":1,}`, `{,"a":1}`, `{"a":1}x`, `{"a":1}{"b":2}`,
		`{a:1}`, `{'a':1}`, `{"a":01}`, `{"a":+1}`, `{"a":.5}`, `{"a":1.}`, `{"a":1e}`, `{"a":1e+}`, `{"a":-}`, `{"a":--1}`, `{"a":0x1}`, `{"a":NaN}`, `{"a":Infinity}`,
		`{"a":tru}`, `{"a":TRUE}`, `{"a":nul}`, `{"a":"b}`, `{"a":"\x41"}`, `{"a":"\u00g0"}`, `{"a":"\u12"}`, `{"a":"\`, "{\"a\":\"\n\"}", "{\"a\":\"12345678\x01\"}", "{\"a\":\"\x00\"}",
		`{"a":[1,]}`, `{"a":[1 2]}`, `{"a":[}`, `{"a":{"b":1]}`, `{"a":[{]}`, `{"a":1 "b":2}`, `{"a"=1}`, "\ufeff{}", "{}\x00", `// c`, `{"a":1/**/}`, deep(65), deep(100_000)} {
		f(in)
	}
	var a Attrs
	if ok, _ := FlattenJSON([]byte(deep(64)), &a, FlattenOptions{}); !ok {
		t.Error("64 levels refused")
	}
	objects := strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64)
	if ok, _ := FlattenJSON([]byte(objects), &a, FlattenOptions{Depth: 1000}); !ok {
		t.Error("64 objects refused")
	}
	f(`{"a":` + objects + `}`)
}

func TestFlattenJSONTakesTheFirstFieldsOnly(t *testing.T) {
	doc := func(n int) []byte {
		p := []byte("{")
		for i := range n {
			p = fmt.Appendf(p, `"k%d":%d,`, i, i)
		}
		return append(p, `"last":"}"}`...)
	}
	var a Attrs
	ok, n := FlattenJSON(doc(300), &a, FlattenOptions{})
	if _, last := a.Get("last"); !ok || n != 256 || a.Len() != 256 || last {
		t.Errorf("got %v %d, %d attributes", ok, n, a.Len())
	}
	a.Reset()
	if ok, n := FlattenJSON(doc(300), &a, FlattenOptions{Fields: 3}); !ok || n != 3 || show(&a) != "k0=int:0\nk1=int:1\nk2=int:2\n" {
		t.Errorf("got %v %d\n%s", ok, n, show(&a))
	}
	a.Reset()
	if ok, n := FlattenJSON([]byte(`{"a":{"b":{"c":1}}}`), &a, FlattenOptions{Depth: 2}); !ok || n != 1 || show(&a) != "a.b=json:{\"c\":1}\n" {
		t.Errorf("got %v %d\n%s", ok, n, show(&a))
	}
}

func TestFlattenJSONReplacesWhatWasThere(t *testing.T) {
	var a Attrs
	a.SetInt("status", 1)
	a.SetInt("kept", 2)
	if ok, _ := FlattenJSON([]byte(`{"new":3,"status":"4"}`), &a, FlattenOptions{}); !ok || show(&a) != "kept=int:2\nnew=int:3\nstatus=string:\"4\"\n" {
		t.Errorf("got\n%s", show(&a))
	}
}

func TestFlattenJSONStaysSmallWithALongName(t *testing.T) {
	long := strings.Repeat("n", 60_000)
	doc := []byte(`{"` + long + `":{"a":1`)
	for i := range 250 {
		doc = fmt.Appendf(doc, `,"%d":1`, i)
	}
	doc = append(doc, "}}"...)
	var a Attrs
	if ok, n := FlattenJSON(doc, &a, FlattenOptions{}); !ok || n != 1 || len(a.buf) > 2*len(doc) {
		t.Errorf("got %v %d, %d bytes of %d", ok, n, len(a.buf), len(doc))
	}
	a.Reset()
	if ok, n := FlattenJSON([]byte(`{"`+long+long+`":1,"b":2}`), &a, FlattenOptions{}); !ok || n != 1 || show(&a) != "b=int:2\n" {
		t.Errorf("got %v %d", ok, n)
	}
}

func TestParseLogfmt(t *testing.T) {
	f := func(in string, want ...string) {
		t.Helper()
		var a Attrs
		if ok := ParseLogfmt([]byte(in), &a); !ok || show(&a) != strings.Join(want, "") {
			t.Errorf("%s\n got %v\n%s\nwant\n%s", in, ok, show(&a), strings.Join(want, ""))
		}
	}
	f(`a=1`, "a=int:1\n")
	f(` a=1  b=x `+"\n", "a=int:1\n", "b=string:\"x\"\n")
	f(`level=info msg="two words" took=1.5 ok=true bad=false`, "level=string:\"info\"\n", "msg=string:\"two words\"\n", "took=float:1.5\n", "ok=bool:true\n", "bad=bool:false\n")
	f(`IN=eth0 OUT= MAC=00:11 SYN URGP=0`, "IN=string:\"eth0\"\n", "OUT=string:\"\"\n", "MAC=string:\"00:11\"\n", "SYN=bool:true\n", "URGP=int:0\n")
	f(`a="" b="1" c="true"`, "a=string:\"\"\n", "b=string:\"1\"\n", "c=string:\"true\"\n")
	f(`a="q\"\\\n\u00e9\x1b\q\a"`, `a=string:"q\"\\\né\x1b\\q\a"`+"\n")
	f(`a="\ud83d\ude00" b="\ud83dx" c="\U0001f600"`, "a=string:\"😀\"\n", "b=string:\"\ufffdx\"\n", "c=string:\"😀\"\n")
	f(`path=/x?a=b url=http://h/?q="1"`, "path=string:\"/x?a=b\"\n", `url=string:"http://h/?q=\"1\""`+"\n")
	f(`a=007 b=1e5 c=-3 d=9223372036854775808 e=1.2.3 f=0x10 g=- h=1.0 i=12345678901234567.5`,
		"a=string:\"007\"\n", "b=string:\"1e5\"\n", "c=int:-3\n", "d=string:\"9223372036854775808\"\n", "e=string:\"1.2.3\"\n", "f=string:\"0x10\"\n",
		"g=string:\"-\"\n", "h=float:1\n", "i=string:\"12345678901234567.5\"\n")
	f(`a=1 b=2 a=3`, "b=int:2\n", "a=int:3\n")
	f("a=\xff b=é", `a=string:"\xff"`+"\n", "b=string:\"é\"\n")
	for _, in := range []string{``, ` `, `hello world`, `=1`, `a=1 =2`, `a="open`, `a="x"y`, `"a"=1`, `a"=1`, `say "a=b"`, `{"a":"b=c"}`} {
		var a Attrs
		a.SetInt("kept", 1)
		if ParseLogfmt([]byte(in), &a) || show(&a) != "kept=int:1\n" {
			t.Errorf("%q accepted\n%s", in, show(&a))
		}
	}
	var many []byte
	for i := range 300 {
		many = fmt.Appendf(many, "k%d=%d ", i, i)
	}
	var a Attrs
	if !ParseLogfmt(many, &a) || a.Len() != 256 {
		t.Errorf("%d attributes", a.Len())
	}
}
