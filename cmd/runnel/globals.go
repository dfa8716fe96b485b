package main

import (
	"io"
	"os"
)

// globals are the flags that every verb has, and the process's own streams.
type globals struct {
	Config    string `short:"c" placeholder:"FILE" help:"The configuration; default ./runnel.yaml, then /etc/runnel/runnel.yaml, then the embedded default."`
	API       string `name:"api" placeholder:"URL" help:"The agent's API: http://, https:// or unix:///path; default what the configuration says, else http://127.0.0.1:4780."`
	TokenFile string `placeholder:"FILE" help:"The API's token; default $RUNNEL_TOKEN, then what the configuration says, then DATA/token."`
	Output    string `short:"o" enum:"text,json,raw" default:"text" help:"text, json, or raw: messages only, nothing escaped except on a terminal."`
	NoColor   bool   `help:"Print no colours, not even on a terminal."`

	Stdin          io.Reader `kong:"-"`
	Stdout, Stderr io.Writer `kong:"-"`
}

// colour reports whether to print colours on w.
func (g *globals) colour(w io.Writer) bool {
	return !g.NoColor && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)
}

// isTerminal reports whether w may be a terminal. It says so of other character
// devices too: what is escaped for /dev/null harms nobody.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
