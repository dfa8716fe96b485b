package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxNames is how much is said of the names in a stranger's certificate, in bytes.
const maxNames = 200

// OfPeer adds to the error of a handshake whose certificate it was that did not verify.
func OfPeer(err error) error {
	var bad *tls.CertificateVerificationError
	if !errors.As(err, &bad) || len(bad.UnverifiedCertificates) == 0 {
		return err
	}
	return fmt.Errorf("%w; it showed the certificate of %s", err, names(bad.UnverifiedCertificates[0]))
}

// names says whom a certificate is for, and who says so.
func names(c *x509.Certificate) string {
	all := make([]string, 0, 1+len(c.URIs)+len(c.DNSNames))
	if c.Subject.CommonName != "" {
		all = append(all, c.Subject.CommonName)
	}
	for _, uri := range c.URIs {
		all = append(all, uri.String())
	}
	all = append(all, c.DNSNames...)
	text := strings.Join(all, ", ")
	return fmt.Sprintf("%q, issued by %q", text[:min(len(text), maxNames)], c.Issuer.CommonName[:min(len(c.Issuer.CommonName), maxNames)])
}

// OfOwn adds to the error of a connection, where it is the peer's refusal of our certificate, which
// that is. c is as Client.Config has made it of a section with the given file.
func OfOwn(err error, file string, c *tls.Config) error {
	text := err.Error()
	// Package tls has no type for what the peer says.
	if _, alert, ok := strings.Cut(text, "remote error: tls: "); !ok || !strings.Contains(alert, "certificate") {
		return err
	}
	if file == "" || c.GetClientCertificate == nil {
		return fmt.Errorf("%w: the receiver says so of this agent, which shows none; write tls.cert and tls.key", err)
	}
	pair, bad := c.GetClientCertificate(nil)
	if bad != nil || pair.Leaf == nil {
		return fmt.Errorf("%w: the receiver says so of this agent's certificate, %s", err, file)
	}
	if bad := inDate(file, pair.Leaf, time.Now()); bad != nil {
		return fmt.Errorf("%w: the receiver says so of this agent's own certificate: %w", err, bad)
	}
	return fmt.Errorf("%w: the receiver says so of this agent's own certificate, %s, of %s, valid until %s; the receiver's client_ca must have that authority",
		err, file, names(pair.Leaf), pair.Leaf.NotAfter.UTC().Format(day))
}
