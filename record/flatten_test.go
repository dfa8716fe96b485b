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
