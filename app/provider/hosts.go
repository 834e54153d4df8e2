package provider

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// hosts are the operator's servers at which a leaked password may be tried. The
// text that was scanned may only choose among them: a password is never shown to a
// server that a stranger names.
type hosts struct {
	allowed []allowedHost
	roots   *x509.CertPool // of their certificates; the system's when nil
}

// An allowedHost is one of them, or all addresses of a network.
type allowedHost struct {
	name     string // in lower case, without the root's dot; empty for a network
	network  netip.Prefix
	port     string // the protocol's own when empty
	insecure bool   // it need not prove who it is by a certificate
}

const notAllowed = "host not allowed by the operator: name it in STANCH_VERIFY_HOSTS if it is yours"

// parseHosts reads the operator's list; see Config.VerifyHosts.
func parseHosts(list []string, roots *x509.CertPool) (hosts, error) {
	all := hosts{roots: roots}
	for n, entry := range list {
		h, err := parseHost(strings.TrimSpace(entry))
		if err != nil {
			return hosts{}, fmt.Errorf("host %d of STANCH_VERIFY_HOSTS: %w", n+1, err) // not quoted: it may hold a password
		}
		all.allowed = append(all.allowed, h)
	}
	return all, nil
}

var errHost = errors.New("write NAME, NAME:PORT or a network such as 10.0.0.0/8, with insecure:// before it if it need not prove who it is")

func parseHost(entry string) (h allowedHost, err error) {
	entry, h.insecure = strings.CutPrefix(entry, "insecure://")
	if strings.Contains(entry, "/") {
		if h.network, err = netip.ParsePrefix(entry); err != nil {
			return h, errHost
		}
		return h, nil
	}
	h.name, h.port = splitPort(entry)
	h.name = canonical(h.name)
	if h.name == "" || strings.ContainsAny(h.name, "@?#*,[] ") {
		return h, errHost
	}
	if _, err := strconv.ParseUint(h.port, 10, 16); h.port != "" && err != nil {
		return h, errors.New("the port is not a number below 65536")
	}
	return h, nil
}

// splitPort splits NAME, NAME:PORT, [ADDRESS]:PORT or an address of IPv6.
func splitPort(text string) (name, port string) {
	if name, port, err := net.SplitHostPort(text); err == nil {
		return name, port
	}
	return strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"), ""
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// An endpoint is an allowed server.
type endpoint struct {
	name, port string
	insecure   bool
	roots      *x509.CertPool
}

func (e endpoint) address() string { return net.JoinHostPort(e.name, e.port) }

// tls is how the server proves who it is, if it must.
func (e endpoint) tls() *tls.Config {
	return &tls.Config{ServerName: e.name, RootCAs: e.roots, MinVersion: tls.VersionTLS12, InsecureSkipVerify: e.insecure}
}

// find returns the first of the servers in text, separated by commas, that the
// operator allows.
func (h hosts) find(text, defaultPort string) (endpoint, bool) {
	for one := range strings.SplitSeq(text, ",") {
		name, port := splitPort(one)
		if port == "" {
			port = defaultPort
		}
		for _, allowed := range h.allowed {
			if allowed.covers(canonical(name), port, defaultPort) {
				return endpoint{name: canonical(name), port: port, insecure: allowed.insecure, roots: h.roots}, true
			}
		}
	}
	return endpoint{}, false
}

func (a allowedHost) covers(name, port, defaultPort string) bool {
	if port != a.port && (a.port != "" || port != defaultPort) {
		return false
	}
	if a.name != "" {
		return name == a.name
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && a.network.Contains(addr.Unmap().WithZone(""))
}
