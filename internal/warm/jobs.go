package warm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/sitemap"
)

// mostTried is for how long it is tried to do a job while stores or queues fail.
const mostTried = 24 * time.Hour

// Do does a job, or goes on with one that was cut off, until it is over or the context
// ends. An error of the job's own is in the job, which has failed then; one of a store or a
// queue is returned, and the job is for the next call. A job of one page has failed in any
// case: somebody waits for it.
func (s *Scheduler) Do(ctx context.Context, job *control.Job) error {
	site, err := s.Plane.InEffect(ctx, job.Site)
	if err == nil {
		job.State = control.Running
		if job.Progress.Began.IsZero() {
			job.Progress.Began = s.now()
		}
		if job.Progress.Pages == nil {
			job.Progress.Pages = map[prerender.Warmth]int{}
		}
		err = s.work(ctx, site, job)
	}
	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	switch {
	case errors.Is(err, control.ErrConflict):
	case err != nil && job.Page == nil && !isFinal(err) && s.now().Sub(job.CreatedAt) < mostTried:
		if ctx.Err() != nil {
			err = nil // it goes on with the next call
		}
		err = errors.Join(err, s.Plane.SaveJob(saving, job))
	case err != nil:
		fault(&job.Progress, err.Error())
		err = s.Plane.EndJob(saving, job, control.Failed)
	case job.Warm != nil && job.Progress.Ended.IsZero(): // sitemaps that could not be read are tried again
		err = s.Plane.SaveJob(saving, job)
	default:
		err = s.Plane.EndJob(saving, job, control.Done)
	}
	if errors.Is(err, control.ErrConflict) { // somebody has cancelled it
		*job, err = s.Plane.Job(saving, job.ID)
	}
	if err == nil && job.State.Over() {
		s.log().InfoContext(ctx, "job over", "job", job.ID, "kind", job.Kind, "site", job.Site, "state", job.State, "pages", job.Progress.Pages, "faults", job.Progress.Faults)
	}
	return err
}

var errNoSitemaps, errUnread = errors.New("there are no sitemaps; name some, or URLs, or write them into the site's warming"), errors.New("not all sitemaps could be read")

