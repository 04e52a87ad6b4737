package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/strictjson"
)

// purgeOrder is the body of POST /v1/purges.
type purgeOrder struct {
	Site prerender.Origin `json:"site"`
	control.PurgeOrder
	DryRun bool `json:"dryRun,omitempty"` // counts the pages that would be hit, and does nothing
}

const purgeExample = `{"site": "https://www.example.com", "path": "/blog/*", "tag": "", "hard": false, "again": false, "dryRun": false}`

// purgeCount answers a dry run. Complete is false when the time was up first.
type purgeCount struct {
	Pages    int  `json:"pages"`
	Complete bool `json:"complete"`
}

// countTime bounds a dry run: API Gateway waits for 30 s.
const countTime = 20 * time.Second

func postPurge(a *API, c *call) error {
	var order purgeOrder
	if err := c.read(&order, purgeExample); err != nil {
		return err
	}
	if err := c.ordersFor(order.Site, purgeExample); err != nil {
		return err
	}
	if order.DryRun || c.isDryRun() {
		ctx, cancel := context.WithTimeout(c.r.Context(), countTime)
		defer cancel()
		n, err := a.Plane.CountPurge(ctx, order.Site.Host, order.PurgeOrder)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return c.answer(http.StatusOK, purgeCount{n, err == nil})
	}
	job, err := a.Plane.Purge(c.r.Context(), c.by(), order.Site.Host, order.PurgeOrder)
	if err != nil {
		return err
	}
	return a.ordered(c, job)
}

// ordersFor says whether an operator of a site asks.
func (c *call) ordersFor(site prerender.Origin, example string) error {
	if site.Host == "" {
		return c.faulty(example, strictjson.Fault{Pointer: "/site", Detail: "is missing; it is like https://www.example.com"})
	}
	return c.allow(control.Operator, site.Host)
}

// ordered answers an order with its job.
func (a *API) ordered(c *call, job control.Job) error {
	c.w.Header().Set("Location", "/v1/jobs/"+job.ID)
	if job.State.Over() {
		return c.answer(http.StatusCreated, job)
	}
	if a.Began != nil {
		a.Began()
	}
	return c.answer(http.StatusAccepted, job)
}

// warmOrder is the body of POST /v1/warmings.
type warmOrder struct {
	Site     prerender.Origin `json:"site"`
	Sitemaps []string         `json:"sitemaps,omitempty"`
	URLs     []string         `json:"urls,omitempty"`
}

const warmExample = `{"site": "https://www.example.com", "urls": ["https://www.example.com/new"]}, with sitemaps in the place of urls, or with neither for the site's own sitemaps`

// mostURLs are named in one order; more are in a sitemap.
const mostURLs = 1000

func postWarming(a *API, c *call) error {
	var order warmOrder
	if err := c.read(&order, warmExample); err != nil {
		return err
	}
	if err := c.ordersFor(order.Site, warmExample); err != nil {
		return err
	}
	if len(order.URLs) > mostURLs || len(order.Sitemaps) > mostURLs {
		return problemf(http.StatusUnprocessableEntity, "at most %d URLs or sitemaps are named at once; a sitemap may have more", mostURLs)
	}
	if len(order.URLs) > 0 && len(order.Sitemaps) > 0 {
		return problemf(http.StatusUnprocessableEntity, "name URLs or sitemaps, and not both")
	}
	for _, address := range order.Sitemaps {
		if !control.IsSitemap(address) {
			return problemf(http.StatusUnprocessableEntity, "sitemap %.200q must be a URL like https://www.example.com/sitemap.xml, without a password", address)
		}
	}
	site, err := a.Plane.InEffect(c.r.Context(), order.Site.Host)
	if err != nil {
		return err
	}
	for _, address := range order.URLs {
		if _, ok := prerender.TargetOf(site, address); !ok {
			return problemf(http.StatusUnprocessableEntity, "url %.200q is not a page of %s", address, site.Origin)
		}
	}
	if len(order.URLs)+len(order.Sitemaps) == 0 && (site.Warming == nil || len(site.Warming.Sitemaps) == 0) {
		return problemf(http.StatusUnprocessableEntity, "site %s has no sitemaps; name some, or URLs, or write them into the site's warming", site.Origin)
	}
	job, err := a.Plane.Warm(c.r.Context(), c.by(), order.Site.Host, control.WarmOrder{Sitemaps: order.Sitemaps, URLs: order.URLs})
	if err != nil {
		return err
	}
	return a.ordered(c, job)
}

