package provider

import (
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

func TestPublic(t *testing.T) {
	for _, private := range []string{
		"0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16",
		"169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1",
		"255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
		"64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1",
		"fd00:ec2::254", "fe80::1", "fe80::1%eth0", "ff02::1",
	} {
		if public(netip.MustParseAddr(private)) {
			t.Errorf("%s passes for public", private)
		}
	}
	for _, address := range []string{
		"1.1.1.1", "140.82.121.6", "172.32.0.1", "100.128.0.1", "192.0.1.1", "::ffff:1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1",
	} {
		if !public(netip.MustParseAddr(address)) {
			t.Errorf("%s does not pass for public", address)
		}
	}
}

// trap counts who connects to it.
func trap(t *testing.T) (port string, connections *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	connections = new(atomic.Int32)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			conn.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port, connections
}

// fakeResolver says that every name is address.
func fakeResolver(t *testing.T, address [4]byte) *net.Resolver {
	t.Helper()
	return resolverOf(t, func() [][4]byte { return [][4]byte{address} })
}

// hostedAt is a rule whose catalogue entry names a host.
func hostedAt(base string) *rules.Rule {
	rule := odd()
	rule.Provider = &rules.Provider{Name: "odd", Base: base}
	return rule
}

func TestAllowedNetworksAreDialled(t *testing.T) {
	port, connections := trap(t)
	p := newProviders(t, Config{
		Catalogue:       []*rules.Rule{hostedAt("https://127.0.0.1:" + port)},
		AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	v, err := p.Verify(t.Context(), oddCredential("x"))
	if err != nil || v.Validity != checks.Unknown || connections.Load() == 0 {
		t.Errorf("%+v, %v after %d connections; want one that was hung up on", v, err, connections.Load())
	}
}

// The environment's proxy would see where credentials are verified, and hide
// from the guard what is dialled.
func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	port, connections := trap(t)
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:"+port)
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:"+port)
	p := newProviders(t, Config{Catalogue: []*rules.Rule{hostedAt("https://192.168.255.255")}})
	if v, err := p.Verify(t.Context(), oddCredential("x")); err != nil || !strings.HasPrefix(v.Evidence.Answer, "refused: ") {
		t.Errorf("%+v, %v; want a refusal to dial", v, err)
	}
	if connections.Load() != 0 {
		t.Error("the proxy was used")
	}
}
