package syslog

import (
	"net"
	"net/netip"
	"sync"
)

// perAddress is how many connections one address may have; loopback is exempt,
// as every container of a host has one.
const perAddress = 256

// peer is who sends.
type peer struct {
	text  []byte     // for Record.Peer: the address without port, or "unix"
	host  []byte     // what Host is filled with where the sender named none
	addr  netip.Addr // invalid for unix
	local bool       // loopback or unix
	share *share     // what it may send; nil: all
}

// peers decides who may send, and counts who is connected.
type peers struct {
	allow []netip.Prefix // empty: everybody
	agent []byte         // the agent's name
	total int
	rates *rates

	mu   sync.Mutex // guards open, of
	open int
	of   map[netip.Addr]int
}

func newPeers(o *Options, agent string) (*peers, error) {
	p := &peers{agent: []byte(agent), total: o.MaxConnections, rates: newRates(o.Rate), of: map[netip.Addr]int{}}
	for _, s := range o.Allow {
		network, err := parseNetwork(s)
		if err != nil {
			return nil, err
		}
		p.allow = append(p.allow, network)
	}
	return p, nil
}

// at returns the peer at an address.
func (p *peers) at(addr netip.Addr) *peer {
	addr = addr.Unmap().WithZone("")
	who := &peer{text: []byte(addr.String()), addr: addr, local: addr.IsLoopback()}
	who.host = who.text
	if who.local {
		who.host = p.agent
	}
	who.share = p.rates.share(addr, who.local)
	return who
}

// unix returns a peer on this host; who is "unix", with the uid where known.
func (p *peers) unix(who string) *peer {
	return &peer{text: []byte(who), host: p.agent, local: true, share: p.rates.share(netip.Addr{}, true)}
}

// of returns the peer of a connection.
func (p *peers) connected(c net.Conn) *peer {
	switch a := c.RemoteAddr().(type) {
	case *net.TCPAddr:
		return p.at(a.AddrPort().Addr())
	default:
		return p.unix(unixPeer(c))
	}
}

// allowed reports whether the peer may send.
func (p *peers) allowed(who *peer) bool {
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

// limit is why a connection was refused.
type limit uint8

const (
	withinLimits limit = iota
	overTotal
	overAddress
)

// enter counts one more connection of who, unless that is too many.
func (p *peers) enter(who *peer) limit {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open >= p.total {
		return overTotal
	}
	if !who.local {
		if p.of[who.addr] >= perAddress {
			return overAddress
		}
		p.of[who.addr]++
	}
	p.open++
	return withinLimits
}

// leave undoes enter.
func (p *peers) leave(who *peer) {
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
