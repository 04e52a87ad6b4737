package prerender

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// CacheRule says what the origin's Cache-Control means. The zero value: nothing,
// because the document of a single-page app is mostly served with "no-cache",
// whatever will be on the page.
type CacheRule struct {
	// Honour has pages live as long as their Cache-Control says, within bounds.
	Honour bool `json:"honour,omitempty"`

	// Least and Most are the bounds of how long a page is fresh. Most zero: as long
	// as the page's Lifetime.
	Least Duration `json:"least,omitzero"`
	Most  Duration `json:"most,omitzero"`
}

// Lifetime returns how long a snapshot with this status and these headers lives.
// Zero: it is not to be stored.
func (r Rule) Lifetime(status int, header http.Header) Lifetime {
	l := r.Lifetimes.of(status)
	said := directives(header)
	if !r.CacheControl.Honour || l == (Lifetime{}) || len(said) == 0 {
		return l
	}
	most := time.Duration(r.CacheControl.Most)
	if most == 0 {
		most = l.Fresh
	}
	l.Fresh = max(time.Duration(r.CacheControl.Least), min(most, said.fresh(l.Fresh)))
	l.Stale = min(l.Stale, said.seconds("stale-while-revalidate", l.Stale))
	l.IfError = min(l.IfError, said.seconds("stale-if-error", l.IfError))
	return l
}

// cacheDirectives are those of Cache-Control (RFC 9111, 5.2; RFC 5861), by name in
// lower case.
type cacheDirectives map[string]string

func directives(header http.Header) cacheDirectives {
	all := cacheDirectives{}
	for part := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, argument, _ := strings.Cut(part, "=")
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			all[name] = strings.Trim(strings.TrimSpace(argument), `"`)
		}
	}
	return all
}

// fresh is how long a shared cache may keep an answer.
func (d cacheDirectives) fresh(otherwise time.Duration) time.Duration {
	for _, never := range []string{"no-store", "no-cache", "private"} {
		if _, ok := d[never]; ok {
			return 0
		}
	}
	return d.seconds("s-maxage", d.seconds("max-age", otherwise))
}

// seconds reads a directive's argument. One that is no number says nothing.
func (d cacheDirectives) seconds(name string, otherwise time.Duration) time.Duration {
	n, err := strconv.ParseUint(d[name], 10, 31)
	if err != nil {
		return otherwise
	}
	return time.Duration(n) * time.Second
}
