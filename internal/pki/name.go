package pki

import (
	"crypto/x509"
	"strings"
)

// NameOf returns who a certificate says its agent is: the URI does, or else the first
// DNS name, or else the common name.
func NameOf(c *x509.Certificate) string {
	for _, uri := range c.URIs {
		if name, ok := strings.CutPrefix(uri.String(), AgentURI); ok && name != "" {
			return name
		}
	}
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return c.Subject.CommonName
}
