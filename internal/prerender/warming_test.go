package prerender_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// A page that is made unasked and that nobody asks for is left alone after a month;
// one that somebody asks for is not, though it is always fresh when he does.
func TestUnaskedPages(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, asked := range map[string]bool{"nobody asks": false, "somebody asks": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, store, q := service(&browser{do: ok})
				warming := site(t, "https://a.example")
				warming.Warming = &prerender.WarmRule{Sitemaps: []string{"https://a.example/sitemap.xml"}}
				p, err := warming.Page("/", prerender.Viewer{})
				if err != nil {
					t.Fatal(err)
				}
				p.Unasked = true
				begin, last := time.Now(), time.Now()
				for range 100 { // a run each day
					now := time.Now()
					var listed *prerender.Listed
					if snap := store.pages[p.Key]; snap != nil && !snap.Forgotten(now) {
						l := snap.Listed(p.Key)
						listed = &l
					}
					if p.Warmth(listed, begin.Add(-time.Hour), prerender.WarmRun{Before: now.Add(-day)}, now) == prerender.Queued {
						if err := s.Renew(t.Context(), p); err != nil {
							t.Fatal(err)
						}
						last = now
					}
					if asked {
						page := p
						page.Unasked = false
						if _, err := s.Answer(t.Context(), prerender.Request{Page: page}); err != nil {
							t.Fatal(err)
						}
					}
					for _, page := range q.pages {
						if err := s.Renew(t.Context(), page); err != nil {
							t.Fatal(err)
						}
					}
					q.pages = nil
					time.Sleep(day + time.Minute)
				}
				days := int(last.Sub(begin) / day)
				if asked && days < 80 { // an ask is a render too
					t.Errorf("the last run that made it was on day %d", days)
				}
				if !asked && (days < 28 || days > 31) {
					t.Errorf("it was made for the last time on day %d, want 30", days)
				}
				if forgotten := store.pages[p.Key].Forgotten(time.Now()); forgotten == asked {
					t.Errorf("after a hundred days: forgotten is %v", forgotten)
				}
			})
		})
	}
}

func TestWithSitemaps(t *testing.T) {
	t.Parallel()
	list, err := prerender.NewSiteList(site(t, "https://a.example"), site(t, "http://b.example:8080"))
	if err != nil {
		t.Fatal(err)
	}
	with, err := list.WithSitemaps(time.Hour, "https://A.example/1.xml", "https://a.example:443/2.xml", "http://b.example:8080/x")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := with["a.example"].Warming, with["b.example:8080"].Warming; len(a.Sitemaps) != 2 || len(b.Sitemaps) != 1 || a.Every != prerender.Duration(time.Hour) || list["a.example"].Warming != nil {
		t.Errorf("got %+v and %+v; before: %+v", a, b, list)
	}
	for _, wrong := range []string{"https://c.example/1.xml", "b.example/x", "ftp://a.example/x", "http://[/"} {
		if _, err := list.WithSitemaps(0, wrong); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}
