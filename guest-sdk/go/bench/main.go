// Bench is the guest that the benchmarks measure, with the same work as those of
// the other languages: {"do":"keepdrop"} drops debug records; {"do":"route"} reads
// app, host and message, adds class=web, and routes errors.
package main

import runnel "github.com/runnel-log/runnel/guest-sdk/go"

func init() {
	runnel.Configure(func(c *runnel.Config) {
		c.Known("do")
		switch do := c.String("do", "keepdrop"); do {
		case "keepdrop":
			runnel.Handle(keepDrop)
		case "route":
			runnel.Handle(route)
		default:
			c.Problem("do is " + do + ", not keepdrop or route")
		}
	})
}

func main() {}

func keepDrop(r *runnel.Record) {
	if r.Severity() == runnel.Debug {
		r.Drop("debug")
	}
}

var web = runnel.NewText("class", "web")

func route(r *runnel.Record) {
	if len(r.App()) == 0 || len(r.Host()) == 0 || len(r.Message()) == 0 {
		return
	}
	r.Add(web)
	if r.Severity() <= runnel.Err {
		r.Route("errors")
	}
}