const pageExample = `{"url": "https://www.example.com/page"}`

// postRender renders a page now, in all its variants.
func postRender(a *API, c *call) error {
	var order control.PageOrder
	if err := c.read(&order, pageExample); err != nil {
		return err
	}
	return a.pageJob(c, control.RenderJob, order.URL)
}

// deletePage deletes what is stored of a page, in all its variants.
func deletePage(a *API, c *call) error {
	return a.pageJob(c, control.DeleteJob, c.query("url"))
}

func (a *API) pageJob(c *call, kind control.JobKind, address string) error {
	site, _, err := a.page(c, control.Operator, address)
	if err != nil {
		return err
	}
	job, err := a.Plane.OrderPage(c.r.Context(), c.by(), kind, site.Origin.Host, control.PageOrder{URL: address})
	if err == nil {
		err = a.Do(c.r.Context(), &job)
	}
	if err != nil {
		return err
	}
	return a.ordered(c, job)
}

// jobList answers GET /v1/jobs.
type jobList struct {
	Jobs []control.Job `json:"jobs"` // the last first
	Next string        `json:"next,omitempty"`
}

// mostLooked is how many entries one request looks at, at most, for those that it wants.
const mostLooked = 5000

func listJobs(a *API, c *call) error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	before, err := c.cursor()
	if err != nil {
		return err
	}
	host := c.query("site")
	list, looked, size := jobList{Jobs: []control.Job{}}, 0, 0
	err = a.Plane.Jobs(c.r.Context(), before, func(j control.Job) bool {
		if len(list.Jobs) == limit || looked == mostLooked || size > mostAnswer {
			list.Next = newCursor(before)
			return false
		}
		if looked, before = looked+1, j.ID; (host == "" || j.Site == host) && c.who.May(control.Viewer, j.Site) {
			short, n := shortened(j)
			list.Jobs, size = append(list.Jobs, short), size+n
		}
		return true
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, list)
}

// inList is how many of a job's addresses a list shows; GET /v1/jobs/{id} has all.
const inList = 3

// shortened is a job for a list, and about its size in bytes.
func shortened(j control.Job) (control.Job, int) {
	if j.Warm == nil {
		return j, 1 << 10
	}
	order, size := *j.Warm, 1<<10
	order.URLs, order.More = order.URLs[:min(inList, len(order.URLs))], max(0, len(order.URLs)-inList)
	order.Sitemaps = order.Sitemaps[:min(inList, len(order.Sitemaps))]
	for _, address := range append(order.URLs, order.Sitemaps...) {
		size += len(address)
	}
	j.Warm = &order
	return j, size
}

func getJob(a *API, c *call) error {
	job, err := a.job(c, control.Viewer)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, job)
}

func (a *API) job(c *call, role control.Role) (control.Job, error) {
	if len(c.r.PathValue("id")) > mostID {
		return control.Job{}, problemf(http.StatusNotFound, "there is no job with so long an ID")
	}
	job, err := a.Plane.Job(c.r.Context(), c.r.PathValue("id"))
	if err == nil && !c.who.May(control.Viewer, job.Site) {
		err = prerender.ErrNotFound
	}
	if errors.Is(err, prerender.ErrNotFound) {
		return job, problemf(http.StatusNotFound, "there is no job %.100q; jobs are remembered for 30 days", c.r.PathValue("id"))
	}
	if err == nil {
		err = c.allow(role, job.Site)
	}
	return job, err
}

func cancelJob(a *API, c *call) error {
	job, err := a.job(c, control.Operator)
	if err == nil {
		job, err = a.Plane.CancelJob(c.r.Context(), c.by(), job.ID)
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, job)
}
