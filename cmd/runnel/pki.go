package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/runnel-log/runnel/internal/pki"
)

// pkiCmd makes certificates for people who have none.
type pkiCmd struct {
	Init  pkiInitCmd  `cmd:"" help:"Make a private authority: DIR/ca.pem, which every agent gets, and DIR/ca.key, which signs. Never writes over a file."`
	Issue pkiIssueCmd `cmd:"" help:"Make a certificate and its key for one agent, good for its relay input and its relay forwarder: DIR/HOST.pem and DIR/HOST.key. Never writes over a file."`
}

// day is what certificates are measured in.
const day = 24 * time.Hour

// mostDays is more than anybody wants, and less than a time.Duration holds.
const mostDays = 36500

// pkiInitCmd makes an authority.
type pkiInitCmd struct {
	Dir  string `placeholder:"DIR" default:"pki" help:"The folder, made if it is not there."`
	Name string `placeholder:"NAME" default:"runnel" help:"What the authority is called in its certificate."`
	Days int    `placeholder:"N" default:"3650" help:"How long it is good. What it has signed ends with it."`
}

func (c pkiInitCmd) Run(g *globals) error {
	valid, err := days(c.Days)
	if err != nil {
		return err
	}
	a, err := pki.Init(c.Dir, c.Name, valid)
	if errors.Is(err, pki.ErrExists) {
		return fmt.Errorf("%w; runnel pki issue HOST --dir %s uses it, another --dir holds another authority", err, c.Dir)
	}
	if err != nil {
		return err
	}
	key := filepath.Join(c.Dir, pki.KeyFile)
	if g.Output == "json" {
		return json.NewEncoder(g.Stdout).Encode(map[string]any{"cert": a.CertFile(), "key": key, "until": a.Until().UTC()})
	}
	_, err = fmt.Fprintf(g.Stdout, `%s is the authority, until %s: copy it to every agent of the chain.
%s signs: whoever has it can speak for any agent. Leave it here, and take a copy to where your passwords are.
Next, for each agent: runnel pki issue HOST --dir %s
`, a.CertFile(), a.Until().UTC().Format(time.DateOnly), key, c.Dir)
	return err
}

// pkiIssueCmd makes a certificate.
type pkiIssueCmd struct {
	Host  string   `arg:"" help:"The agent's name, and where others connect to: a DNS name or an address."`
	Dir   string   `placeholder:"DIR" default:"pki" help:"The folder of the authority."`
	Name  []string `placeholder:"NAME,…" sep:"," help:"Another name or address that it is connected to at; may be repeated."`
	Relay bool     `help:"It stands between agents: it may pass on what others have written. Without it an agent speaks for itself alone."`
	Days  int      `placeholder:"N" default:"825" help:"How long it is good."`
}

func (c pkiIssueCmd) Run(g *globals) error {
	valid, err := days(c.Days)
	if err != nil {
		return err
	}
	a, err := pki.Open(c.Dir)
	if errors.Is(err, pki.ErrNone) {
		return usageError{fmt.Errorf("%w; runnel pki init --dir %s makes one, --dir names another folder", err, c.Dir)}
	}
	if err != nil {
		return err
	}
	i, err := a.Issue(pki.Request{Host: c.Host, Names: c.Name, Relay: c.Relay, Valid: valid})
	switch {
	case errors.Is(err, pki.ErrName):
		return usageError{fmt.Errorf("%w; write it as others connect to it: host7.example.org or 10.0.0.7", err)}
	case errors.Is(err, pki.ErrLong):
		return usageError{fmt.Errorf("--days %d: %w", c.Days, err)}
	case errors.Is(err, pki.ErrExists):
		return fmt.Errorf("%w; for a new one move it and its key away first", err)
	case err != nil:
		return err
	}
	return c.print(g, a, i)
}

func (c pkiIssueCmd) print(g *globals, a *pki.Authority, i *pki.Issued) error {
	if g.Output == "json" {
		return json.NewEncoder(g.Stdout).Encode(map[string]any{"cert": i.Cert, "key": i.Key, "ca": a.CertFile(), "names": i.Names, "relay": c.Relay, "until": i.Until.UTC()})
	}
	may := "it speaks for itself alone; with --relay it could pass on what others have written"
	if c.Relay {
		may = "it may pass on what others have written"
	}
	cert, key, ca := filepath.Base(i.Cert), filepath.Base(i.Key), filepath.Base(a.CertFile())
	_, err := fmt.Fprintf(g.Stdout, `%s and %s are for %s, until %s: %s.
Copy both and %s to the agent. In its configuration:
    an input of type relay       tls: {cert: %s, key: %s, client_ca: %s}
    a forwarder of type relay    tls: {cert: %s, key: %s, ca: %s}
`, i.Cert, i.Key, strings.Join(i.Names, ", "), i.Until.UTC().Format(time.DateOnly), may, a.CertFile(), cert, key, ca, cert, key, ca)
	return err
}

// days is a number of them as time.
func days(n int) (time.Duration, error) {
	if n < 1 || n > mostDays {
		return 0, usageError{fmt.Errorf("--days %d: write a number from 1 to %d", n, mostDays)}
	}
	return time.Duration(n) * day, nil
}
