package warm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/sitemap"
)

// Scheduler has the pages of sites' sitemaps made when their time has come, and does the
// jobs that operators have ordered. It queues pages, at the pace that the site allows, and
// whoever works on the queue makes them.
type Scheduler struct {
	Sites interface {
		All(ctx context.Context) ([]prerender.Site, error)
	}
	Plane *control.Plane
	Queue prerender.Queue

	// Remake makes a page at once.
	Remake func(ctx context.Context, page prerender.Page) (*prerender.Snapshot, error)

	// Client reads sitemaps, which may name any address.
	Client *http.Client

	// Now is the clock of runs. Nil means time.Now.
	Now func() time.Time

	// Log gets what runs have come to. Nil means slog.Default().
	Log *slog.Logger

	mu     sync.Mutex
	active map[string]bool         // what a Tick is at
	paces  map[string]*time.Ticker // by host: all that is queued for a site goes by one
}

const (
	// mostAttempts is how often all of the sitemaps are tried to be read.
	mostAttempts = 3

	// mostFaults are kept of a run.
	mostFaults = 10

	// queueAttempts is how often a page is tried to be queued, a second apart: a queue
	// that is full has room when some pages are made.
	queueAttempts = 30

	// saveEvery is how often it is noted how far a run has come: people watch it.
	saveEvery = 5 * time.Second
	saveTime  = 5 * time.Second

	// lookEvery is how often it is looked for jobs while others are done.
	lookEvery = 5 * time.Second

	// handsOff is for how long a job of one page is left to whoever has ordered it.
	handsOff = time.Minute
)

// Tick begins runs whose time has come, and goes on with those that were cut off, and
// with jobs, those among them that are ordered meanwhile, until all are done or the context
// ends. What is left is for the next call. What another call is at is left to that.
func (s *Scheduler) Tick(ctx context.Context) error {
	sites, err := s.Sites.All(ctx)
	errs := []error{err}
	running, ended := 0, make(chan error)
	launch := func(name string, do func() error) {
		running++
		go func() { ended <- s.alone(name, do) }()
	}
	for _, site := range sites {
		if site.Warming != nil {
			launch("run "+site.Origin.Host, func() error { return s.tick(ctx, site) })
		}
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	tried := map[string]bool{} // one that fails is for the next call
	for {
		if err := s.launchJobs(ctx, tried, launch); err != nil {
			errs = append(errs, err)
		}
		if running == 0 {
			return errors.Join(errs...)
		}
		select {
		case err := <-ended:
			running--
			errs = append(errs, err)
		case <-look.C:
		case <-ctx.Done():
			for ; running > 0; running-- {
				errs = append(errs, <-ended)
			}
			return errors.Join(errs...)
		}
	}
}

// launchJobs begins with the open jobs of each site, one after the other.
func (s *Scheduler) launchJobs(ctx context.Context, tried map[string]bool, launch func(string, func() error)) error {
	jobs, err := s.Plane.OpenJobs(ctx)
	bySite := map[string][]control.Job{}
	for _, job := range jobs {
		mine := job.Page != nil && s.now().Sub(job.CreatedAt) <= handsOff
		if !mine && !tried[job.ID] && !s.isActive("jobs "+job.Site) {
			tried[job.ID] = true
			bySite[job.Site] = append(bySite[job.Site], job)
		}
	}
	for host, jobs := range bySite {
		launch("jobs "+host, func() error {
			var errs []error
			for _, job := range jobs {
				if ctx.Err() == nil {
					errs = append(errs, s.Do(ctx, &job))
				}
			}
			return errors.Join(errs...)
		})
	}
	return err
}

func (s *Scheduler) isActive(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active[name]
}

// pace ticks when the next page of a site may be queued.
func (s *Scheduler) pace(site prerender.Site) <-chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	host, interval := site.Origin.Host, site.Warming.Interval()
	if s.paces == nil {
		s.paces = map[string]*time.Ticker{}
	}
	if s.paces[host] == nil {
		s.paces[host] = time.NewTicker(interval)
	}
	s.paces[host].Reset(interval) // it may have changed
	return s.paces[host].C
}

// alone does something that nothing else of this scheduler is at.
func (s *Scheduler) alone(name string, do func() error) error {
	s.mu.Lock()
	if s.active[name] {
		s.mu.Unlock()
		return nil
	}
	if s.active == nil {
		s.active = map[string]bool{}
	}
	s.active[name] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.active, name)
	}()
	return do()
}

func (s *Scheduler) tick(ctx context.Context, site prerender.Site) error {
	host := site.Origin.Host
	last, err := s.Plane.Run(ctx, host)
	if err != nil {
		return err
	}
	run, due := site.Warming.Due(last, s.now())
	if !due {
		return nil
	}
	save := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
		defer cancel()
		return s.Plane.SaveRun(ctx, host, run)
	}
	if err := save(); err != nil { // whatever becomes of this process
		return err
	}
	look, err := s.lookAll(ctx, site)
	if err == nil {
		err = s.run(ctx, site, &run, s.sitemaps(ctx, site.Warming.Sitemaps), look, save)
	}
	if ctx.Err() != nil {
		err = nil // it goes on with the next call
	}
	if !run.Ended.IsZero() {
		s.log().InfoContext(ctx, "sitemaps done", "site", site.Origin, "entries", run.Entries, "pages", run.Pages, "faults", run.Faults)
	}
	return errors.Join(err, save())
}

