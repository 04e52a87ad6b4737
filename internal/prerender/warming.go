package prerender

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
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

	// PerMinute is how many pages are queued in a minute, at most. Zero:
	// DefaultWarmRate.
	PerMinute int `json:"perMinute,omitempty"`
}

const (
	// DefaultWarmEvery is how long a page is fresh if nobody says otherwise.
	DefaultWarmEvery = day

	// DefaultWarmRate, a minute, is less than four places make of pages that take
	// three seconds each, so that stale pages which bots have asked for do not queue up
	// behind those that nobody has.
	DefaultWarmRate = 60

	// DefaultIdle: by then a page has been rendered thirty times in vain, for half a
	// cent of a dollar.
	DefaultIdle = 30 * day
)

func (w *WarmRule) every() time.Duration {
	return cmp.Or(time.Duration(w.Every), DefaultWarmEvery)
}

// idle is for sites without a rule, too: they may have had one.
func (w *WarmRule) idle() time.Duration {
	if w == nil {
		return DefaultIdle
	}
	return cmp.Or(time.Duration(w.Idle), DefaultIdle)
}

// Interval is the time between two pages that are queued. A nil rule has the default.
func (w *WarmRule) Interval() time.Duration {
	return Rate{PerMinute: cmp.Or(value(w).PerMinute, DefaultWarmRate)}.Interval()
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

// PageOf returns the page that is stored under a key of the site. The error wraps
// ErrURLInvalid.
func (s Site) PageOf(key Key) (Page, error) {
	address, viewer, _ := strings.Cut(string(key), " ")
	device, language, _ := strings.Cut(viewer, " ")
	target, ok := strings.CutPrefix(address, s.Origin.String())
	if !ok {
		return Page{}, fmt.Errorf("page %q is not of %s: %w", key, s.Origin, ErrURLInvalid)
	}
	page, err := s.Page(target, Viewer{Device: Device(device), AcceptLanguage: language})
	if err == nil && page.Key != key {
		err = fmt.Errorf("page %q has another key by the site's settings now: %w", key, ErrURLInvalid)
	}
	return page, err
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

	// Entries of the sitemaps are done, in their order. A run that was cut off goes on
	// with the next.
	Entries int `json:"entries"`

	// Attempts have failed to read all of the sitemaps.
	Attempts int `json:"attempts,omitempty"`

	Pages  map[Warmth]int `json:"pages,omitempty"`  // an entry has one for each device and language
	Faults []string       `json:"faults,omitempty"` // of sitemaps and entries, the first ones
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
	return WarmRun{Began: now}, true
}

// Warmth is what a run makes of a page.
type Warmth string

const (
	Queued  Warmth = "queued"  // to be made: it is missing, stale, purged or has changed
	Warm    Warmth = "fresh"   // nothing to do
	Idle    Warmth = "idle"    // nobody has asked for it
	Foreign Warmth = "foreign" // it is not the site's

	Made    Warmth = "made"    // by a job that does not queue
	Deleted Warmth = "deleted" // by a job
)

// Warmth decides what a run makes of a page of which a snapshot like this is stored. One
// that is missing is always to be made.
func (p Page) Warmth(stored Listed, now time.Time) Warmth {
	switch {
	case now.Sub(stored.AskedAt) > p.Site.Warming.idle():
		return Idle
	case stored.RenderedAt.Before(p.ChangedAt), now.After(stored.StaleAt):
		return Queued
	}
	return Warm
}

// askedAt is when somebody has asked for a page that is made unasked: when it was before,
// or else when the page has changed, so that an old page which nobody has asked for yet is
// made once and not kept fresh until somebody does.
func (p Page) askedAt(old *Snapshot, began time.Time) time.Time {
	switch {
	case !p.Unasked:
		return began
	case old != nil:
		return cmp.Or(old.AskedAt, old.RenderedAt)
	case !p.ChangedAt.IsZero() && p.ChangedAt.Before(began):
		return p.ChangedAt
	}
	return began
}

// unnoticed says whether somebody asks for a page that has been made unasked for so
// long that it would soon be taken for idle. Making it again is how it is noted that
// somebody does.
func (p Page) unnoticed(snap *Snapshot, now time.Time) bool {
	return !p.Unasked && snap.AskedAt.Before(snap.RenderedAt) && !snap.AskedAt.IsZero() && now.Sub(snap.AskedAt) > p.Site.Warming.idle()/2
}
