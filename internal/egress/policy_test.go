package egress

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/stillpage/stillpage/internal/prerender"
)

func TestPolicy(t *testing.T) {
	t.Parallel()
	p := Policy{
		Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd12::/16")},
		Sites: map[string]bool{"site.example:443": true},
	}
	for _, tt := range []struct {
		hostPort, addr string
		want           bool
	}{
		{"x:80", "93.184.216.34", true},
		{"x:80", "2606:2800:220:1::1", true},
		{"x:80", "10.1.2.3", true}, {"x:80", "fd12::1", true}, // allowed ranges
		{"x:80", "10.2.0.1", false}, {"x:80", "172.16.0.1", false}, {"x:80", "172.31.255.255", false}, {"x:80", "172.32.0.1", true},
		{"x:80", "192.168.1.1", false}, {"x:80", "100.64.0.1", false}, {"x:80", "100.128.0.1", true},
		{"x:80", "127.0.0.1", false}, {"x:80", "127.9.9.9", false}, {"x:80", "::1", false},
		{"x:80", "0.0.0.0", false}, {"x:80", "::", false}, {"x:80", "255.255.255.255", false}, {"x:80", "224.0.0.1", false},
		{"x:80", "169.254.169.254", false}, {"x:80", "169.254.100.1", false}, // metadata; Lambda's Runtime API
		{"x:80", "fd00:ec2::254", false}, {"x:80", "fe80::1", false}, {"x:80", "fe80::1%eth0", false}, {"x:80", "ff02::1", false},
		{"x:80", "::ffff:127.0.0.1", false}, {"x:80", "::ffff:93.184.216.34", true}, {"x:80", "::127.0.0.1", false},
		{"x:80", "64:ff9b::7f00:1", false}, {"x:80", "64:ff9b::5db8:d822", true}, {"x:80", "64:ff9b:1::1", false},
		{"x:80", "2002:7f00:1::", false}, {"x:80", "2001:0:1::", false}, {"x:80", "2001:db8::1", false},
		{"x:80", "198.18.0.1", false}, {"x:80", "203.0.113.1", false}, {"x:80", "240.0.0.1", false},
		{"site.example:443", "127.0.0.1", true}, {"site.example:443", "192.168.1.1", true}, {"site.example:443", "::1", true}, {"site.example:443", "fd99::1", true},
		{"site.example:443", "169.254.169.254", false}, {"site.example:443", "fd00:ec2::254", false}, {"site.example:443", "0.0.0.0", false},
		{"site.example:80", "127.0.0.1", false}, {"sub.site.example:443", "127.0.0.1", false},
	} {
		err := p.check(tt.hostPort, netip.MustParseAddr(tt.addr))
		if got := err == nil; got != tt.want {
			t.Errorf("%s at %s: got %v, want allowed=%v", tt.hostPort, tt.addr, err, tt.want)
		}
		if err != nil && !errors.Is(err, prerender.ErrAddressRefused) {
			t.Errorf("%s at %s: got %v, want ErrAddressRefused", tt.hostPort, tt.addr, err)
		}
	}
}

func TestLinkLocalNeedsTheOperatorsWord(t *testing.T) {
	t.Parallel()
	p := Policy{Allow: []netip.Prefix{netip.MustParsePrefix("169.254.7.0/24")}}
	if err := p.check("x:80", netip.MustParseAddr("169.254.7.7")); err != nil {
		t.Errorf("got %v, want it allowed", err)
	}
}
