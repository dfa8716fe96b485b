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

// OfOwn adds to the error of a client's connection, where it is the receiver's refusal of our certificate, which
// that is. c is as Client.Config has made it of a section with the given file.
func OfOwn(err error, file string, c *tls.Config) error {
	switch {
	case !isRefusal(err):
		return err
	case file == "" || c.GetClientCertificate == nil:
		return fmt.Errorf("%w: the receiver says so of this agent, which shows none; write tls.cert and tls.key", err)
	}
	pair, bad := c.GetClientCertificate(nil)
	if bad != nil {
		pair = new(tls.Certificate)
	}
	return ofOwn(err, "the receiver", file, pair.Leaf, "the receiver's client_ca must have that authority")
}

// OfServed is OfOwn at the other end: of the sender's refusal. c is as Server.Config has made it.
func OfServed(err error, file string, c *tls.Config) error {
	if !isRefusal(err) || c.GetConfigForClient == nil {
		return err
	}
	var shown *x509.Certificate
	if now, bad := c.GetConfigForClient(nil); bad == nil && len(now.Certificates) > 0 {
		shown = now.Certificates[0].Leaf
	}
	return ofOwn(err, "the sender", file, shown, "the sender's ca must have that authority, and the certificate the name that it connects to")
}

// isRefusal reports whether an error is what the peer says of our certificate: package tls has no type for that.
func isRefusal(err error) bool {
	_, alert, ok := strings.Cut(err.Error(), "remote error: tls: ")
	return ok && strings.Contains(alert, "certificate")
}

func ofOwn(err error, peer, file string, shown *x509.Certificate, must string) error {
	if shown == nil {
		return fmt.Errorf("%w: %s says so of this agent's certificate, %s", err, peer, file)
	}
	if bad := inDate(file, shown, time.Now()); bad != nil {
		return fmt.Errorf("%w: %s says so of this agent's own certificate: %w", err, peer, bad)
	}
	return fmt.Errorf("%w: %s says so of this agent's own certificate, %s, of %s, valid until %s; %s",
		err, peer, file, names(shown), shown.NotAfter.UTC().Format(day), must)
}
