package prerender_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// stored is a site store that may fail.
type stored struct {
	prerender.SiteStore
	sites []prerender.Site
	fail  error
	reads int
}

func (s *stored) Sites(context.Context) ([]prerender.Site, error) {
	s.reads++
	return s.sites, s.fail
}

func TestSiteCache(t *testing.T) {
	t.Parallel()
	site := func(url string, mobile bool) prerender.Site {
		origin, err := prerender.ParseOrigin(url)
		if err != nil {
			t.Fatal(err)
		}
		return prerender.Site{Origin: origin, Settings: prerender.Settings{Vary: &prerender.VaryRule{Mobile: mobile}}}
	}
	fixed, err := prerender.NewSiteList(site("https://fixed.example", false), site("https://both.example", false))
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Now()
	store := &stored{fail: errors.New("down")}
	cache := &prerender.SiteCache{Store: store, Fixed: fixed, Now: func() time.Time { return clock }, Log: slog.New(slog.DiscardHandler)}
	want := func(host string, known, mobile bool, reads int) {
		t.Helper()
		got, err := cache.Site(t.Context(), host)
		if errors.Is(err, prerender.ErrSiteUnknown) == known || (got.Vary != nil && got.Vary.Mobile) != mobile || store.reads != reads {
			t.Errorf("%s: got %+v, %v after %d reads, want known %v, mobile %v, %d reads", host, got, err, store.reads, known, mobile, reads)
		}
	}
	// A store that has never answered: what is fixed is there, and it is not asked
	// at every request.
	want("fixed.example", true, false, 1)
	down := func(reads int) {
		t.Helper()
		if _, err := cache.Site(t.Context(), "stored.example"); !errors.Is(err, prerender.ErrSitesDown) || errors.Is(err, prerender.ErrSiteUnknown) || store.reads != reads {
			t.Errorf("a host that may be one of the stored: got %v after %d reads, want ErrSitesDown after %d", err, store.reads, reads)
		}
	}
	down(1)
	down(1)

	store.fail, store.sites = nil, []prerender.Site{site("https://stored.example", true), site("https://both.example", true)}
	down(1)
	clock = clock.Add(time.Second + 1) // sooner than for one that is known
	want("stored.example", true, true, 2)
	want("both.example", true, true, 2)
	want("fixed.example", true, false, 2)
	want("other.example", false, false, 2)
	store.sites = append(store.sites, site("https://new.example", false))
	clock = clock.Add(time.Second + 1)
	want("fixed.example", true, false, 2)
	want("new.example", true, false, 3)

	// One that fails later, and one that has forgotten a site.
	clock = clock.Add(prerender.DefaultSiteAge + 1)
	store.fail = errors.New("down again")
	want("stored.example", true, true, 4)
	clock = clock.Add(prerender.DefaultSiteAge + 1)
	store.fail, store.sites = nil, nil
	want("stored.example", false, false, 5)
	want("both.example", true, false, 5)

	// A clock that was set back does not keep it from reading.
	clock = clock.Add(-time.Hour)
	want("both.example", true, false, 6)
}
