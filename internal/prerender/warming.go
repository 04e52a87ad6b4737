package prerender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"
)

// WarmRule has the pages of a site made before anybody asks for them.
type WarmRule struct {
	// Sitemaps are the addresses of what lists the pages: sitemaps, indexes of
	// sitemaps, lists with a URL a line.
	Sitemaps []string `json:"sitemaps"`

	// Every is how long after the beginning of a run the next one begins. Zero:
	// DefaultWarmEvery.
	Every Duration `json:"every,omitzero"`

	// Idle is after how long a page that nobody has asked for is no longer made again;
	// it is forgotten when its lifetime is over. Zero: DefaultIdle.
	Idle Duration `json:"idle,omitzero"`

	// PerMinute is how many pages are queued in a minute, at most. Zero: what a crawler
	// may have, DefaultClientRate.
	PerMinute int `json:"perMinute,omitempty"`
}

const (
	// DefaultWarmEvery is how long a page is fresh if nobody says otherwise.
	DefaultWarmEvery = day

	// DefaultIdle: by then a page has been rendered thirty times in vain, for half a
	// cent of a dollar.
	DefaultIdle = 30 * day
)

func (w *WarmRule) every() time.Duration {
	return cmp.Or(time.Duration(w.Every), DefaultWarmEvery)
}

func (w *WarmRule) idle() time.Duration { return cmp.Or(time.Duration(w.Idle), DefaultIdle) }

// Interval is the time between two pages that are queued.
func (w *WarmRule) Interval() time.Duration {
	return Rate{PerMinute: cmp.Or(w.PerMinute, DefaultClientRate.PerMinute)}.Interval()
}

// WithSitemaps returns a list whose sites have those sitemaps that are at their own
// hosts.
func (l SiteList) WithSitemaps(every time.Duration, addresses ...string) (SiteList, error) {
	with := maps.Clone(l)
	var errs []error
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, fmt.Errorf("sitemap %q must be a URL like https://www.example.com/sitemap.xml", address))
			continue
		}
		host, err := NormalizeHost(u.Scheme, u.Host)
		site, known := with[host]
		if err != nil || !known {
			errs = append(errs, fmt.Errorf("sitemap %s is at the host of no site", address))
			continue
		}
		rule := value(site.Warming)
		rule.Every, rule.Sitemaps = Duration(every), append(slices.Clone(rule.Sitemaps), address)
		site.Warming = &rule
		with[host] = site
	}
	return with, errors.Join(errs...)
}

// Variants returns all pages that a target stands for: one for each device and
// language. The error wraps ErrURLInvalid.
func (s Site) Variants(target string) ([]Page, error) {
	first, err := s.Page(target, Viewer{})
	if err != nil {
		return nil, err
	}
	devices, languages := []Device{Desktop}, first.Rule.Vary.Languages
	if first.Rule.Vary.Mobile {
		devices = append(devices, Mobile)
	}
	if len(languages) == 0 {
		languages = []string{""}
	}
	var pages []Page
	for _, device := range devices {
		for _, language := range languages {
			page, err := s.Page(target, Viewer{Device: device, AcceptLanguage: language})
			if err != nil {
				return nil, err
			}
			pages = append(pages, page)
		}
	}
	return pages, nil
}

// WarmRun is how far the last run over a site's sitemaps has come, and what it did.
type WarmRun struct {
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended,omitzero"` // zero: it goes on

	// Before is when the run before this one began. Zero: there was none.
	Before time.Time `json:"before,omitzero"`

	// Entries of the sitemaps are done, in their order. A run that was cut off goes on
	// with the next.
	Entries int `json:"entries"`

	// Attempts have failed to read all of the sitemaps.
	Attempts int `json:"attempts,omitempty"`

	Pages  map[Warmth]int `json:"pages"`            // an entry has one for each device and language
	Faults []string       `json:"faults,omitempty"` // of sitemaps and entries, the first ones
}

// WarmRuns keeps the last run of each site. Every implementation passes package
// storetest.
//
// It is safe for concurrent use.
type WarmRuns interface {
	// WarmRun returns the last run of the site with a host; the zero one if there was none.
	WarmRun(ctx context.Context, host string) (WarmRun, error)

	PutWarmRun(ctx context.Context, host string, run WarmRun) error
}

// Due says whether a run is to begin, or to go on, and returns it.
func (w *WarmRule) Due(last WarmRun, now time.Time) (WarmRun, bool) {
	switch {
	case len(w.Sitemaps) == 0:
		return last, false
	case !last.Began.IsZero() && last.Ended.IsZero():
		return last, true
	case now.Sub(last.Began) < w.every():
		return last, false
	}
	return WarmRun{Began: now, Before: last.Began}, true
}

// Warmth is what a run makes of a page.
type Warmth string

const (
	Queued  Warmth = "queued"  // to be made: it is missing, stale, purged or has changed
	Warm    Warmth = "fresh"   // nothing to do
	Idle    Warmth = "idle"    // nobody has asked for it
	Dropped Warmth = "dropped" // the same, and it is forgotten already
	Foreign Warmth = "foreign" // it is not the site's
)

// Warmth decides what a run makes of a page, which has changed at the given time, as
// far as that is known, and of which the given snapshot is stored, if there is one.
func (p Page) Warmth(stored *Listed, changed time.Time, run WarmRun, now time.Time) Warmth {
	idle := p.Site.Warming.idle()
	if stored == nil {
		// One that had been there and has not changed since was forgotten. Or it has
		// never been made: then the first who asks for it has it made.
		if !changed.IsZero() && changed.Before(run.Before) && now.Sub(changed) > idle {
			return Dropped
		}
		return Queued
	}
	switch {
	case now.Sub(stored.AskedAt) > idle && !stored.AskedAt.IsZero():
		return Idle
	case stored.RenderedAt.Before(changed), now.After(stored.StaleAt), p.Site.purged(*stored) > notPurged:
		return Queued
	}
	return Warm
}

// unnoticed says whether somebody asks for a page that has been made unasked for so
// long that it would soon be taken for idle. Making it again is how it is noted that
// somebody does.
func (p Page) unnoticed(snap *Snapshot, now time.Time) bool {
	return !p.Unasked && p.Site.Warming != nil && !snap.AskedAt.IsZero() && now.Sub(snap.AskedAt) > p.Site.Warming.idle()/2
}
