package relay

import (
	"crypto/x509"
	"slices"
	"strings"

	"github.com/runnel-log/runnel/internal/pki"
)

// identity is who a peer is, by its certificate.
type identity struct {
	name  string // empty: a peer on this host, who shows none
	relay bool   // it may pass on records of other agents
}

// identityOf reads a certificate that TLS has verified. relays are the names that may pass
// on records of others without its saying so.
func identityOf(c *x509.Certificate, relays []string) identity {
	id, relay := identity{name: pki.NameOf(c)}, ""
	for _, uri := range c.URIs {
		if name, ok := strings.CutPrefix(uri.String(), pki.RelayURI); ok && relay == "" {
			relay = name
		}
	}
	id.relay = id.name != "" && (relay == id.name || slices.Contains(relays, id.name))
	return id
}
