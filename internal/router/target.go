package router

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/stillpage/stillpage/internal/prerender"
)

// HostHeader carries the viewer's Host from the edge function, because a
// function URL insists on its own.
const HostHeader = "X-Stillpage-Host"

// isEdge says whether a request came by the edge.
func isEdge(r *http.Request) bool { return r.Header.Get(HostHeader) != "" }

// ClientHeader carries the viewer's address from the edge function.
const ClientHeader = "X-Stillpage-Client"

// client is whose renders are counted together: the network of who asks the edge,
// which is 256 addresses of IPv4 (/24), and what one customer gets of IPv6 (/56).
// Middlewares ask for many; see token.
func client(r *http.Request) string {
	addr, err := netip.ParseAddr(r.Header.Get(ClientHeader))
	if !isEdge(r) || err != nil {
		return ""
	}
	bits := 56
	if addr = addr.Unmap(); addr.Is4() {
		bits = 24
	}
	network, err := addr.WithZone("").Prefix(bits)
	if err != nil {
		return ""
	}
	return network.String()
}

// target is the page that a request names.
type target struct {
	host string // as given, with a port if there was one
	path string // path, query and "#!" fragment, raw
}

// parseTarget reads the page from a request, in one of the forms that clients
// use:
//
//	/path?query                    with X-Stillpage-Host: the edge
//	/https://host/path?query       prerender's middlewares
//	/https:/host/path?query        the same, its slashes merged on the way
//	/https%3A%2F%2Fhost/path       the same, encoded
//	/render?url=https%3A%2F%2F…    prerender
//	/render/https%3A%2F%2F…        rendertron; an unencoded query is rendertron's own
//
// Bytes stay as they came wherever they need no decoding to be found.
func parseTarget(r *http.Request) (target, error) {
	raw, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(raw, "/") { // "GET http://…", and requests that no server has read
		raw = r.URL.EscapedPath()
	}
	if host := r.Header.Get(HostHeader); host != "" {
		return finish(host, raw, r.URL.RawQuery)
	}

	rest := strings.TrimPrefix(raw, "/")
	switch {
	case rest == "render":
		return fromURL(r.URL.Query().Get("url"), "")
	case strings.HasPrefix(rest, "render/"):
		decoded, err := url.PathUnescape(strings.TrimPrefix(rest, "render/"))
		if err != nil {
			return target{}, fmt.Errorf("path %q is not encoded well: %w", raw, prerender.ErrURLInvalid)
		}
		return fromURL(decoded, "")
	case hasEncodedScheme(rest):
		scheme, after, _ := cutFold(rest, "%3a")
		after = decodeSlashes(after)
		if host, _, _ := strings.Cut(strings.TrimLeft(after, "/"), "/"); strings.Contains(host, "%") {
			// The whole URL was encoded, not just its scheme.
			decoded, err := url.PathUnescape(after)
			if err != nil {
				return target{}, fmt.Errorf("path %q is not encoded well: %w", raw, prerender.ErrURLInvalid)
			}
			after = decoded
		}
		return fromURL(scheme+":"+after, r.URL.RawQuery)
	default:
		return fromURL(rest, r.URL.RawQuery)
	}
}

// fromURL splits an absolute URL; a query that came apart from it is added.
func fromURL(s, query string) (target, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	if scheme = strings.ToLower(scheme); !ok || scheme != "http" && scheme != "https" {
		return target{}, fmt.Errorf("%q is not an absolute URL; ask for /https://host/path: %w", s, prerender.ErrURLInvalid)
	}
	rest = strings.TrimLeft(rest, "/")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, path := rest[:end], rest[end:]
	if strings.Contains(host, "@") {
		return target{}, fmt.Errorf("%q holds a user name: %w", s, prerender.ErrURLInvalid)
	}
	normal, err := prerender.NormalizeHost(scheme, host)
	if err != nil {
		return target{}, err
	}
	return finish(normal, path, query)
}

func finish(host, path, query string) (target, error) {
	if path == "" || path[0] == '?' || path[0] == '#' {
		path = "/" + path
	}
	if query != "" {
		path += "?" + query
	}
	path, err := unescapeFragment(path)
	return target{host: host, path: path}, err
}

// unescapeFragment undoes the AJAX crawling scheme that old integrations speak:
// ?_escaped_fragment_= stands for the page itself, a value for "#!value".
func unescapeFragment(path string) (string, error) {
	const parameter = "_escaped_fragment_="
	before, query, ok := strings.Cut(path, "?")
	if !ok || !strings.Contains(query, parameter) {
		return path, nil
	}
	var kept []string
	fragment := ""
	for pair := range strings.SplitSeq(query, "&") {
		value, ok := strings.CutPrefix(pair, parameter)
		if !ok {
			kept = append(kept, pair)
			continue
		}
		decoded, err := url.QueryUnescape(value)
		if err != nil {
			return "", fmt.Errorf("%s%s is not encoded well: %w", parameter, value, prerender.ErrURLInvalid)
		}
		if decoded != "" {
			fragment = "#!" + forbidden.Replace(decoded)
		}
	}
	if len(kept) > 0 {
		before += "?" + strings.Join(kept, "&")
	}
	return before + fragment, nil
}

// forbidden encodes what a URL cannot hold.
var forbidden = strings.NewReplacer(" ", "%20", "\t", "%09", "\n", "%0A", "\r", "%0D", `\`, "%5C")

func hasEncodedScheme(s string) bool {
	lower := strings.ToLower(s[:min(len(s), len("https%3a"))])
	return strings.HasPrefix(lower, "http%3a") || strings.HasPrefix(lower, "https%3a")
}

// cutFold is strings.Cut with a separator in any case, given in lower case.
func cutFold(s, sep string) (before, after string, found bool) {
	i := strings.Index(strings.ToLower(s), sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// decodeSlashes decodes the encoded slashes that lead a host, and no others.
func decodeSlashes(s string) string {
	for len(s) >= 3 && strings.EqualFold(s[:3], "%2f") {
		s = s[3:]
	}
	return "//" + strings.TrimLeft(s, "/")
}
