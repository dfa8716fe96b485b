package listen

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Address is a place to listen at, taken apart.
type Address struct {
	Scheme string      // tcp, tls, udp, unix or unixgram
	Host   string      // a name, an IP address without brackets, or empty for everywhere
	Port   int         // 0: any free port
	Path   string      // of a unix or unixgram socket
	Mode   os.FileMode // permissions of a unix socket's file (?mode=0660); 0: the default, DefaultMode
}

// DefaultMode is the mode of a unix socket whose address names none: its user
// and group may connect.
const DefaultMode os.FileMode = 0o660

// maxPath is what fits into sockaddr_un.sun_path on Linux and, less four, on
// the BSDs, with its closing NUL.
const maxPath = 103

// Usual is what an address is likely to be, for errors to suggest. The zero value is
// syslog's.
type Usual struct {
	Scheme string // to write where there is none; empty: tcp or udp
	Port   int    // likewise; 0: 514
	To     bool   // the address is sent to, so that it needs a host
}

// Parse takes a URL apart: tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT,
// unix://PATH or unixgram://PATH, the last two with ?mode=0660 after the path
// where wanted. An empty HOST means everywhere. The error says what to write.
func Parse(url string) (Address, error) { return Usual{}.Parse(url) }

// Parse is the function of that name; its errors suggest what is usual.
func (u Usual) Parse(url string) (Address, error) {
	scheme, rest, found := strings.Cut(url, "://")
	if !found {
		return Address{}, u.noScheme(url)
	}
	switch scheme {
	case "tcp", "tls", "udp":
		return u.parseHostPort(url, scheme, rest)
	case "unix", "unixgram":
		return parsePath(url, scheme, rest)
	}
	if u.Scheme != "" {
		return Address{}, fmt.Errorf("%q has the unknown scheme %q; write %q", url, scheme, u.Scheme+"://"+rest)
	}
	return Address{}, fmt.Errorf("%q has the unknown scheme %q; use one of tcp, tls, udp, unix, unixgram", url, scheme)
}

// noScheme guesses what was meant by an address without "://".
func (u Usual) noScheme(url string) error {
	scheme, rest, found := strings.Cut(url, ":")
	switch {
	case found && (scheme == "tcp" || scheme == "tls" || scheme == "udp"):
		if isPort(rest) {
			return fmt.Errorf("%q has no host part; write %s", url, u.everywhere(scheme, rest))
		}
		return fmt.Errorf("%q has no \"//\"; write %q", url, scheme+"://"+strings.TrimLeft(rest, "/"))
	case found && (scheme == "unix" || scheme == "unixgram"):
		return fmt.Errorf("%q has no \"//\"; write %q", url, scheme+"://"+rest)
	case strings.HasPrefix(url, "/") && u.Scheme != "":
		return fmt.Errorf("%q has no scheme; write %q", url, "unix://"+url)
	case strings.HasPrefix(url, "/"):
		return fmt.Errorf("%q has no scheme; write %q or %q", url, "unix://"+url, "unixgram://"+url)
	case isPort(url):
		return fmt.Errorf("%q has no scheme; write %s", url, u.everywhere(cmp.Or(u.Scheme, "udp"), url))
	case url == "":
		return fmt.Errorf("the address is empty; write one such as %q", cmp.Or(u.Scheme, "tcp")+"://127.0.0.1:"+u.port())
	case u.Scheme != "" && !strings.Contains(url, ":"):
		return fmt.Errorf("%q has no scheme and no port; write %q", url, u.Scheme+"://"+url+":"+u.port())
	case u.Scheme != "":
		return fmt.Errorf("%q has no scheme; write %q", url, u.Scheme+"://"+url)
	}
	return fmt.Errorf("%q has no scheme; write %q or %q", url, "tcp://"+url, "udp://"+url)
}

// everywhere is what to write where there is a port alone.
func (u Usual) everywhere(scheme, port string) string {
	if u.To {
		return strconv.Quote(scheme + "://HOST:" + port)
	}
	return strconv.Quote(scheme+"://:"+port) + " to listen everywhere"
}

