// Conformance is a guest that does what each record's message says, one
// operation a line, so that a test of the host can ask for every verdict of
// ABI v1. wasm/conformance_test.go says what must come of it; a guest of the
// same behaviour in another language must pass the same test. It wants
// grant: [state, metrics] and a table.
package main

import runnel "github.com/runnel-log/runnel/guest-sdk/go"

// A reactor's main never runs: init is where a guest says what it does.
func init() {
	runnel.Configure(func(c *runnel.Config) {
		if text := c.String("refuse", ""); text != "" {
			c.Problem(text)
		}
		if c.Bool("panic", false) {
			panic("asked to")
		}
	})
	runnel.Handle(obey)
}

func main() {}

func obey(r *runnel.Record) {
	rest := string(r.Message())
	for rest != "" {
		var line string
		line, rest = cut(rest, '\n')
		verb, argument := cut(line, ' ')
		do(r, verb, argument)
	}
}

// cut splits s at the first c; after is empty if there is none.
func cut(s string, c byte) (before, after string) {
	for i := range len(s) {
		if s[i] == c {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func do(r *runnel.Record, verb, argument string) {
	key, value := cut(argument, ' ')
	switch verb {
	case "keep":
	case "drop":
		r.Drop(argument)
	case "fail":
		r.Fail(argument)
	case "route":
		r.Route(argument)
	case "set":
		r.Set(key, value)
	case "copy": // one attribute to another
		r.Set(value, r.AttrString(key))
	case "int":
		r.SetInt(key, -int64(len(value)))
	case "float":
		r.SetFloat(key, float64(len(value))+0.5)
	case "bool":
		r.SetBool(key, value == "true")
	case "json":
		r.SetJSON(key, value)
	case "remove":
		r.Remove(argument)
	case "message":
		r.SetMessage([]byte(argument))
	case "severity":
		r.SetSeverity(argument[0] - '0')
	case "facility":
		r.SetFacility(argument[0] - '0')
	case "time":
		r.SetTime(runnel.Now())
	case "host":
		r.SetHost([]byte(argument))
	case "app":
		r.SetApp([]byte(argument))
	case "procid":
		r.SetProcID([]byte(argument))
	case "msgid":
		r.SetMsgID([]byte(argument))
	case "sd":
		r.SetSD([]byte(argument))
	case "replace":
		r.Replace().Host([]byte("new")).Message([]byte(argument)).SetInt("n", 1)
	case "emit":
		r.Emit().Copy(r).Message([]byte(argument)).Set("child", "yes")
	case "emit-to":
		r.Emit().Severity(runnel.Err).Route(key).Message([]byte(value))
	case "flood":
		for range 65 {
			r.Emit().Message([]byte("x"))
		}
	case "log":
		runnel.Say(runnel.LevelWarn, argument)
	case "print":
		println(argument)
	default:
		if !remember(r, verb, argument) {
			misbehave(verb)
		}
	}
}

var garbage [][]byte

// misbehave does what a guest must not, to see that the host lives.
func misbehave(verb string) {
	switch verb {
	case "panic":
		panic("asked to")
	case "index":
		var none []int
		_ = none[len(garbage)]
	case "loop":
		//lint:ignore SA5002 the host must stop it
		for {
		}
	case "memory":
		for {
			garbage = append(garbage, make([]byte, 1<<20))
		}
	case "recurse":
		garbage = append(garbage, make([]byte, deep(0)))
	case "block":
		select {}
	}
}

// deep ends when the host says so.
//
//go:noinline
//lint:ignore SA5007 that is the point of it
func deep(n int) int { return deep(n+1) + 1 }
