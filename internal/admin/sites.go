package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/strictjson"
)

// maxSite bounds a site's document: DynamoDB's items have 400 kB, purges among them.
const maxSite = 128 << 10

// siteSummary is a site in a list.
type siteSummary struct {
	Origin  prerender.Origin `json:"origin"`
	Version int64            `json:"version"` // 0: it is not stored, and follows flags or the template
}

// siteList answers GET /v1/sites.
type siteList struct {
	Sites []siteSummary `json:"sites"` // ordered by host
	Next  string        `json:"next,omitempty"`
}

// siteChange answers a dry run.
type siteChange struct {
	Changes []control.Change `json:"changes"`
}

// listSites merges those that are stored with those of flags or the template.
func listSites(a *API, c *call) error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	after, err := c.cursor()
	if err != nil {
		return err
	}
	search := strings.ToLower(c.query("q"))
	if !c.who.May(control.Viewer, "") {
		return a.listOwn(c, search, after, limit)
	}
	fixed := []string{}
	for host := range a.Plane.Fixed {
		if host > after {
			fixed = append(fixed, host)
		}
	}
	slices.Sort(fixed)
	list := siteList{Sites: []siteSummary{}}
	add := func(host string, s siteSummary) bool {
		if !strings.Contains(host, search) {
			return true
		}
		if len(list.Sites) == limit {
			list.Next = newCursor(after)
			return false
		}
		list.Sites, after = append(list.Sites, s), host
		return true
	}
	more := true
	addFixed := func(before string) {
		for more && len(fixed) > 0 && (before == "" || fixed[0] < before) {
			more = add(fixed[0], siteSummary{Origin: a.Plane.Fixed[fixed[0]].Origin})
			fixed = fixed[1:]
		}
	}
	err = a.Plane.Records.List(c.r.Context(), control.Range{Kind: control.SiteRecord, After: after, AtOnce: limit + 1}, func(record control.Record) bool {
		var site struct{ Origin prerender.Origin }
		if json.Unmarshal(record.Document, &site) != nil {
			return true // the router's log has it
		}
		addFixed(record.ID)
		if len(fixed) > 0 && fixed[0] == record.ID {
			fixed = fixed[1:]
		}
		if more {
			more = add(record.ID, siteSummary{site.Origin, record.Version})
		}
		return more
	})
	if err != nil {
		return err
	}
	addFixed("")
	return c.answer(http.StatusOK, list)
}

// listOwn lists the sites that somebody is bound to, without a look at the others.
func (a *API) listOwn(c *call, search, after string, limit int) error {
	hosts := map[string]bool{}
	for _, grant := range c.who.Grants {
		for _, host := range grant.Sites {
			hosts[host] = strings.Contains(host, search)
		}
	}
	list := siteList{Sites: []siteSummary{}}
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		if !hosts[host] || host <= after {
			continue
		}
		site, err := a.Plane.SiteOrFixed(c.r.Context(), host)
		if errors.Is(err, prerender.ErrSiteUnknown) {
			continue // not yet
		}
		if err != nil {
			return err
		}
		if len(list.Sites) == limit {
			list.Next = newCursor(list.Sites[limit-1].Origin.Host)
			break
		}
		list.Sites = append(list.Sites, siteSummary{site.Origin, site.Version})
	}
	return c.answer(http.StatusOK, list)
}

// getSite answers a site as its owner has written it, to be changed and sent back.
func getSite(a *API, c *call) error {
	site, err := a.site(c)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", etag(site))
	site.Purges, site.Version = nil, 0
	return c.answer(http.StatusOK, site)
}

// getEffective answers all that holds for a site, and its purges.
func getEffective(a *API, c *call) error {
	site, err := a.site(c)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, a.Plane.Fixed.Complete(site))
}

// validation answers POST /v1/sites/{host}/validation.
type validation struct {
	Faults  []strictjson.Fault `json:"faults"`
	Changes []control.Change   `json:"changes"` // if there are no faults
}

// validateSite is for who is still typing: what is wrong is no problem yet.
func validateSite(a *API, c *call) error {
	document, err := c.document(maxSite)
	if err != nil {
		return err
	}
	v := validation{Faults: []strictjson.Fault{}, Changes: []control.Change{}}
	site, faults := control.ParseSite(document)
	if v.Faults = append(v.Faults, faults...); len(faults) == 0 {
		old, err := a.Plane.SiteOrFixed(c.r.Context(), site.Origin.Host)
		if errors.Is(err, prerender.ErrSiteUnknown) {
			old, err = prerender.Site{}, nil
		}
		if err == nil {
			err = c.allow(control.Viewer, site.Origin.Host)
		}
		if err != nil {
			return err
		}
		changes, err := control.Diff(a.before(old), a.inEffect(site))
		if err != nil {
			return err
		}
		v.Changes = append(v.Changes, changes...)
	}
	return c.answer(http.StatusOK, v)
}

// putSite stores a site in the place of the one that If-Match names.
func putSite(a *API, c *call) error {
	site, err := a.readSite(c)
	if err == nil {
		err = c.allow(control.Admin, site.Origin.Host)
	}
	if err != nil {
		return err
	}
	return a.change(c, site)
}

