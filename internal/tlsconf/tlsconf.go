// Package tlsconf turns the tls sections of the config into crypto/tls
// configurations. It hides reading, checking and re-reading of certificate
// files: one that has been replaced is served from the next handshake on, and a
// pair that does not fit leaves the old one in place. Certificates are verified
// by crypto/x509 alone, and no TLS below 1.2 is ever spoken.
package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/plainfile"
)

// Server is the tls section of whatever listens.
type Server struct {
	Cert       string `yaml:"cert" required:"true"`                     // PEM file: the certificate, then its chain
	Key        string `yaml:"key" required:"true"`                      // PEM file
	ClientCA   string `yaml:"client_ca"`                                // PEM file of the authorities that clients' certificates come from
	ClientAuth string `yaml:"client_auth" oneof:"none request require"` // empty: require with a ClientCA, none without
	MinVersion string `yaml:"min_version" oneof:"1.2 1.3"`              // empty: 1.2
}

// Client is the tls section of whatever connects. The zero value trusts the
// system's authorities.
type Client struct {
	CA         string `yaml:"ca"`                          // PEM file of the authorities to trust instead of the system's
	Cert       string `yaml:"cert"`                        // PEM file; with Key, what to show to a server that asks
	Key        string `yaml:"key"`                         // PEM file
	ServerName string `yaml:"server_name"`                 // name in the server's certificate; empty: the host connected to
	SkipVerify bool   `yaml:"insecure_skip_verify"`        // take any server for the right one
	MinVersion string `yaml:"min_version" oneof:"1.2 1.3"` // empty: 1.2
}

// Check reports files that do not exist, do not parse or do not belong together,
// and settings that contradict each other. What is out of date is not among that: DatesOf
// has it. It makes the paths relative to the config file's folder absolute.
func (s *Server) Check(at *config.At) {
	if s.Cert != "" && s.Key != "" {
		s.Cert, s.Key = at.File(s.Cert), at.File(s.Key)
		checkPair(at, s.Cert, s.Key)
	}
	if s.ClientCA != "" {
		s.ClientCA = at.File(s.ClientCA)
		checkPool(at.Key("client_ca"), s.ClientCA)
	}
	switch {
	case s.ClientCA == "" && (s.ClientAuth == "request" || s.ClientAuth == "require"):
		at.Key("client_auth").Problemf("%q needs client_ca: the authorities whose certificates are good", s.ClientAuth)
	case s.ClientCA != "" && s.ClientAuth == "none":
		at.Key("client_auth").Problemf("\"none\" leaves client_ca unused; write require, or remove client_ca")
	}
}

// Check is as Server's.
func (c *Client) Check(at *config.At) {
	switch {
	case c.Cert != "" && c.Key != "":
		c.Cert, c.Key = at.File(c.Cert), at.File(c.Key)
		checkPair(at, c.Cert, c.Key)
	case c.Cert != "":
		at.Key("cert").Problemf("needs its key as well; write key: FILE")
	case c.Key != "":
		at.Key("key").Problemf("needs its certificate as well; write cert: FILE")
	}
	if c.CA != "" {
		c.CA = at.File(c.CA)
		checkPool(at.Key("ca"), c.CA)
	}
	if c.SkipVerify && (c.CA != "" || c.ServerName != "") {
		at.Key("insecure_skip_verify").Problemf("takes any server, so ca and server_name mean nothing; remove it or them")
	}
}

func checkPair(at *config.At, cert, key string) {
	_, err := loadPair(cert, key)
	var bad *keyError
	switch {
	case errors.As(err, &bad):
		unusable(at.Key("key"), err)
	case err != nil:
		unusable(at.Key("cert"), err)
	}
}

// unusable reports a file that cannot be used.
func unusable(at *config.At, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		at.MissingFile(err)
		return
	}
	at.Problemf("%v", err)
}

func checkPool(at *config.At, file string) {
	if _, _, err := loadPool(file); err != nil {
		unusable(at, err)
	}
}

// keyError is an error of the key's file rather than the certificate's.
type keyError struct{ error }

func (e *keyError) Unwrap() error { return e.error }

// loadPair reads a certificate with its chain, and the key that belongs to it.
func loadPair(cert, key string) (*tls.Certificate, error) {
	certPEM, err := readFile(cert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile(key)
	if err != nil {
		return nil, &keyError{err}
	}
	if _, err := certificates(cert, certPEM); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, &keyError{explainKey(cert, key, keyPEM, err)}
	}
	return &pair, nil
}

// explainKey says what is wrong with a key whose certificate is readable.
func explainKey(cert, key string, keyPEM []byte, err error) error {
	for rest := keyPEM; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return fmt.Errorf("%s holds no private key in PEM form", key)
		}
		switch block.Type {
		case "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return fmt.Errorf("%s is encrypted; store it decrypted, with mode 0600", key)
			}
			if strings.Contains(err.Error(), "does not match") {
				return fmt.Errorf("%s is not the key of %s", key, cert)
			}
			return fmt.Errorf("%s: %w", key, err)
		case "ENCRYPTED PRIVATE KEY":
			return fmt.Errorf("%s is encrypted; store it decrypted, with mode 0600", key)
		}
	}
}

// readFile names the file once in its error, and the reason.
func readFile(name string) ([]byte, error) {
	b, err := plainfile.Read(name, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// maxPEM is more than a bundle of every authority there is.
const maxPEM = 8 << 20

// certificates parses every certificate of a PEM file; there is at least one.
func certificates(file string, text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return all, nil
}

// loadPool reads a file of authorities.
func loadPool(file string) (*x509.CertPool, []*x509.Certificate, error) {
	text, err := readFile(file)
	if err != nil {
		return nil, nil, err
	}
	all, err := certificates(file, text)
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range all {
		pool.AddCert(c)
	}
	return pool, all, nil
}

// day is how a certificate's dates are written.
const day = "2006-01-02 15:04 MST"

// inDate returns an error if c is not valid now.
func inDate(file string, c *x509.Certificate, now time.Time) error {
	if now.After(c.NotAfter) {
		return fmt.Errorf("%s expired on %s (%s); renew it", file, c.NotAfter.UTC().Format(day), c.Subject)
	}
	if now.Before(c.NotBefore) {
		return fmt.Errorf("%s is valid only from %s on (%s); check this host's clock", file, c.NotBefore.UTC().Format(day), c.Subject)
	}
	return nil
}

func minVersion(word string) uint16 {
	if word == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}
