package prerender

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxURL is the longest URL, in bytes, that names a page: CloudFront's limit.
const MaxURL = 8192

// Key identifies a stored page:
//
//	https://www.example.com/shop?a=1&b=2 desktop
//	https://www.example.com/shop?a=1&b=2 mobile de-CH
//
// It is the page's URL in normal form, a space, the device, and if pages vary by
// it, the language. A URL holds no space, so the parts cannot be confused, and
// all pages below a path share a prefix.
type Key string

// Site returns the site's origin as text. Empty: it is no page's key.
func (k Key) Site() string {
	scheme := strings.Index(string(k), "://")
	if scheme < 0 {
		return ""
	}
	host := scheme + len("://")
	if path := strings.IndexByte(string(k[host:]), '/'); path >= 0 {
		return string(k[:host+path])
	}
	return ""
}

// Path returns the page's path in normal form.
func (k Key) Path() string {
	path := string(k[len(k.Site()):])
	if end := strings.IndexAny(path, "?# "); end >= 0 {
		path = path[:end]
	}
	return path
}

// Viewer is who asks for a page, as far as it may make a difference.
type Viewer struct {
	Device         Device
	AcceptLanguage string // the header, as it came
}

// Page is one document of a site, as one kind of device sees it.
type Page struct {
	Site     Site
	Rule     Rule
	Key      Key
	Device   Device
	Language string // one of Rule.Vary.Languages, or ""

	// URL is what the renderer loads. It keeps the bytes of the request
	// (decoding and encoding again breaks "&", "," and "#!"); only dropped
	// query parameters are missing.
	URL string

	// ChangedAt is since when the page is known to have changed: a snapshot from before
	// is not fresh. Zero: it is not known.
	ChangedAt time.Time

	// Unasked: it is made although nobody has asked for it.
	Unasked bool
}

// Page returns the page that a request target names: a path that starts with
// "/", and optionally a query and a "#!" fragment, raw as they came. The error
// wraps ErrURLInvalid.
func (s Site) Page(target string, v Viewer) (Page, error) {
	if err := validTarget(target); err != nil {
		return Page{}, err
	}
	rest, fragment, _ := strings.Cut(target, "#")
	if strings.HasPrefix(fragment, "!") {
		fragment = "#" + fragment // a hashbang names a page; any other fragment only a place in it
	} else {
		fragment = ""
	}
	path, query, _ := strings.Cut(rest, "?")
	normalPath := normalizePath(path)
	page := Page{Site: s, Rule: s.rule(normalPath), Device: Desktop}
	pairs := page.Rule.Query.keep(query)
	url := s.Origin.String() + encodeHigh(path+queryString(pairs)+fragment)
	if len(url) > MaxURL {
		return Page{}, fmt.Errorf("URL of %d bytes is longer than %d: %w", len(url), MaxURL, ErrURLInvalid)
	}

	for i := range pairs {
		pairs[i] = normalizePercent(pairs[i])
	}
	slices.SortStableFunc(pairs, compareNames)
	page.URL = url
	if page.Rule.Vary.Mobile && v.Device == Mobile {
		page.Device = Mobile
	}
	page.Key = Key(s.Origin.String() + normalPath + queryString(pairs) + normalizePercent(fragment) + " " + string(page.Device))
	if languages := page.Rule.Vary.Languages; len(languages) > 0 {
		page.Language = chooseLanguage(v.AcceptLanguage, languages)
		page.Rule.Rendering.Language = page.Language
		page.Key += Key(" " + page.Language)
	}
	return page, nil
}

// TargetOf returns the path and query of an address, if it is one of the site's.
func TargetOf(site Site, address string) (string, bool) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok || strings.ToLower(scheme) != site.Origin.Scheme {
		return "", false
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, err := NormalizeHost(site.Origin.Scheme, rest[:end])
	if err != nil || host != site.Origin.Host {
		return "", false
	}
	target := rest[end:]
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	return target, true
}

func validTarget(target string) error {
	if !strings.HasPrefix(target, "/") {
		return fmt.Errorf("path %q does not start with /: %w", target, ErrURLInvalid)
	}
	if i := strings.IndexFunc(target, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("path %q has a space or control character at byte %d: %w", target, i, ErrURLInvalid)
	}
	if strings.Contains(target, `\`) {
		return fmt.Errorf("path %q has a backslash, which browsers read as /: %w", target, ErrURLInvalid)
	}
	return nil
}

// encodeHigh encodes the bytes that no URL has, as browsers do: they would not
// survive a way through JSON if they are not UTF-8.
func encodeHigh(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] < 0x80 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

func queryString(pairs []string) string {
	if len(pairs) == 0 {
		return ""
	}
	return "?" + strings.Join(pairs, "&")
}

// compareNames orders parameters by name only: the order of values that share
// a name has a meaning.
func compareNames(a, b string) int {
	a, _, _ = strings.Cut(a, "=")
	b, _, _ = strings.Cut(b, "=")
	return strings.Compare(a, b)
}

// normalizePath resolves "." and ".." as browsers do (WHATWG URL, path state),
// after percent-encoding is in normal form, so that %2e counts as a dot. Empty
// segments stay: "//" is a path of its own.
func normalizePath(path string) string {
	segments := strings.Split(normalizePercent(path)[1:], "/")
	out := make([]string, 0, len(segments))
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, s)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}

// normalizePercent decodes what needs no encoding, encodes bytes that do, and
// writes hexadecimal digits in upper case (RFC 3986, 6.2.2). A stray "%" becomes
// "%25": left alone, "%%411" would turn into another page's "%A1".
func normalizePercent(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		encoded := c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2])
		if encoded {
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		if unreserved(c) || !encoded && c > ' ' && c < 0x7f && c != '%' && c != '"' && c != '<' && c != '>' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	default:
		return c - '0'
	}
}
