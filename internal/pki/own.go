package pki

import (
	"crypto/x509"
	"encoding/pem"
	"errors"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/plainfile"
	"github.com/runnel-log/runnel/internal/tiers"
)

// WarnOwn reports, at a tls section, an agent's own certificate that calls it otherwise than its
// configuration does, or that is of none of the authorities by which others are judged: those in the
// file ca, which the key trust names; empty: the system's. What cannot be read is reported elsewhere.
func WarnOwn(at *config.At, agent, cert, trust, ca string) {
	chain := read(cert)
	if len(chain) == 0 {
		return
	}
	own := chain[0]
	if name := NameOf(own); tiers.Differ(agent, name) {
		at.Key("cert").Problemf("%s is of %q, and agent.name is %q: agents above show both; write agent: {name: %s}, or issue one for %s", cert, name, agent, name, agent)
	}
	if judges := read(ca); len(judges) > 0 && !issuedBy(own, chain[1:], judges) {
		at.Key("cert").Problemf("%s is issued by %q, which is not in %s, the %s that others are judged by: right only where they have another than this agent; else issue one from there",
			cert, own.Issuer.CommonName, ca, trust)
	}
}

// WarnAlone reports, at a tls section, a certificate as `runnel pki issue` makes it that does not say that its
// agent may bring what others have written. One that says no agent's name at all is named where it is taken.
func WarnAlone(at *config.At, cert string) {
	chain := read(cert)
	if len(chain) == 0 {
		return
	}
	name, uris := NameOf(chain[0]), make(map[string]bool)
	for _, uri := range chain[0].URIs {
		uris[uri.String()] = true
	}
	if uris[AgentURI+name] && !uris[RelayURI+name] {
		at.Key("cert").Problemf("%s lets %q bring its own records alone, and a relay input takes those of others: agents above refuse them; issue one with `runnel pki issue %s --relay`, or write relays: [%s] at their inputs",
			cert, name, name, name)
	}
}

// issuedBy reports whether a certificate is of one of the authorities, whatever their dates.
func issuedBy(own *x509.Certificate, between, authorities []*x509.Certificate) bool {
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: own.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range between {
		o.Intermediates.AddCert(c)
	}
	for _, c := range authorities {
		o.Roots.AddCert(c)
	}
	_, err := own.Verify(o)
	return !errors.As(err, new(x509.UnknownAuthorityError))
}

// read returns the certificates of a PEM file that can be read.
func read(file string) (all []*x509.Certificate) {
	if file == "" {
		return nil
	}
	text, err := plainfile.Read(file, maxFile)
	if err != nil {
		return nil
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, c)
		}
	}
}
