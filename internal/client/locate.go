package client

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/runnel-log/runnel/internal/config"
)

// DefaultAPI is where an agent listens that was told nothing else.
const DefaultAPI = "http://127.0.0.1:4780"

// Location is where an agent answers and what it wants to be shown.
type Location struct {
	API   string // http://…, https://… or unix:///path
	Token string // empty: none was found
	From  string // where the token came from, or why there is none; for errors
}

// Flags are what the user said of where the agent is; all may be empty.
type Flags struct {
	Config    string // the configuration file
	API       string
	TokenFile string
}

// Locate finds the agent: its address from the flags, the configuration that
// an agent started here would read, or the default; the token from --token-file, $RUNNEL_TOKEN,
// the configuration or DATA/token. The last two are this host's own, so they are used
// for an address on this host only. Of the configuration it reads just these keys: a
// mistake elsewhere in it must not keep anybody from asking the agent about it.
func Locate(f Flags) (Location, error) {
	local, err := readConfig(f.Config)
	if err != nil {
		return Location{}, err
	}
	at := Location{API: f.API}
	if at.API == "" {
		at.API = local.api
	}
	switch {
	case f.TokenFile != "":
		at.From = f.TokenFile
		at.Token, err = readToken(f.TokenFile)
		return at, err
	case os.Getenv("RUNNEL_TOKEN") != "":
		at.Token, at.From = os.Getenv("RUNNEL_TOKEN"), "$RUNNEL_TOKEN"
		return at, nil
	case at.API != local.api && !at.isHere():
		at.From = "no token was given for it; give one with --token-file or $RUNNEL_TOKEN"
		return at, nil
	}
	if local.env != "" {
		at.Token, at.From = os.Getenv(local.env), "$"+local.env
		return at, nil
	}
	at.From = local.token
	if at.Token, err = readToken(local.token); err != nil {
		// The agent may be open, or the user may be about to hear of the token.
		at.From = err.Error()
	}
	return at, nil
}

// isHere reports whether the address is on this machine.
func (l Location) isHere() bool {
	if strings.HasPrefix(l.API, "unix://") {
		return true
	}
	_, rest, _ := strings.Cut(l.API, "://")
	host, _, err := net.SplitHostPort(strings.TrimSuffix(rest, "/"))
	return err == nil && isLocal(host)
}

// unlettered says why the agent did not let us in and what to do.
func (l Location) unlettered() string {
	if l.Token == "" {
		return fmt.Sprintf("%s wants a token and none was found (%s); give one with --token-file or $RUNNEL_TOKEN", l.API, l.From)
	}
	return fmt.Sprintf("%s does not accept the token from %s; give the right one with --token-file or $RUNNEL_TOKEN", l.API, l.From)
}

func readToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("token: %s is empty", path)
	}
	return token, nil
}

// local is what a configuration says of the API.
type local struct {
	api   string
	token string // a file
	env   string // a variable, instead of the file
}

// configuredData is the data directory of a configuration that names none; a
// test of the config room holds it to this.
const configuredData = "/var/lib/runnel"

// readConfig reads where the API is and where its token, from path or from where run
// looks for a configuration, or takes the defaults.
func readConfig(path string) (local, error) {
	data := os.Getenv("RUNNEL_DATA")
	if data == "" {
		data = "runnel-data"
	}
	found := local{api: DefaultAPI, token: filepath.Join(data, "token")}
	named := path != ""
	for _, p := range []string{"runnel.yaml", "/etc/runnel/runnel.yaml"} {
		if _, err := os.Stat(p); path == "" && err == nil {
			path = p
		}
	}
	if path == "" {
		return found, nil
	}
	root, problems := config.ParseFile(path)
	if root == nil {
		if _, err := os.Stat(path); named && errors.Is(err, fs.ErrNotExist) {
			return found, fmt.Errorf("config: %w", err)
		}
		if named {
			return found, problems
		}
		return found, nil
	}
	found.token = filepath.Join(configuredData, "token")
	found.read(root, filepath.Dir(path))
	return found, nil
}

// read takes what root says; names of files are relative to dir.
func (l *local) read(root *config.Node, dir string) {
	api := root.Key("api")
	if listen := text(api.Key("listen")); strings.HasPrefix(listen, "unix://") {
		l.api = listen
	} else if host, port, err := net.SplitHostPort(listen); err == nil {
		scheme := "http"
		if api.Key("tls") != nil {
			scheme = "https"
		}
		if host == "" || host == "0.0.0.0" || host == "::" {
			host = "127.0.0.1"
		}
		l.api = scheme + "://" + net.JoinHostPort(host, port)
	}
	l.env = text(api.Key("token").Key("env"))
	if file := text(api.Key("token").Key("file")); file != "" {
		l.token = under(dir, file)
	} else if data := text(root.Key("agent").Key("data_dir")); data != "" {
		l.token = filepath.Join(under(dir, data), "token")
	}
}

func under(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// text returns a scalar's text; "" for what is absent or something else.
func text(n *config.Node) string {
	if n == nil {
		return ""
	}
	s, _ := n.Text()
	return s
}