// isFinal says whether trying again would be the same again.
func isFinal(err error) bool {
	for _, final := range []error{prerender.ErrSiteUnknown, prerender.ErrURLInvalid, errNoSitemaps, errUnread} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

func (s *Scheduler) work(ctx context.Context, site prerender.Site, job *control.Job) error {
	switch job.Kind {
	case control.WarmJob:
		return s.warmPages(ctx, site, job)
	case control.PurgeJob:
		return s.makeAgain(ctx, site, job)
	case control.RenderJob:
		return s.render(ctx, site, job)
	case control.DeleteJob:
		return s.remove(ctx, site, job)
	}
	return fmt.Errorf("job of an unknown kind %q", job.Kind)
}

func (s *Scheduler) warmPages(ctx context.Context, site prerender.Site, job *control.Job) error {
	var pages source
	switch {
	case len(job.Warm.URLs) > 0:
		pages = func(found func(sitemap.Entry) bool) error {
			for _, address := range job.Warm.URLs {
				if !found(sitemap.Entry{URL: address}) {
					break
				}
			}
			return nil
		}
	case len(job.Warm.Sitemaps) > 0:
		pages = s.sitemaps(ctx, job.Warm.Sitemaps)
	case site.Warming != nil && len(site.Warming.Sitemaps) > 0:
		pages = s.sitemaps(ctx, site.Warming.Sitemaps)
	default:
		return fmt.Errorf("site %s: %w", site.Origin, errNoSitemaps)
	}
	look, err := s.lookOne(ctx, site), error(nil)
	if len(job.Warm.URLs) == 0 {
		look, err = s.lookAll(ctx, site)
	}
	if err != nil {
		return err
	}
	err = s.run(ctx, site, &job.Progress, pages, look, func() error { return s.Plane.SaveJob(context.WithoutCancel(ctx), job) })
	if err == nil && job.Progress.Attempts >= mostAttempts {
		return errUnread
	}
	return err
}

// madeAgainAtOnce is how many purged pages are kept in memory: sites have millions.
const madeAgainAtOnce = 1000

// makeAgain queues the pages that a purge has hit.
func (s *Scheduler) makeAgain(ctx context.Context, site prerender.Site, job *control.Job) error {
	pace, saved := s.pace(site), time.Now()
	for {
		var purged []prerender.Listed
		err := s.Plane.Pages.List(ctx, site.Origin, job.Last, func(l prerender.Listed) bool {
			if site.IsPurged(l) && job.Purge.Hits(l) {
				purged = append(purged, prerender.Listed{Key: l.Key, StaleAt: l.StaleAt, AskedAt: l.AskedAt})
			}
			return len(purged) < madeAgainAtOnce
		})
		for _, l := range purged {
			if err == nil {
				err = s.queueAgain(ctx, site, l, job, pace)
			}
			if err == nil && time.Since(saved) > saveEvery {
				saved, err = time.Now(), s.Plane.SaveJob(ctx, job)
			}
		}
		if err != nil {
			return err
		}
		if len(purged) < madeAgainAtOnce {
			job.Progress.Ended = s.now()
			return nil
		}
	}
}

func (s *Scheduler) queueAgain(ctx context.Context, site prerender.Site, l prerender.Listed, job *control.Job, pace <-chan time.Time) error {
	page, unknown := site.PageOf(l.Key)
	warmth := prerender.Foreign // settings have changed: it is not asked for any more
	if unknown == nil {
		page.Unasked = true
		if warmth = page.Warmth(l, s.now()); warmth != prerender.Idle {
			warmth = prerender.Queued
			if err := s.queue(ctx, page, pace); err != nil {
				return err
			}
		}
	}
	job.Progress.Pages[warmth]++
	job.Progress.Entries++
	job.Last = l.Key
	return nil
}

// render makes all variants of a page.
func (s *Scheduler) render(ctx context.Context, site prerender.Site, job *control.Job) error {
	pages, err := variants(site, job.Page.URL)
	for _, page := range pages {
		page.ChangedAt = job.CreatedAt // what was made before is not fresh any more
		snap, renderErr := s.Remake(ctx, page)
		switch {
		case renderErr != nil:
			err = errors.Join(err, renderErr)
		case snap.Expires.IsZero():
			why := "its status is not one that is kept"
			if snap.Partial != "" {
				why = "it was still waiting for " + snap.Partial
			}
			err = errors.Join(err, fmt.Errorf("%s was rendered and is not stored: %s", page.URL, why))
		default:
			job.Progress.Pages[prerender.Made]++
		}
	}
	return err
}

// remove deletes what is stored of a page, by today's settings and by earlier ones.
func (s *Scheduler) remove(ctx context.Context, site prerender.Site, job *control.Job) error {
	pages, err := variants(site, job.Page.URL)
	if err != nil {
		return err
	}
	keys := map[prerender.Key]bool{}
	for _, page := range pages {
		keys[page.Key] = true
	}
	address, _, _ := strings.Cut(string(pages[0].Key), " ")
	err = s.Plane.Pages.List(ctx, site.Origin, prerender.Key(address+" "), func(l prerender.Listed) bool {
		ours := strings.HasPrefix(string(l.Key), address+" ")
		if ours {
			keys[l.Key] = true
		}
		return ours
	})
	if err == nil {
		err = s.Plane.Pages.Delete(ctx, slices.Collect(maps.Keys(keys))...)
	}
	if err == nil {
		job.Progress.Pages[prerender.Deleted] = len(keys)
	}
	return err
}

func variants(site prerender.Site, address string) ([]prerender.Page, error) {
	target, ok := prerender.TargetOf(site, address)
	if !ok {
		return nil, fmt.Errorf("%.200q is not a page of %s", address, site.Origin)
	}
	return site.Variants(target)
}
