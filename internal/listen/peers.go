package listen

import (
	"net"
	"net/netip"
	"sync"
)

// PerAddress is how many connections one address may have; loopback and unix
// sockets are exempt, as every program of a host comes from there.
const PerAddress = 256

// Peer is who has connected.
type Peer struct {
	Text []byte // the address without port, or "unix" with the user where it is known
	Host []byte // what to call the host where its messages name none: the agent for local peers

	addr  netip.Addr // invalid for unix
	local bool       // loopback or unix
}

// Addr is the peer's address; invalid for unix.
func (p *Peer) Addr() netip.Addr { return p.addr }

// Local reports whether the peer is on this host.
func (p *Peer) Local() bool { return p.local }

// Peers decides who may connect, and counts who is connected. It is safe for
// concurrent use.
type Peers struct {
	allow []netip.Prefix // empty: everybody
	agent []byte
	total int

	mu   sync.Mutex // guards open, of
	open int
	of   map[netip.Addr]int
}

// NewPeers returns the Peers of an input that allows these networks, all if there
// are none, and total connections. agent is this agent's name.
func NewPeers(allow []string, total int, agent string) (*Peers, error) {
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

// Of returns the peer of a connection.
func (p *Peers) Of(c net.Conn) *Peer {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return &Peer{Text: []byte(unixPeer(c)), Host: p.agent, local: true}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	who := &Peer{Text: []byte(addr.String()), addr: addr, local: addr.IsLoopback()}
	who.Host = who.Text
	if who.local {
		who.Host = p.agent
	}
	return who
}

// Refusal is why a peer may not connect.
type Refusal uint8

// The refusals.
const (
	Welcome     Refusal = iota // none: it may
	NotAllowed                 // allow does not name it
	OverTotal                  // all connections are taken
	OverAddress                // those of its address are
)

// Enter counts one more connection of who, unless it may not connect. Loopback
// and unix peers are always allowed.
func (p *Peers) Enter(who *Peer) Refusal {
	if !p.allows(who) {
		return NotAllowed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open >= p.total {
		return OverTotal
	}
	if !who.local {
		if p.of[who.addr] >= PerAddress {
			return OverAddress
		}
		p.of[who.addr]++
	}
	p.open++
	return Welcome
}

func (p *Peers) allows(who *Peer) bool {
	if who.local || len(p.allow) == 0 {
		return true
	}
	for _, network := range p.allow {
		if network.Contains(who.addr) {
			return true
		}
	}
	return false
}

// Leave undoes Enter.
func (p *Peers) Leave(who *Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	if who.local {
		return
	}
	if p.of[who.addr]--; p.of[who.addr] == 0 {
		delete(p.of, who.addr)
	}
}
