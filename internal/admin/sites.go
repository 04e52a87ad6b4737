package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

// maxSite bounds a site's document: DynamoDB's items have 400 kB, purges among them.
const maxSite = 128 << 10

// siteSummary is a site in a list.
type siteSummary struct {
	Origin  prerender.Origin `json:"origin"`
	Version int64            `json:"version"` // 0: it is not stored, and follows flags or the template
}

// siteChange answers a dry run.
type siteChange struct {
	Changes []control.Change `json:"changes"`
}

func (a *API) listSites(w http.ResponseWriter, r *http.Request) {
	stored, err := a.Sites.Sites(r.Context())
	if err != nil {
		a.storeFails(w, r, err)
		return
	}
	known := map[string]siteSummary{}
	for host, site := range a.Fixed {
		known[host] = siteSummary{Origin: site.Origin}
	}
	for _, site := range stored {
		known[site.Origin.Host] = siteSummary{site.Origin, site.Version}
	}
	list := []siteSummary{}
	for _, host := range slices.Sorted(maps.Keys(known)) {
		list = append(list, known[host])
	}
	answer(w, http.StatusOK, map[string]any{"sites": list})
}

// getSite answers a site as its owner has written it, to be changed and sent back.
func (a *API) getSite(w http.ResponseWriter, r *http.Request) {
	site, ok := a.site(w, r)
	if !ok {
		return
	}
	w.Header().Set("ETag", etag(site))
	site.Purges, site.Version = nil, 0
	answer(w, http.StatusOK, site)
}

// putSite stores a site in the place of the one that If-Match names.
func (a *API) putSite(w http.ResponseWriter, r *http.Request) {
	site, ok := a.readSite(w, r)
	if ok {
		a.change(w, r, site)
	}
}

// deleteSite removes what is stored of a site. The purges of one that flags or the
// template know stay: its pages do.
func (a *API) deleteSite(w http.ResponseWriter, r *http.Request) {
	if site, ok := a.site(w, r); ok {
		a.change(w, r, prerender.Site{Origin: site.Origin})
	}
}

// changeAttempts: each is one purge at the same moment.
const changeAttempts = 10

// change writes a site as its owner wants it, without its purges, or with DELETE
// removes it, and answers what that changes.
func (a *API) change(w http.ResponseWriter, r *http.Request, site prerender.Site) {
	for attempt := 1; ; attempt++ {
		old, known := a.siteOr(w, r, prerender.Site{Origin: site.Origin})
		if !known || !a.isSame(w, r, old) {
			return
		}
		changes, err := control.Diff(a.inEffect(old), a.inEffect(site))
		if err != nil {
			a.storeFails(w, r, err)
			return
		}
		status := http.StatusOK
		if r.Method == http.MethodPut && old.Version == 0 {
			status = http.StatusCreated
		}
		if isDryRun(r) {
			answer(w, http.StatusOK, siteChange{append([]control.Change{}, changes...)})
			return
		}
		site.Purges, site.Version = old.Purges, old.Version
		_, isFixed := a.Fixed[site.Origin.Host]
		if r.Method == http.MethodDelete && !(isFixed && len(old.Purges) > 0) {
			err = a.Sites.DeleteSite(r.Context(), site.Origin.Host, site.Version)
		} else {
			site, err = a.Sites.PutSite(r.Context(), site)
		}
		if errors.Is(err, prerender.ErrConflict) && attempt < changeAttempts {
			continue
		}
		if err != nil {
			a.storeFails(w, r, err)
			return
		}
		a.Log.InfoContext(r.Context(), "site changed", "site", site.Origin, "method", r.Method, "changes", len(changes))
		w.Header().Set("ETag", etag(site))
		answer(w, status, siteChange{append([]control.Change{}, changes...)})
		return
	}
}

// inEffect is what holds for a site, by what is stored and what flags or the template
// say beside.
func (a *API) inEffect(site prerender.Site) prerender.Site {
	site = a.Fixed.Complete(site)
	site.Purges, site.Version = nil, 0
	return site
}

