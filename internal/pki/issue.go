package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// What a certificate says of its agent, as URIs among its names.
const (
	AgentURI = "runnel://agent/" // and the agent's name: who it is
	RelayURI = "runnel://relay/" // and the same: it may bring what others have written
)

// Request is what a certificate is to say.
type Request struct {
	Host  string   // the agent's name, and where others connect to: a DNS name or an address
	Names []string // more of the latter
	Relay bool     // it stands between agents, and passes on what others have written
	Valid time.Duration
}

// Issued is a certificate with its key, in files.
type Issued struct {
	Cert, Key string
	Names     []string // where it may be connected to
	Until     time.Time
}

// Errors of what was asked for.
var (
	ErrName = errors.New("neither a DNS name nor an address")
	ErrLong = errors.New("longer than the authority lasts")
)

// Issue makes a certificate for a server and a client at once, and its key. Files that
// are there already stay as they are, and the error is ErrExists.
func (a *Authority) Issue(r Request) (*Issued, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial(), NotBefore: now.Add(-early), NotAfter: now.Add(r.Valid).Truncate(time.Second),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if len(r.Host) <= maxCommonName {
		template.Subject = pkix.Name{CommonName: r.Host} // for who looks; what counts are the names below
	}
	if err := a.within(template); err != nil {
		return nil, err
	}
	names := slices.Concat([]string{r.Host}, r.Names)
	if err := addNames(template, names); err != nil {
		return nil, err
	}
	template.URIs = []*url.URL{{Scheme: "runnel", Host: "agent", Path: "/" + r.Host}}
	if r.Relay {
		template.URIs = append(template.URIs, &url.URL{Scheme: "runnel", Host: "relay", Path: "/" + r.Host})
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	i := &Issued{Cert: filepath.Join(a.dir, r.Host+".pem"), Key: filepath.Join(a.dir, r.Host+".key"), Names: names, Until: template.NotAfter}
	return i, writePair(i.Cert, i.Key, der, key)
}

// maxCommonName is what a common name may have (RFC 5280 appendix A.1).
const maxCommonName = 64

// within holds the time that a certificate is good against the authority's.
func (a *Authority) within(c *x509.Certificate) error {
	const day = "2006-01-02"
	left := time.Until(a.cert.NotAfter)
	switch {
	case left <= 0:
		return fmt.Errorf("%w: it ended on %s; make another in a folder of its own, and give both to every agent", ErrLong, a.cert.NotAfter.UTC().Format(day))
	case c.NotAfter.After(a.cert.NotAfter):
		return fmt.Errorf("%w: it ends on %s, in %d days", ErrLong, a.cert.NotAfter.UTC().Format(day), left/(24*time.Hour))
	}
	return nil
}

// label is a part of a DNS name.
var label = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// addNames adds what a server may be connected to as.
func addNames(c *x509.Certificate, names []string) error {
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
			continue
		}
		parts := strings.Split(name, ".")
		wrong := func(part string) bool { return !label.MatchString(part) }
		if len(name) > 253 || slices.ContainsFunc(parts, wrong) || strings.Trim(parts[len(parts)-1], "0123456789") == "" {
			return fmt.Errorf("%q is %w", name, ErrName)
		}
		c.DNSNames = append(c.DNSNames, name)
	}
	return nil
}
