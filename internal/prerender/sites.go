package prerender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Sites finds the site that a host belongs to.
type Sites interface {
	// Site returns the site of a host in the form of Origin.Host, or
	// ErrSiteUnknown. It is safe for concurrent use.
	Site(ctx context.Context, host string) (Site, error)
}

// SiteList is a fixed set of sites by host.
type SiteList map[string]Site

// NewSiteList makes a list, or says which sites share a host.
func NewSiteList(sites ...Site) (SiteList, error) {
	list := SiteList{}
	var errs []error
	for _, s := range sites {
		if _, dup := list[s.Origin.Host]; dup {
			errs = append(errs, fmt.Errorf("site %s is given twice", s.Origin.Host))
		}
		list[s.Origin.Host] = s
	}
	return list, errors.Join(errs...)
}

// Site implements Sites.
func (l SiteList) Site(_ context.Context, host string) (Site, error) {
	s, ok := l[host]
	if !ok {
		return Site{}, fmt.Errorf("host %q: %w", host, ErrSiteUnknown)
	}
	return s, nil
}

// Complete returns a stored site with what the fixed one of the same host says beside.
func (l SiteList) Complete(stored Site) Site {
	fixed := l[stored.Origin.Host]
	stored.Settings, stored.Warming = stored.Settings.or(fixed.Settings), cmp.Or(stored.Warming, fixed.Warming)
	return stored
}

// SiteCache is Sites on a SiteStore. It keeps a copy of all sites, so that a
// request costs no read of them.
//
// It is safe for concurrent use.
type SiteCache struct {
	Store SiteStore

	// Fixed are sites that need no store. If one is stored too, what that does not
	// say, the fixed one does.
	Fixed SiteList

	// MaxAge is how old the copy may be. Zero means DefaultSiteAge.
	MaxAge time.Duration

	// Now is the clock of MaxAge. Nil means time.Now.
	Now func() time.Time

	// Log gets what goes wrong with the store. Nil means slog.Default().
	Log *slog.Logger

	mu     sync.Mutex
	copied SiteList
	at     time.Time // of the last attempt
	err    error     // of the last attempt
	outage Outage
}

const (
	// DefaultSiteAge is how long an owner waits for a change to take effect, and how
	// often each instance reads all sites.
	DefaultSiteAge = 10 * time.Second

	// missAge is the same for a host that is not known: it may be a new site's. Bots
	// that are told 404 do not come back.
	missAge = time.Second

	// siteTimeout bounds a reading of all sites: a bot waits for it.
	siteTimeout = 2 * time.Second
)

// Site implements Sites. When the store fails, the copy is used as it is; a host
// that is not in it is ErrSitesDown then.
func (c *SiteCache) Site(ctx context.Context, host string) (Site, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh(ctx, c.maxAge())
	site, err := c.copied.Site(ctx, host)
	if err != nil {
		c.refresh(ctx, missAge)
		site, err = c.copied.Site(ctx, host)
	}
	if err != nil && c.err != nil {
		return Site{}, fmt.Errorf("host %q: %w: %w", host, ErrSitesDown, c.err)
	}
	return site, err
}

// All returns all sites, ordered by host.
func (c *SiteCache) All(ctx context.Context) ([]Site, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh(ctx, c.maxAge())
	var all []Site
	for _, host := range slices.Sorted(maps.Keys(c.copied)) {
		all = append(all, c.copied[host])
	}
	return all, c.err
}

// refresh reads the sites if the copy is older than that.
func (c *SiteCache) refresh(ctx context.Context, age time.Duration) {
	// Without the monotonic clock, which stands still while a function is frozen.
	now := c.now().Round(0)
	if since := now.Sub(c.at); !c.at.IsZero() && since >= 0 && since <= age {
		return
	}
	ctx, done := c.outage.Bound(context.WithoutCancel(ctx), siteTimeout)
	defer done()
	var stored []Site
	stored, c.err = c.Store.Sites(ctx)
	c.at = now
	if c.err != nil {
		c.at = c.now().Round(0) // when it was known to fail: those who wait do not ask one after another
		c.log().ErrorContext(ctx, "sites cannot be read; going on with those that are known", "err", c.err)
		if c.copied == nil {
			c.copied = c.Fixed
		}
		return
	}
	c.copied = maps.Clone(c.Fixed)
	if c.copied == nil {
		c.copied = SiteList{}
	}
	for _, site := range stored {
		c.copied[site.Origin.Host] = c.Fixed.Complete(site)
	}
}

func (c *SiteCache) maxAge() time.Duration {
	if c.MaxAge > 0 {
		return c.MaxAge
	}
	return DefaultSiteAge
}

func (c *SiteCache) now() time.Time { return clock(c.Now) }

func (c *SiteCache) log() *slog.Logger { return cmp.Or(c.Log, slog.Default()) }