// site finds the site that a path names, or answers 404.
func (a *API) site(w http.ResponseWriter, r *http.Request) (prerender.Site, bool) {
	site, ok := a.siteOr(w, r, prerender.Site{})
	if ok && site.Origin.Host == "" {
		refuse(w, http.StatusNotFound, fmt.Sprintf("there is no site %q; PUT makes one", r.PathValue("host")))
		return site, false
	}
	return site, ok
}

// siteOr finds the site that a path names, or returns another.
func (a *API) siteOr(w http.ResponseWriter, r *http.Request, other prerender.Site) (prerender.Site, bool) {
	host, err := prerender.NormalizeHost("https", r.PathValue("host"))
	if err != nil {
		refuse(w, http.StatusNotFound, err.Error())
		return other, false
	}
	site, err := prerender.StoredSite(r.Context(), a.Sites, host)
	if errors.Is(err, prerender.ErrSiteUnknown) {
		site, err = a.Fixed.Site(r.Context(), host)
	}
	switch {
	case errors.Is(err, prerender.ErrSiteUnknown):
		return other, true
	case err != nil:
		a.storeFails(w, r, err)
		return other, false
	}
	return site, true
}

// readSite reads the site that was sent, whose host must be the path's.
func (a *API) readSite(w http.ResponseWriter, r *http.Request) (prerender.Site, bool) {
	document, ok := readJSON(w, r, maxSite)
	if !ok {
		return prerender.Site{}, false
	}
	site, faults := control.ParseSite(document)
	if len(faults) > 0 {
		refuse(w, http.StatusUnprocessableEntity, "the site is not stored, because of its faults; docs/serving.md describes what it may have", faults...)
		return prerender.Site{}, false
	}
	if host, err := prerender.NormalizeHost(site.Origin.Scheme, r.PathValue("host")); err != nil || host != site.Origin.Host {
		refuse(w, http.StatusUnprocessableEntity, fmt.Sprintf("the path names %q, and the site's origin is %s", r.PathValue("host"), site.Origin))
		return prerender.Site{}, false
	}
	return site, true
}

// isSame says whether the request is about what is stored, or refuses it.
func (a *API) isSame(w http.ResponseWriter, r *http.Request, site prerender.Site) bool {
	given := r.Header.Get("If-Match")
	switch {
	case given == etag(site), `"`+given+`"` == etag(site), given == "*" && site.Version != 0:
		return true
	case given == "":
		refuse(w, http.StatusPreconditionRequired, `send If-Match with the ETag of what you have read, so that nobody's change is lost; that of a site which is not stored yet is "0"`)
	default:
		refuse(w, http.StatusPreconditionFailed, fmt.Sprintf("the site's ETag is %s and not %s: what you have read has changed; read it again", etag(site), given))
	}
	return false
}

// etag is that of what the owner has written: purges do not change it.
func etag(site prerender.Site) string {
	if site.Version == 0 {
		return `"0"`
	}
	site.Purges, site.Version = nil, 0
	document, _ := json.Marshal(site) // it was stored as JSON
	sum := sha256.Sum256(document)
	return strconv.Quote(hex.EncodeToString(sum[:8]))
}

func isDryRun(r *http.Request) bool { return r.URL.Query().Get("dryRun") == "true" }

// readJSON reads a body of the right type and of so many bytes at most, or refuses it. A
// form of somebody else's page in an operator's browser can post, but not with this
// type, unless it is asked first.
func readJSON(w http.ResponseWriter, r *http.Request, most int64) ([]byte, bool) {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "the body must be application/json")
		return nil, false
	}
	document, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body cannot be read, or has more than %d bytes: %v", most, err))
		return nil, false
	}
	return document, true
}

func (a *API) storeFails(w http.ResponseWriter, r *http.Request, err error) {
	a.Log.ErrorContext(r.Context(), "the store fails", "method", r.Method, "path", r.URL.Path, "err", err)
	refuse(w, http.StatusServiceUnavailable, "the store does not answer; the log says why")
}
