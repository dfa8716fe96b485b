package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent"
	"github.com/runnel-log/runnel/internal/systemd"
)

// runCmd runs the agent in the foreground.
type runCmd struct {
	LogFormat string `enum:"auto,text,json" default:"auto" help:"The agent's own log on stderr: text, json, or text on a terminal only."`
	LogLevel  string `enum:"debug,info,warn,error" default:"info" help:"The least severe of the agent's own lines to print: debug, info, warn or error."`
}

func (c runCmd) Run(g *globals) error {
	tuneMemory()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	reload := make(chan os.Signal, 1) // one waiting is enough: a reload reads everything
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	manager := systemd.Find()
	defer manager.Close()
	a := agent.New(agent.Options{
		Manager: manager,
		Load:    func() (*agent.Config, error) { return g.load() }, Version: version,
		Log: c.logger(g),
		Ready: func(config *agent.Config, api string) {
			_ = manager.Tell("READY=1") // who does not hear it says so itself
			if config.File == embeddedName {
				printFirstSteps(g.Stdout, config, api)
			}
		},
	})
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastResort, func() { giveUp(g.Stderr) }) })()
	defer runWatchdog(manager, a)()
	return a.Run(ctx, reload)
}

// runWatchdog pings the manager until end is called, where it wants that.
func runWatchdog(manager *systemd.Manager, a *agent.Agent) (end func()) {
	every := systemd.Watchdog()
	if every == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { manager.RunWatchdog(ctx, every, a.Alive) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// lastResort is when a stop that should have taken five seconds is ended. It
// comes before Docker's own patience, so that somebody learns why.
const lastResort = 9 * time.Second

// giveUp ends the process with what every goroutine waits for. What was
// committed is safe, as after kill -9.
func giveUp(stderr io.Writer) {
	stacks := make([]byte, 256<<10)
	stacks = stacks[:runtime.Stack(stacks, true)]
	fmt.Fprintf(stderr, "runnel: the stop hangs after %s; please report this:\n%s\n", lastResort, stacks)
	os.Exit(exitFailed)
}

func (c runCmd) logger(g *globals) zerolog.Logger {
	level, err := zerolog.ParseLevel(c.LogLevel)
	if err != nil {
		level = zerolog.InfoLevel
	}
	var w io.Writer = g.Stderr
	if c.LogFormat == "text" || (c.LogFormat == "auto" && isTerminal(g.Stderr)) {
		w = zerolog.ConsoleWriter{Out: g.Stderr, NoColor: !g.colour(g.Stderr), TimeFormat: logTime}
	}
	return zerolog.New(w).Level(level).Hook(newLineLimit()).Hook(timestamp{})
}

// logTime is how a line of the agent's own log says when: RFC 3339 in milliseconds, as text
// and as JSON.
const logTime = "2006-01-02T15:04:05.000Z07:00"

// timestamp puts the time into each line.
type timestamp struct{}

func (timestamp) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, time.Now().Format(logTime))
}

// printFirstSteps says what to type next, for somebody who has just typed
// `make run`.
func printFirstSteps(w io.Writer, c *agent.Config, api string) {
	data, err := filepath.Abs(c.DataDir)
	if err != nil {
		data = c.DataDir
	}
	runnel := "./bin/runnel"
	if path, err := os.Executable(); err == nil && !strings.HasSuffix(path, "/bin/runnel") {
		runnel = path
	}
	fmt.Fprintf(w, `
runnel runs on its embedded default; its data is in %[1]s. In another terminal:

  logger -n 127.0.0.1 -P 5514 -d hello
  docker run --rm --log-driver syslog --log-opt syslog-address=udp://127.0.0.1:5514 --log-opt tag='{{.Name}}/{{.ID}}' debian:stable-slim echo hello from a container

and look at what arrived:

  %[2]s tail                 # live
  %[2]s query -n 20          # what is stored
  %[2]s query 'severity <= "warning"' --from -1h
  %[2]s status               # what goes through

It listens on udp://127.0.0.1:5514, tcp://127.0.0.1:5514 and unix://%[1]s/runnel.sock; the API is at %[3]s.
Ctrl-C stops it and loses nothing.

`, data, runnel, api)
}