// source has pages that are perhaps to be made, always in the same order. Its error is
// that some could not be read.
type source func(found func(sitemap.Entry) bool) error

func (s *Scheduler) sitemaps(ctx context.Context, addresses []string) source {
	return func(found func(sitemap.Entry) bool) error {
		var unread []error
		more := true
		for _, address := range addresses {
			if more {
				unread = append(unread, sitemap.Read(ctx, s.Client, address, func(e sitemap.Entry) bool {
					more = found(e)
					return more
				}))
			}
		}
		return errors.Join(unread...)
	}
}

// run goes over a source from where the run has come to.
func (s *Scheduler) run(ctx context.Context, site prerender.Site, run *prerender.WarmRun, source source, look look, save func() error) error {
	if run.Pages == nil {
		run.Pages = map[prerender.Warmth]int{}
	}
	pace := s.pace(site)
	entries, saved := 0, time.Now()
	var stopped error
	unread := source(func(e sitemap.Entry) bool {
		if entries++; entries <= run.Entries {
			return true
		}
		if stopped = s.entry(ctx, site, e, look, run, pace); stopped != nil {
			return false
		}
		run.Entries = entries
		if time.Since(saved) > saveEvery {
			stopped, saved = save(), time.Now()
		}
		return stopped == nil
	})
	if stopped = cmp.Or(stopped, ctx.Err()); stopped != nil {
		return stopped
	}
	if unread != nil {
		fault(run, unread.Error())
		if run.Attempts++; run.Attempts < mostAttempts {
			// What comes after the gap has another place next time.
			run.Entries, run.Pages = 0, map[prerender.Warmth]int{}
			return nil
		}
	}
	run.Ended = s.now()
	return nil
}

// known is what is kept of a stored page during a run: sites have millions.
type known struct {
	rendered, stale, asked int64 // ms
	purged                 bool
}

type hash [16]byte

func hashOf(key prerender.Key) hash {
	sum := sha256.Sum256([]byte(key))
	return hash(sum[:16])
}

// look decides what becomes of a page.
type look func(page prerender.Page) (prerender.Warmth, error)

// lookAll lists the pages that are there, to look at many.
func (s *Scheduler) lookAll(ctx context.Context, site prerender.Site) (look, error) {
	all := map[hash]known{}
	err := s.Plane.Pages.List(ctx, site.Origin, "", func(l prerender.Listed) bool {
		all[hashOf(l.Key)] = known{l.RenderedAt.UnixMilli(), l.StaleAt.UnixMilli(), l.AskedAt.UnixMilli(), site.IsPurged(l)}
		return true
	})
	return func(page prerender.Page) (prerender.Warmth, error) {
		k, ok := all[hashOf(page.Key)]
		if !ok {
			return prerender.Queued, nil
		}
		return s.warmth(page, prerender.Listed{
			RenderedAt: time.UnixMilli(k.rendered), StaleAt: time.UnixMilli(k.stale), AskedAt: time.UnixMilli(k.asked),
		}, k.purged), nil
	}, err
}

// lookOne reads each page, to look at a few.
func (s *Scheduler) lookOne(ctx context.Context, site prerender.Site) look {
	return func(page prerender.Page) (prerender.Warmth, error) {
		snap, err := s.Plane.Pages.Get(ctx, page.Key)
		switch {
		case errors.Is(err, prerender.ErrNotFound):
			return prerender.Queued, nil
		case err != nil:
			return "", err
		}
		listed := snap.Listed(page.Key)
		return s.warmth(page, listed, site.IsPurged(listed)), nil
	}
}

func (s *Scheduler) warmth(page prerender.Page, l prerender.Listed, purged bool) prerender.Warmth {
	warmth := page.Warmth(l, s.now())
	if warmth == prerender.Warm && purged {
		return prerender.Queued
	}
	return warmth
}

// entry queues the pages of a sitemap's entry that are to be made.
func (s *Scheduler) entry(ctx context.Context, site prerender.Site, e sitemap.Entry, look look, run *prerender.WarmRun, pace <-chan time.Time) error {
	target, ok := prerender.TargetOf(site, e.URL)
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
	if e.LastMod.After(s.now()) {
		e.LastMod = time.Time{} // it would be made again with every run
	}
	for _, page := range pages {
		page.Unasked, page.ChangedAt = true, e.LastMod
		warmth, err := look(page)
		if err != nil {
			return err
		}
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

func fault(run *prerender.WarmRun, text string) {
	if len(run.Faults) < mostFaults && !slices.Contains(run.Faults, text) {
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
