//go:build !stateless

package main

import (
	"strconv"

	runnel "github.com/runnel-log/runnel/guest-sdk/go"
	"github.com/runnel-log/runnel/guest-sdk/go/tick"
)

func init() {
	tick.Every(func(t *runnel.Tick) {
		t.Emit().Message([]byte("tick")).SetInt("now", t.Now())
		t.Release("tick")
	})
	tick.Flush(func(t *runnel.Tick) { t.Emit().Message([]byte("flush")) })
}

// remember does what a verb says of state, held records and the host's
// services, and reports whether it knows it.
func remember(r *runnel.Record, verb, argument string) bool {
	key, value := cut(argument, ' ')
	switch verb {
	case "hold":
		r.Hold(key)
	case "release":
		r.Release(key)
	case "merge":
		if value == "" {
			value = "\n"
		}
		r.Merge(key).Join(value).SetBool("merged", true)
	case "discard":
		r.Discard(key, value)
	case "put":
		runnel.StateSet(key, []byte(value))
	case "get":
		r.Set(key, state(key, "none"))
	case "forget":
		runnel.StateDelete(key)
	case "count":
		n, _ := strconv.ParseInt(state(key, "0"), 10, 64)
		runnel.StateSet(key, strconv.AppendInt(nil, n+1, 10))
		r.SetInt(key, n+1)
	case "keys":
		all := ""
		for k := range runnel.StateKeys("") {
			all += "," + k
		}
		_, all = cut(all, ',')
		r.Set("keys", all)
	case "heldcount":
		r.SetInt("held", int64(runnel.Held(key).Len()))
	case "metric":
		n, _ := strconv.ParseFloat(value, 64)
		runnel.Metric(key, n)
	case "lookup":
		if row, ok := runnel.Lookup(key, value); ok {
			r.SetJSON("row", string(row))
		} else {
			r.Set("row", "none")
		}
	case "find":
		r.SetInt("at", int64(runnel.Scan(r.Message(), argument)))
	default:
		return false
	}
	return true
}

func state(key, fallback string) string {
	if value, ok := runnel.StateGet(key); ok {
		return string(value)
	}
	return fallback
}
