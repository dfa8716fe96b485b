// Classify is runnel's bundled example of a module: it drops debug records,
// says what each record is about in an attribute, hides card numbers and
// tokens, and sends errors to a stream of their own. README.md lists its config.
package main

import runnel "github.com/runnel-log/runnel/guest-sdk/go"

// options are set once, by the config.
var options struct {
	dropDebug bool
	redact    bool
	errors    string
}

// A reactor's main never runs: init is where a guest says what it does.
func init() {
	runnel.Configure(configure)
	runnel.Handle(classify)
}

func main() {}

func configure(c *runnel.Config) {
	c.Known("drop_debug", "redact", "errors_stream")
	options.dropDebug = c.Bool("drop_debug", false)
	options.redact = c.Bool("redact", false)
	options.errors = c.String("errors_stream", "")
}

func classify(r *runnel.Record) {
	severity := r.Severity()
	if severity == runnel.Debug && options.dropDebug {
		r.Drop("debug")
		return
	}
	r.Add(class(r.App(), r.Message()))
	if options.redact {
		redact(r)
	}
	if severity <= runnel.Err && options.errors != "" {
		r.Route(options.errors)
	}
}

// The classes, made once: adding one to a record is then a copy.
var (
	auth         = runnel.NewText("class", "auth")
	kernel       = runnel.NewText("class", "kernel")
	schedule     = runnel.NewText("class", "schedule")
	web          = runnel.NewText("class", "web")
	empty        = runnel.NewText("class", "empty")
	json         = runnel.NewText("class", "json")
	continuation = runnel.NewText("class", "continuation")
	plain        = runnel.NewText("class", "text")
)

// class says what a record is about, from who wrote it and how it begins.
func class(app, message []byte) *runnel.Text {
	switch string(app) {
	case "sshd", "sudo", "su", "login":
		return auth
	case "kernel":
		return kernel
	case "cron", "CRON", "crond", "anacron":
		return schedule
	case "nginx", "apache2", "httpd", "haproxy", "caddy":
		return web
	}
	if len(message) == 0 {
		return empty
	}
	switch message[0] {
	case '{':
		return json
	case ' ', '\t':
		return continuation
	}
	return plain
}