// deleteSite removes what is stored of a site. The purges of one that flags or the
// template know stay: its pages do.
func deleteSite(a *API, c *call) error {
	site, err := a.site(c)
	if err != nil {
		return err
	}
	if site.Version == 0 {
		return problemf(http.StatusNotFound, "nothing is stored of %s: it is as flags or the template say", site.Origin)
	}
	return a.change(c, prerender.Site{Origin: site.Origin})
}

// changeAttempts: each is one purge at the same moment.
const changeAttempts = 10

// change writes a site as its owner wants it, without its purges, or with DELETE
// removes it, and answers what that changes.
func (a *API) change(c *call, site prerender.Site) error {
	var err error
	for range changeAttempts {
		var old prerender.Site
		old, err = a.Plane.SiteOrFixed(c.r.Context(), site.Origin.Host)
		if errors.Is(err, prerender.ErrSiteUnknown) {
			old, err = prerender.Site{Origin: site.Origin}, nil
		}
		if err == nil {
			err = isSame(c, old)
		}
		if err != nil {
			return err
		}
		var changes []control.Change
		changes, err = control.Diff(a.before(old), a.inEffect(site))
		if err != nil {
			return err
		}
		change := siteChange{append([]control.Change{}, changes...)}
		if stays := old.Version != 0 && c.r.Method == http.MethodPut && etagOf(site) == etagOf(old); stays || c.isDryRun() {
			c.w.Header().Set("ETag", etag(old))
			return c.answer(http.StatusOK, change)
		}
		if site, err = a.store(c, old, site); !errors.Is(err, control.ErrConflict) {
			if err != nil {
				return err
			}
			c.w.Header().Set("ETag", etag(site))
			if c.r.Method == http.MethodPut && old.Version == 0 {
				return c.answer(http.StatusCreated, change)
			}
			return c.answer(http.StatusOK, change)
		}
	}
	return err
}

// store puts a site in the place of an old one, or deletes that.
func (a *API) store(c *call, old, site prerender.Site) (prerender.Site, error) {
	ctx, host := c.r.Context(), site.Origin.Host
	site.Purges = old.Purges
	_, isFixed := a.Plane.Fixed[host]
	switch {
	case c.r.Method == http.MethodDelete && !(isFixed && len(old.Purges) > 0):
		return prerender.Site{Origin: site.Origin}, a.Plane.DeleteSite(ctx, c.by(), old)
	case c.r.Method == http.MethodDelete:
		return a.Plane.PutSite(ctx, c.by(), "site.delete", old, site)
	case old.Version == 0:
		return a.Plane.PutSite(ctx, c.by(), "site.create", old, site)
	}
	return a.Plane.PutSite(ctx, c.by(), "site.update", old, site)
}

// before is what has held for a site; of one that is new, nothing.
func (a *API) before(old prerender.Site) any {
	if _, fixed := a.Plane.Fixed[old.Origin.Host]; !fixed && old.Version == 0 {
		return map[string]any{}
	}
	return a.inEffect(old)
}

// inEffect is what holds for a site, by what is stored and what flags or the template
// say beside.
func (a *API) inEffect(site prerender.Site) prerender.Site {
	site = a.Plane.Fixed.Complete(site)
	site.Purges, site.Version = nil, 0
	return site
}

// site finds the site that a path names.
func (a *API) site(c *call) (prerender.Site, error) {
	host, err := c.host()
	if err != nil {
		return prerender.Site{}, err
	}
	site, err := a.Plane.SiteOrFixed(c.r.Context(), host)
	if errors.Is(err, prerender.ErrSiteUnknown) {
		return site, problemf(http.StatusNotFound, "there is no site %q; PUT makes one", host)
	}
	return site, err
}

// readSite reads the site that was sent, whose host must be the path's.
func (a *API) readSite(c *call) (prerender.Site, error) {
	document, err := c.document(maxSite)
	if err != nil {
		return prerender.Site{}, err
	}
	site, faults := control.ParseSite(document)
	if len(faults) > 0 {
		p := problemf(http.StatusUnprocessableEntity, "the site is not stored, because of its faults; GET /v1/site.schema.json describes what it may have")
		p.Faults = faults
		return site, p
	}
	host, err := c.host()
	if err != nil {
		return site, err
	}
	if host != site.Origin.Host {
		return site, problemf(http.StatusUnprocessableEntity, "the path names %q, and the site's origin is %s", c.r.PathValue("host"), site.Origin)
	}
	return site, nil
}

// isSame says whether the request is about what is stored.
func isSame(c *call, site prerender.Site) error {
	given := c.r.Header.Get("If-Match")
	switch {
	case given == etag(site), `"`+given+`"` == etag(site), given == "*" && site.Version != 0:
		return nil
	case given == "":
		return problemf(http.StatusPreconditionRequired, `send If-Match with the ETag of what you have read, so that nobody's change is lost; that of a site which is not stored yet is "0"`)
	}
	return problemf(http.StatusPreconditionFailed, "the site's ETag is %s and not %s: what you have read has changed; read it again", etag(site), given)
}

// etag is that of what the owner has written: purges do not change it.
func etag(site prerender.Site) string {
	if site.Version == 0 {
		return `"0"`
	}
	return etagOf(site)
}

func etagOf(site prerender.Site) string {
	site.Purges, site.Version = nil, 0
	document, _ := json.Marshal(site) // it was stored as JSON
	sum := sha256.Sum256(document)
	return strconv.Quote(hex.EncodeToString(sum[:8]))
}
