package egress

import (
	"fmt"
	"net/netip"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Policy says which addresses rendered pages may reach. The zero value allows
// the public internet and nothing else.
type Policy struct {
	// Allow are address ranges that pages may reach although they are not
	// public: the operator's word, link-local ranges included.
	Allow []netip.Prefix

	// Sites are the "host:port" of the sites themselves. They may resolve to
	// private and loopback addresses (a site under development does), but not
	// to link-local ones: those belong to the machine's provider, and hold its
	// credentials.
	Sites map[string]bool
}

// check decides on an address that is about to be dialled because the page
// asked for hostPort. The error wraps prerender.ErrAddressRefused.
func (p Policy) check(hostPort string, addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	if embedded, ok := embeddedIPv4(addr); ok {
		// A translator would forward to the IPv4 address within.
		if err := p.check(hostPort, embedded); err != nil {
			return err
		}
	}
	for _, allowed := range p.Allow {
		if allowed.Contains(addr) {
			return nil
		}
	}
	block, ok := reserved(addr)
	if !ok {
		return nil
	}
	if p.Sites[hostPort] && siteMayUse(addr) {
		return nil
	}
	return fmt.Errorf("%s is in %s, which is not public; allow it with --egress-allow if pages need it: %w",
		addr, block, prerender.ErrAddressRefused)
}

func siteMayUse(addr netip.Addr) bool {
	return addr.IsLoopback() || addr.IsPrivate() && addr != ec2MetadataIPv6 || sharedAddressSpace.Contains(addr)
}

var (
	// ec2MetadataIPv6 is the instance metadata service's address on AWS. It
	// lies within the unique local addresses.
	ec2MetadataIPv6 = netip.MustParseAddr("fd00:ec2::254")

	sharedAddressSpace = netip.MustParsePrefix("100.64.0.0/10")
	publicIPv6         = netip.MustParsePrefix("2000::/3")
	nat64              = netip.MustParsePrefix("64:ff9b::/96")
)

// reservedBlocks are the ranges that the IANA special-purpose address
// registries list as not globally reachable (RFC 6890 and its updates),
// multicast, and IPv6's tunnels, which lead to IPv4 addresses of all kinds.
var reservedBlocks = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

// reserved returns the range that keeps an address from being public.
func reserved(addr netip.Addr) (netip.Prefix, bool) {
	for _, block := range reservedBlocks {
		if block.Contains(addr) {
			return block, true
		}
	}
	if addr.Is6() && !publicIPv6.Contains(addr) && !nat64.Contains(addr) {
		// Everything outside 2000::/3 is special or not assigned.
		prefix, _ := addr.Prefix(16)
		return prefix, true
	}
	return netip.Prefix{}, false
}

func embeddedIPv4(addr netip.Addr) (netip.Addr, bool) {
	if !nat64.Contains(addr) {
		return netip.Addr{}, false
	}
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:])), true
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}