func (u Usual) port() string { return strconv.Itoa(cmp.Or(u.Port, 514)) }

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func (u Usual) parseHostPort(url, scheme, rest string) (Address, error) {
	if at := strings.IndexAny(rest, "/?#@"); at >= 0 {
		return Address{}, fmt.Errorf("%q has %q after the host; write only host and port, as in %q",
			url, rest[at:], scheme+"://127.0.0.1:"+u.port())
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		bare := strings.Trim(rest, "[]")
		if ip, bad := netip.ParseAddr(bare); bad == nil && ip.Is6() {
			return Address{}, fmt.Errorf("%q has no port; write %q", url, scheme+"://["+bare+"]:"+u.port())
		}
		if isPort(rest) {
			return Address{}, fmt.Errorf("%q has no host part; write %s", url, u.everywhere(scheme, rest))
		}
		if strings.Count(rest, ":") > 1 {
			return Address{}, fmt.Errorf("%q has colons in its host; write an IPv6 address in brackets, as in %q",
				url, scheme+"://[::1]:"+u.port())
		}
		return Address{}, fmt.Errorf("%q has no port; write %q", url, scheme+"://"+rest+":"+u.port())
	}
	if host == "*" {
		return Address{}, fmt.Errorf("%q has the host \"*\"; write %s", url, u.everywhere(scheme, port))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Address{}, fmt.Errorf("%q has the port %q; write a number from 0 to 65535", url, port)
	}
	return Address{Scheme: scheme, Host: host, Port: int(n)}, nil
}

func parsePath(url, scheme, rest string) (Address, error) {
	path, query, asked := strings.Cut(rest, "?")
	a := Address{Scheme: scheme, Path: path}
	if path == "" {
		return Address{}, fmt.Errorf("%q has no path; write %q", url, scheme+":///run/runnel/log.sock")
	}
	if len(path) > maxPath {
		return Address{}, fmt.Errorf("%q has a path of %d bytes; the kernel takes %d", url, len(path), maxPath)
	}
	if strings.ContainsRune(path, 0) {
		return Address{}, fmt.Errorf("%q has a NUL in its path", url)
	}
	if asked {
		octal, ok := strings.CutPrefix(query, "mode=")
		mode, err := strconv.ParseUint(octal, 8, 32)
		if !ok || err != nil || mode == 0 || mode > 0o777 {
			return Address{}, fmt.Errorf("%q has %q after the path; write only a mode, as in %q", url, "?"+query,
				scheme+"://"+path+"?mode=0660")
		}
		a.Mode = os.FileMode(mode)
	}
	return a, nil
}

// String returns the address as a URL that Parse reads.
func (a Address) String() string {
	if a.IsUnix() {
		s := a.Scheme + "://" + a.Path
		if a.Mode != 0 {
			s += fmt.Sprintf("?mode=%04o", a.Mode)
		}
		return s
	}
	return a.Scheme + "://" + a.hostPort()
}

// IsUnix reports whether the address is a socket file.
func (a Address) IsUnix() bool { return a.Scheme == "unix" || a.Scheme == "unixgram" }

// IsPacket reports whether the address takes datagrams.
func (a Address) IsPacket() bool { return a.Scheme == "udp" || a.Scheme == "unixgram" }

// IsLocal reports whether only this host can reach the address: a socket file,
// or a loopback address.
func (a Address) IsLocal() bool {
	if a.IsUnix() || a.Host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (a Address) hostPort() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// network returns the word for package net. An IPv4 address listens for IPv4
// alone: package net would make 0.0.0.0 mean IPv6 too.
func (a Address) network() string {
	family := ""
	if ip, err := netip.ParseAddr(a.Host); err == nil && ip.Is4() {
		family = "4"
	}
	switch a.Scheme {
	case "tls", "tcp":
		return "tcp" + family
	case "udp":
		return "udp" + family
	}
	return a.Scheme
}

// Key names the socket, whatever is spoken on it: two URLs with one key cannot
// be open at once. tls and tcp are one, unless each takes a free port of its
// own, and so are two modes of one file.
func (a Address) Key() string {
	a.Mode = 0
	if a.Scheme == "tls" && a.Port != 0 {
		a.Scheme = "tcp"
	}
	return a.String()
}
