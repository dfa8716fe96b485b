package relay

import (
	"crypto/x509"
	"slices"
	"strings"
)

// What a certificate says of its agent, as URIs among its names (`runnel pki issue`).
const (
	agentURI = "runnel://agent/" // and the name of the agent
	relayURI = "runnel://relay/" // and the same name: it may pass on what others have written
)

// identity is who a peer is, by its certificate.
type identity struct {
	name  string // empty: a peer on this host, who shows none
	relay bool   // it may pass on records of other agents
}

// identityOf reads a certificate that TLS has verified: who it is says the URI, or else
// the first DNS name, or else the common name. relays are the names that may pass on
// records of others without saying so.
func identityOf(c *x509.Certificate, relays []string) identity {
	var id identity
	relay := ""
	for _, uri := range c.URIs {
		text := uri.String()
		if name, ok := strings.CutPrefix(text, agentURI); ok && id.name == "" {
			id.name = name
		}
		if name, ok := strings.CutPrefix(text, relayURI); ok && relay == "" {
			relay = name
		}
	}
	if id.name == "" && len(c.DNSNames) > 0 {
		id.name = c.DNSNames[0]
	}
	if id.name == "" {
		id.name = c.Subject.CommonName
	}
	id.relay = id.name != "" && (relay == id.name || slices.Contains(relays, id.name))
	return id
}
