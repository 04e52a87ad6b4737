package warm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/sitemap"
)

// Scheduler has the pages of sites' sitemaps made when their time has come: it queues
// them, at the pace that the site allows, and whoever works on the queue makes them.
type Scheduler struct {
	Sites interface {
		All(ctx context.Context) ([]prerender.Site, error)
	}
	Pages prerender.Store
	Queue prerender.Queue
	Runs  prerender.WarmRuns

	// Client reads sitemaps, which may name any address.
	Client *http.Client

	// Now is the clock of runs. Nil means time.Now.
	Now func() time.Time

	// Log gets what runs have come to. Nil means slog.Default().
	Log *slog.Logger
}

const (
	// mostAttempts is how often all of the sitemaps are tried to be read.
	mostAttempts = 3

	// mostFaults are kept of a run.
	mostFaults = 10

	// queueAttempts is how often a page is tried to be queued, a second apart: a queue
	// that is full has room when some pages are made.
	queueAttempts = 30

	// saveEvery is after how many entries it is noted how far a run has come.
	saveEvery = 500
	saveTime  = 5 * time.Second
)

// Tick begins runs whose time has come, and goes on with those that were cut off,
// until they are done or the context ends. What is left is for the next call.
func (s *Scheduler) Tick(ctx context.Context) error {
	sites, err := s.Sites.All(ctx)
	errs := []error{err}
	for _, site := range sites {
		if site.Warming != nil && ctx.Err() == nil {
			errs = append(errs, s.tick(ctx, site))
		}
	}
	return errors.Join(errs...)
}

func (s *Scheduler) tick(ctx context.Context, site prerender.Site) error {
	host := site.Origin.Host
	last, err := s.Runs.WarmRun(ctx, host)
	if err != nil {
		return err
	}
	run, due := site.Warming.Due(last, s.now())
	if !due {
		return nil
	}
	if run.Pages == nil {
		run.Pages = map[prerender.Warmth]int{}
	}
	err = s.run(ctx, site, &run)
	if ctx.Err() != nil {
		err = nil // it goes on with the next call
	}
	if !run.Ended.IsZero() {
		s.log().InfoContext(ctx, "sitemaps done", "site", site.Origin, "entries", run.Entries, "pages", run.Pages, "faults", run.Faults)
	}
	return errors.Join(err, s.save(ctx, host, run))
}

func (s *Scheduler) save(ctx context.Context, host string, run prerender.WarmRun) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	return s.Runs.PutWarmRun(ctx, host, run)
}

// run goes over the sitemaps from where the run has come to.
func (s *Scheduler) run(ctx context.Context, site prerender.Site, run *prerender.WarmRun) error {
	// A few hundred bytes for each stored page of the site.
	stored := map[prerender.Key]*prerender.Listed{}
	err := s.Pages.List(ctx, site.Origin, "", func(l prerender.Listed) bool {
		stored[l.Key] = &l
		return true
	})
	if err != nil {
		return err
	}
	pace := time.NewTicker(site.Warming.Interval())
	defer pace.Stop()
	entries := 0
	var stopped error
	found := func(e sitemap.Entry) bool {
		if entries++; entries <= run.Entries {
			return true
		}
		if stopped = s.entry(ctx, site, e, stored, run, pace.C); stopped != nil {
			return false
		}
		run.Entries = entries
		if entries%saveEvery == 0 {
			stopped = s.save(ctx, site.Origin.Host, *run)
		}
		return stopped == nil
	}
	var unread []error
	for _, address := range site.Warming.Sitemaps {
		if stopped == nil {
			unread = append(unread, sitemap.Read(ctx, s.Client, address, found))
		}
	}
	if stopped == nil {
		stopped = ctx.Err()
	}
	if stopped != nil {
		return stopped
	}
	if err := errors.Join(unread...); err != nil {
		fault(run, err.Error())
		if run.Attempts++; run.Attempts < mostAttempts {
			run.Entries = 0 // what comes after the gap has another place next time
			return nil
		}
	}
	run.Ended = s.now()
	return nil
}

// entry queues the pages of a sitemap's entry that are to be made.
func (s *Scheduler) entry(ctx context.Context, site prerender.Site, e sitemap.Entry, stored map[prerender.Key]*prerender.Listed, run *prerender.WarmRun, pace <-chan time.Time) error {
	target, ok := targetOf(site, e.URL)
	if !ok {
		run.Pages[prerender.Foreign]++
		fault(run, fmt.Sprintf("%.200s is not a page of %s", e.URL, site.Origin))
		return nil
	}
	pages, err := site.Variants(target)
	if err != nil {
		run.Pages[prerender.Foreign]++
		fault(run, err.Error())
		return nil
	}
	for _, page := range pages {
		page.Unasked, page.ChangedAt = true, e.LastMod
		warmth := page.Warmth(stored[page.Key], e.LastMod, *run, s.now())
		if warmth == prerender.Queued {
			if err := s.queue(ctx, page, pace); err != nil {
				return err
			}
		}
		run.Pages[warmth]++
	}
	return nil
}

func (s *Scheduler) queue(ctx context.Context, page prerender.Page, pace <-chan time.Time) error {
	for attempt := 1; ; attempt++ {
		select {
		case <-pace:
		case <-ctx.Done():
			return ctx.Err()
		}
		err := s.Queue.Enqueue(ctx, page)
		if err == nil || attempt == queueAttempts {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// targetOf returns the path and query of an address, if it is one of the site's.
func targetOf(site prerender.Site, address string) (string, bool) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok || strings.ToLower(scheme) != site.Origin.Scheme {
		return "", false
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, err := prerender.NormalizeHost(site.Origin.Scheme, rest[:end])
	if err != nil || host != site.Origin.Host {
		return "", false
	}
	target := rest[end:]
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	return target, true
}

func fault(run *prerender.WarmRun, text string) {
	if len(run.Faults) < mostFaults {
		run.Faults = append(run.Faults, text)
	}
}

func (s *Scheduler) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Scheduler) log() *slog.Logger { return cmp.Or(s.Log, slog.Default()) }
