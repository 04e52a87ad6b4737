package router

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// mostAtTheEdge is how long CloudFront and other shared caches may answer a page
// themselves: a page that was purged is seen for that long at most.
const mostAtTheEdge = 5 * time.Minute

// staleAtTheEdge is the same for a page that is being made again.
const staleAtTheEdge = 10 * time.Second

// cacheControl tells shared caches how long they may answer a page themselves. It
// counts from when the page was rendered, because they subtract Age (RFC 9111,
// 4.2); at the edge it counts from now, and there is no Age, because nobody says
// whether CloudFront subtracts it. Pages that are not stored, and those that differ by a header that is not in
// CloudFront's key, are not for them.
func cacheControl(a *prerender.Answer, edge bool) string {
	if a.Expires.IsZero() {
		return "no-store"
	}
	if len(a.Page.Rule.Vary.Languages) > 0 {
		return "private, no-cache"
	}
	life := a.Page.Rule.Lifetime(a.Status, a.Header)
	fresh := min(mostAtTheEdge, life.Fresh-a.Age)
	if a.Source == prerender.StaleHit || fresh <= 0 {
		fresh = staleAtTheEdge
	}
	age := a.Age
	if edge {
		age = 0
	}
	seconds := func(d time.Duration) int { return int(max(0, d) / time.Second) }
	return fmt.Sprintf("public, max-age=0, s-maxage=%d, stale-while-revalidate=%d, stale-if-error=%d",
		seconds(age+fresh), seconds(min(mostAtTheEdge, life.Stale)), seconds(life.Stale+life.IfError))
}

func vary(a *prerender.Answer) string {
	if len(a.Page.Rule.Vary.Languages) > 0 {
		return "Accept-Encoding, Accept-Language"
	}
	return "Accept-Encoding"
}

// entityTag is weak: the compressed body has the same as the other.
func entityTag(a *prerender.Answer) string { return `W/"` + a.ETag + `"` }

// notModified says whether the client has the page already (RFC 9110, 13.2.2).
func notModified(r *http.Request, a *prerender.Answer) bool {
	if a.ETag == "" || a.Status != http.StatusOK {
		return false
	}
	if tags := r.Header.Values("If-None-Match"); len(tags) > 0 {
		for tag := range strings.SplitSeq(strings.Join(tags, ","), ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == "*" || tag == `"`+a.ETag+`"` {
				return true
			}
		}
		return false
	}
	since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
	return err == nil && !a.ModifiedAt.Truncate(time.Second).After(since)
}
