package warm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/sitemap"
)

// Do does a job, or goes on with one that was cut off, until it is over or the context
// ends. An error of the job's own is in the job, which has failed then; the error that is
// returned is the store's.
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
	case err != nil && ctx.Err() != nil:
		err = s.Plane.SaveJob(saving, job) // it goes on with the next call
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
		return fmt.Errorf("site %s has no sitemaps; name some, or URLs, or write them into the site's warming", site.Origin)
	}
	err := s.run(ctx, site, &job.Progress, pages, func() error { return s.Plane.SaveJob(context.WithoutCancel(ctx), job) })
	if err == nil && job.Progress.Attempts >= mostAttempts {
		return errors.New("not all sitemaps could be read")
	}
	return err
}

// makeAgain queues the pages that a purge has hit.
func (s *Scheduler) makeAgain(ctx context.Context, site prerender.Site, job *control.Job) error {
	pace := time.NewTicker(site.Warming.Interval())
	defer pace.Stop()
	var purged []prerender.Listed
	err := s.Plane.Pages.List(ctx, site.Origin, job.Last, func(l prerender.Listed) bool {
		if site.IsPurged(l) && job.Purge.Hits(l) {
			purged = append(purged, prerender.Listed{Key: l.Key, StaleAt: l.StaleAt, AskedAt: l.AskedAt})
		}
		return true
	})
	saved := time.Now()
	for _, l := range purged {
		if err != nil {
			break
		}
		page, unknown := site.PageOf(l.Key)
		if unknown != nil {
			job.Progress.Pages[prerender.Foreign]++ // settings have changed: it is not asked for any more
			continue
		}
		page.Unasked = true
		warmth := page.Warmth(l, s.now())
		if warmth != prerender.Idle {
			warmth, err = prerender.Queued, s.queue(ctx, page, pace.C)
		}
		if err == nil {
			job.Progress.Pages[warmth]++
			job.Progress.Entries++
			job.Last = l.Key
		}
		if err == nil && time.Since(saved) > saveEvery {
			saved, err = time.Now(), s.Plane.SaveJob(ctx, job)
		}
	}
	if err == nil {
		job.Progress.Ended = s.now()
	}
	return err
}

// render makes all variants of a page.
func (s *Scheduler) render(ctx context.Context, site prerender.Site, job *control.Job) error {
	pages, err := variants(site, job.Page.URL)
	for _, page := range pages {
		if err == nil {
			page.ChangedAt = job.CreatedAt // what was made before is not fresh any more
			err = s.Renew(ctx, page)
		}
		if err == nil {
			job.Progress.Pages[prerender.Made]++
		}
	}
	return err
}

// remove deletes what is stored of a page.
func (s *Scheduler) remove(ctx context.Context, site prerender.Site, job *control.Job) error {
	pages, err := variants(site, job.Page.URL)
	var keys []prerender.Key
	for _, page := range pages {
		keys = append(keys, page.Key)
	}
	if err == nil {
		err = s.Plane.Pages.Delete(ctx, keys...)
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
