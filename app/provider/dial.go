package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// errPrivateAddress means that a name of the catalogue led to an address that is
// not on the public internet.
var errPrivateAddress = errors.New("the address is not public")

// publicSpace is where public IPv6 addresses are; all else is loopback, local,
// multicast, a translation prefix or unassigned.
// https://www.iana.org/assignments/ipv6-address-space
var publicSpace = netip.MustParsePrefix("2000::/3")

// specialRanges are the addresses that no provider has, from
// https://www.iana.org/assignments/iana-ipv4-special-registry and
// https://www.iana.org/assignments/iana-ipv6-special-registry. The metadata
// services of the clouds are among them, save Azure's, which has a public address.
var specialRanges = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),        // this network
	netip.MustParsePrefix("10.0.0.0/8"),       // private
	netip.MustParsePrefix("100.64.0.0/10"),    // carrier-grade NAT; Alibaba's metadata
	netip.MustParsePrefix("127.0.0.0/8"),      // loopback
	netip.MustParsePrefix("168.63.129.16/32"), // Azure's metadata and health
	netip.MustParsePrefix("169.254.0.0/16"),   // link-local; metadata of most clouds
	netip.MustParsePrefix("172.16.0.0/12"),    // private
	netip.MustParsePrefix("192.0.0.0/24"),     // protocol assignments; Oracle's metadata
	netip.MustParsePrefix("192.0.2.0/24"),     // documentation
	netip.MustParsePrefix("192.88.99.0/24"),   // 6to4 relays
	netip.MustParsePrefix("192.168.0.0/16"),   // private
	netip.MustParsePrefix("198.18.0.0/15"),    // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"),  // documentation
	netip.MustParsePrefix("203.0.113.0/24"),   // documentation
	netip.MustParsePrefix("224.0.0.0/4"),      // multicast
	netip.MustParsePrefix("240.0.0.0/4"),      // reserved; broadcast
	netip.MustParsePrefix("2001::/23"),        // protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"),    // documentation
	netip.MustParsePrefix("2002::/16"),        // 6to4, which wraps any IPv4 address
	netip.MustParsePrefix("3fff::/20"),        // documentation
}

// public says whether an address is one that a provider can have.
func public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() && !publicSpace.Contains(addr) {
		return false
	}
	return !slices.ContainsFunc(specialRanges, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// guard returns what a dialer calls between resolving a name and connecting: a
// check of the address that is really dialled, which no DNS answer gets around.
func guard(allowed []netip.Prefix) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return errPrivateAddress
		}
		addr := at.Addr().Unmap().WithZone("")
		if public(addr) || slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			return nil
		}
		return errPrivateAddress
	}
}

// newClient returns the client of one trust: with a nil check it may dial what
// the operator named.
//
// HTTP_PROXY and its like are not honoured: behind a proxy the check would see
// the proxy's address in place of the provider's; see throughProxy. Redirects are not followed,
// connections are reused only with the host they were made to, and compression
// is not offered, so that a small body cannot become a large one.
func newClient(dialer *net.Dialer, config *tls.Config) *http.Client {
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    answerWithin,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 64 << 10,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConnsPerHost:    4,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// throughProxy has a client reach all hosts through the operator's proxy, which also
// resolves their names: whether these lead inside is then for the proxy to know. What
// can be told without asking anybody is still refused, and a credential goes only to
// who has a certificate for the catalogue's name.
func throughProxy(client *http.Client, proxy *url.URL, allowed []netip.Prefix) error {
	if proxy.Host == "" || !slices.Contains([]string{"http", "https", "socks5"}, proxy.Scheme) {
		return errors.New("the outbound proxy must be an http, https or socks5 URL with a host") // it is not repeated: it may hold a password
	}
	check := guard(allowed)
	transport := client.Transport.(*http.Transport)
	transport.DialContext = new(net.Dialer).DialContext
	transport.Proxy = func(req *http.Request) (*url.URL, error) {
		host := strings.TrimSuffix(req.URL.Hostname(), ".")
		if addr, err := netip.ParseAddr(host); err == nil {
			return proxy, check(req.Context(), "tcp", netip.AddrPortFrom(addr, 0).String(), nil)
		}
		if !strings.Contains(host, ".") || numeric(host) {
			return nil, errPrivateAddress // localhost, a machine next door, or 2130706433
		}
		return proxy, nil
	}
	return nil
}

// numeric reports whether a host's last label is a number, as in the forms of IPv4
// addresses that some resolvers read: 127.1 or 0x7f.0x1.
func numeric(host string) bool {
	last := host[strings.LastIndex(host, ".")+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	return err == nil
}
