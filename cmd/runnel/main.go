// Command runnel is the agent and the tools around it: one verb a file. This
// file names the verbs and turns their errors into exit codes: 0 good, 1 the
// thing asked for failed, 2 the command line or the configuration is wrong.
// Everything that runs lives in the rooms; nothing but parsing and printing
// belongs here.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/runnel-log/runnel/internal/config"
)

// cli is every verb and every flag.
type cli struct {
	globals

	Run     runCmd     `cmd:"" help:"Run the agent in the foreground."`
	Check   checkCmd   `cmd:"" help:"Validate the configuration, certificates and modules, and start nothing."`
	Config  configCmd  `cmd:"" help:"Print the effective configuration, every default written out."`
	Query   queryCmd   `cmd:"" help:"Print stored records."`
	Tail    tailCmd    `cmd:"" help:"Print records as they are stored."`
	Status  statusCmd  `cmd:"" help:"Show inputs, pipelines, modules, streams and forwarders."`
	Audit   auditCmd   `cmd:"" help:"Print the ledger: every record ever taken, and what became of it."`
	Try     tryCmd     `cmd:"" help:"Send records through the configured pipeline without storing: what each step made of them."`
	Cursor  cursorCmd  `cmd:"" help:"Look at and move forwarders' cursors."`
	Redrive redriveCmd `cmd:"" help:"Send a stream's dead letters to the forwarders that refused them again."`
	Send    sendCmd    `cmd:"" help:"Send syslog messages: a logger and a load generator."`
	Module  moduleCmd  `cmd:"" help:"The workbench: make, build, test and measure modules."`
	Store   storeCmd   `cmd:"" help:"Check, repair or export a data directory that no agent has."`
	PKI     pkiCmd     `cmd:"" name:"pki" help:"A private authority, and certificates for the agents of a chain."`
	Version versionCmd `cmd:"" help:"Print version, commit and format versions."`
}

// Exit codes.
const (
	exitGood   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is main without the process: it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c cli
	c.Stdin, c.Stdout, c.Stderr = stdin, stdout, stderr
	exit := -1
	parser, err := kong.New(&c, kong.Name("runnel"), kong.Description("An edge log agent that runs your WebAssembly."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintf(stderr, "runnel: bug: %v\n", err)
		return exitFailed
	}
	context, err := parser.Parse(args)
	if exit >= 0 {
		return exit // --help
	}
	if err != nil {
		fmt.Fprintf(stderr, "runnel: %v; runnel --help lists the verbs\n", err)
		return exitUsage
	}
	return report(stderr, &c.globals, context.Run(&c.globals))
}

// report prints err as a user should see it and returns the exit code it calls for.
func report(stderr io.Writer, g *globals, err error) int {
	var problems config.Problems
	var usage usageError
	switch {
	case err == nil, isClosedPipe(err):
		return exitGood
	case errors.As(err, &problems):
		problems.Write(stderr, g.colour(stderr))
		return exitUsage
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "runnel: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "runnel: %v\n", err)
	return exitFailed
}

// isClosedPipe reports whether err says that who read our output has gone, as
// head does when it has enough. A broken connection is another thing.
func isClosedPipe(err error) bool {
	var at *os.PathError
	return errors.As(err, &at) && at.Path == os.Stdout.Name() && errors.Is(err, syscall.EPIPE)
}

// usageError is a mistake in the command line that parsing alone cannot see.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }
