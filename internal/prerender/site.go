package prerender

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Device is the kind of viewer that a page is rendered for.
type Device string

const (
	Desktop Device = "desktop"
	Mobile  Device = "mobile"
)

// Origin is the public address of a site: scheme, host in lower case, and the
// port when it is not the scheme's own.
type Origin struct {
	Scheme string // "http" or "https"
	Host   string // "www.example.com" or "127.0.0.1:9000"
}

// ParseOrigin reads a site's public address, such as https://www.example.com.
// A path, a query or a password is an error: a site is a whole host.
func ParseOrigin(s string) (Origin, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Origin{}, fmt.Errorf("site %q is not a URL; write it like https://www.example.com", s)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return Origin{}, fmt.Errorf("site %q must start with http:// or https://", s)
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return Origin{}, fmt.Errorf("site %q must be scheme and host only, like %s://%s", s, u.Scheme, u.Host)
	}
	host, err := NormalizeHost(u.Scheme, u.Host)
	if err != nil {
		return Origin{}, fmt.Errorf("site %q: %w", s, err)
	}
	return Origin{Scheme: u.Scheme, Host: host}, nil
}

func (o Origin) String() string { return o.Scheme + "://" + o.Host }

// MarshalText writes an origin as ParseOrigin reads it.
func (o Origin) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText is ParseOrigin.
func (o *Origin) UnmarshalText(text []byte) (err error) {
	*o, err = ParseOrigin(string(text))
	return err
}

// HostPort is the address that a connection to the origin is made to, with the
// scheme's own port filled in.
func (o Origin) HostPort() string {
	u := url.URL{Host: o.Host}
	port := u.Port()
	if port == "" {
		port = defaultPort(o.Scheme)
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// NormalizeHost puts a Host header or the host of a URL into the form that
// sites are found by: lower case, no trailing dot, no default port.
func NormalizeHost(scheme, host string) (string, error) {
	u := url.URL{Host: host}
	name, port := strings.ToLower(u.Hostname()), u.Port()
	name = strings.TrimSuffix(name, ".")
	if !validHostname(name) {
		return "", fmt.Errorf("host %q is not a host name or an IP address: %w", host, ErrURLInvalid)
	}
	if port == "" && strings.Contains(host[strings.LastIndexByte(host, ']')+1:], ":") {
		return "", fmt.Errorf("host %q has a port that is not a number: %w", host, ErrURLInvalid)
	}
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if port == "" || port == defaultPort(scheme) {
		return name, nil
	}
	return name + ":" + port, nil
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// validHostname accepts IP addresses and the host names of RFC 1123, with
// underscores, which exist in practice. International names come as punycode.
func validHostname(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

// Site is a public origin whose pages may be rendered, and how.
type Site struct {
	Origin Origin `json:"origin"`

	// Settings are those of all pages.
	Settings

	// Paths say something else of some pages. The first that matches is the one that
	// counts; what it does not say, Settings do.
	Paths []PathSettings `json:"paths,omitempty"`

	// Warming has pages made before anybody asks. Nil: it does not.
	Warming *WarmRule `json:"warming,omitempty"`

	// Purges are what was purged, the latest last; see WithPurge.
	Purges []Purge `json:"purges,omitempty"`

	// Version goes up with every change of a stored site, and is never the same again,
	// even when a site is deleted and comes back. Zero: it is not stored.
	Version int64 `json:"version,omitempty"`
}
