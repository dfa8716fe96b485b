package tlsconf

import (
	"crypto/tls"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// checkEvery is how often, at most, a handshake of a server looks whether the files changed. One
// of a client always does: it comes seldom, and may be the one try after the files were replaced.
const checkEvery = time.Second

// Config reads the files and returns a configuration that reads them again
// when they have changed, looking at most once a second and only at a
// handshake. onReload is then called with nil, or with why the old files stay in
// use (once for each change); it may be nil, and must not block for long.
func (s *Server) Config(onReload func(error)) (*tls.Config, error) {
	r := &watch[*tls.Config]{files: []string{s.Cert, s.Key}, onReload: onReload, now: time.Now, every: checkEvery}
	if s.ClientCA != "" {
		r.files = append(r.files, s.ClientCA)
	}
	r.load = s.load
	if err := r.start(); err != nil {
		return nil, err
	}
	first := r.current.Clone()
	// Session tickets keep the keys of this outer configuration, so resumption
	// outlives a change of certificate.
	first.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.get(), nil }
	return first, nil
}

// load reads all files of s.
func (s *Server) load() (*tls.Config, error) {
	pair, err := loadPair(s.Cert, s.Key)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{*pair}, MinVersion: minVersion(s.MinVersion)}
	if s.ClientCA == "" {
		if s.ClientAuth == "request" || s.ClientAuth == "require" {
			return nil, fmt.Errorf("client_auth %q without client_ca", s.ClientAuth)
		}
		return c, nil
	}
	if c.ClientCAs, _, err = loadPool(s.ClientCA); err != nil {
		return nil, err
	}
	c.SessionTicketsDisabled = true // a ticket would let a client in whose authority has been removed
	switch s.ClientAuth {
	case "request":
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case "none":
	default: // fail closed
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// Config reads the files. The client's own certificate is read again when it
// has changed; the authorities are not, until the next reload of the config.
// The caller sets ServerName where the section named none, or uses tls.Dial,
// which does.
func (c *Client) Config() (*tls.Config, error) {
	t := &tls.Config{MinVersion: minVersion(c.MinVersion), ServerName: c.ServerName, InsecureSkipVerify: c.SkipVerify}
	if c.CA != "" {
		pool, _, err := loadPool(c.CA)
		if err != nil {
			return nil, err
		}
		t.RootCAs = pool
	}
	if c.Cert == "" && c.Key == "" {
		return t, nil
	}
	r := &watch[*tls.Certificate]{files: []string{c.Cert, c.Key}, now: time.Now}
	r.load = func() (*tls.Certificate, error) { return loadPair(c.Cert, c.Key) }
	if err := r.start(); err != nil {
		return nil, err
	}
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return r.get(), nil }
	return t, nil
}

// watch holds what was read from files, and reads it again when they change.
// It needs no goroutine: whoever wants the value looks.
type watch[T any] struct {
	files    []string
	load     func() (T, error)
	onReload func(error)
	now      func() time.Time
	every    time.Duration // how often it looks at most; zero: each time

	mu      sync.Mutex // guards all below; held while reading the files, so that they are read once
	current T
	stamps  []stamp
	looked  time.Time
}

// stamp is what changes when a file is replaced.
type stamp struct {
	modified time.Time
	size     int64
}

func (w *watch[T]) start() error {
	w.stamps, w.looked = stampFiles(w.files), w.now()
	var err error
	w.current, err = w.load()
	return err
}

// get returns what the files held when they last fitted together.
func (w *watch[T]) get() T {
	w.mu.Lock()
	changed, err := w.refresh()
	current := w.current
	w.mu.Unlock()
	if changed && w.onReload != nil {
		w.onReload(err)
	}
	return current
}

// refresh reads changed files; w.mu is held. A pair that is replaced one file
// after the other is bad in between: it is read again when the second changes.
func (w *watch[T]) refresh() (changed bool, err error) {
	now := w.now()
	if since := now.Sub(w.looked); since >= 0 && since < w.every {
		return false, nil
	}
	w.looked = now
	stamps := stampFiles(w.files)
	if slices.Equal(stamps, w.stamps) {
		return false, nil
	}
	w.stamps = stamps
	fresh, err := w.load()
	if err != nil {
		return true, fmt.Errorf("read changed certificate files, the old ones stay in use: %w", err)
	}
	w.current = fresh
	return true, nil
}

func stampFiles(files []string) []stamp {
	stamps := make([]stamp, len(files))
	for i, name := range files {
		if info, err := os.Stat(name); err == nil {
			stamps[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}
