// Package peers knows who is at the other end of a connection, whether the
// config lets it send, and how many connections it has. Every input that listens
// shares it. It says what a peer is by what the kernel says, never by what the peer
// does; loopback and unix peers may always send, and have no limit of their own.
package peers

import (
	"net"
	"net/netip"
	"sync"
)

// PerAddress is how many connections one address may have; loopback is exempt,
// as every container of a host has one.
const PerAddress = 256

// Peer is who sends.
type Peer struct {
	Text  []byte     // for Record.Peer: the address without port, or "unix", with the uid where known
	Host  []byte     // what Record.Host is filled with where the sender named none
	Addr  netip.Addr // invalid for unix
	Local bool       // loopback or unix
}

// Peers decides who may send, and counts who is connected. It is safe for
// concurrent use.
type Peers struct {
	allow []netip.Prefix // empty: everybody
	agent []byte
	total int

	mu   sync.Mutex // guards open, of
	open int
	of   map[netip.Addr]int
}

// New returns a Peers for the networks of allow, all if there are none, and at
// most total connections. agent is the agent's name, which is the host of peers
// on this machine.
func New(allow []string, total int, agent string) (*Peers, error) {
	p := &Peers{agent: []byte(agent), total: total, of: map[netip.Addr]int{}}
	for _, s := range allow {
		network, err := ParseNetwork(s)
		if err != nil {
			return nil, err
		}
		p.allow = append(p.allow, network)
	}
	return p, nil
}

// ParseNetwork reads a network, or one address as the network of it alone.
func ParseNetwork(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// At returns the peer at an address.
func (p *Peers) At(addr netip.Addr) *Peer {
	addr = addr.Unmap().WithZone("")
	who := &Peer{Text: []byte(addr.String()), Addr: addr, Local: addr.IsLoopback()}
	who.Host = who.Text
	if who.Local {
		who.Host = p.agent
	}
	return who
}

// Unix returns a peer on this host; text is "unix", with the uid where known.
func (p *Peers) Unix(text string) *Peer {
	return &Peer{Text: []byte(text), Host: p.agent, Local: true}
}

// Of returns the peer of a connection.
func (p *Peers) Of(c net.Conn) *Peer {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return p.At(a.AddrPort().Addr())
	}
	return p.Unix(unixPeer(c))
}

// Allowed reports whether the peer may send.
func (p *Peers) Allowed(who *Peer) bool {
	if who.Local || len(p.allow) == 0 {
		return true
	}
	for _, network := range p.allow {
		if network.Contains(who.Addr) {
			return true
		}
	}
	return false
}

// Limit is why a connection was refused.
type Limit uint8

// What Enter returns.
const (
	Within      Limit = iota // it was counted, and wants Leave
	OverTotal                // there are as many connections as there may be
	OverAddress              // its address has PerAddress of them
)

// Enter counts one more connection of who, unless that is too many.
func (p *Peers) Enter(who *Peer) Limit {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open >= p.total {
		return OverTotal
	}
	if !who.Local {
		if p.of[who.Addr] >= PerAddress {
			return OverAddress
		}
		p.of[who.Addr]++
	}
	p.open++
	return Within
}

// Leave undoes Enter.
func (p *Peers) Leave(who *Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	if who.Local {
		return
	}
	if p.of[who.Addr]--; p.of[who.Addr] == 0 {
		delete(p.of, who.Addr)
	}
}
