package prerender_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// A page that is made unasked and that nobody asks for is left alone a month after it has
// changed; one that somebody asks for is not, though it is always fresh when he does.
func TestUnaskedPages(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		asked       bool
		changed     time.Duration // before the beginning
		least, most int           // runs of a hundred that make it
	}{
		// 30 days, 22 until it is forgotten, and then again, since it may be new.
		"nobody asks for a new page":   {false, time.Hour, 30, 61},
		"nobody asks for an old page":  {false, 60 * day, 4, 5},
		"somebody asks":                {true, time.Hour, 90, 100},
		"somebody asks for an old one": {true, 60 * day, 90, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked, changed := tt.asked, tt.changed
			synctest.Test(t, func(t *testing.T) {
				s, store, q := service(&browser{do: ok})
				warming := site(t, "https://a.example")
				warming.Warming = &prerender.WarmRule{Sitemaps: []string{"https://a.example/sitemap.xml"}}
				p, err := warming.Page("/", prerender.Viewer{})
				if err != nil {
					t.Fatal(err)
				}
				p.Unasked = true
				p.ChangedAt = time.Now().Add(-changed)
				made := 0
				for range 100 { // a run each day
					now := time.Now()
					snap := store.pages[p.Key]
					if snap == nil || snap.Forgotten(now) || p.Warmth(snap.Listed(p.Key), now) == prerender.Queued {
						made++
						if err := s.Renew(t.Context(), p); err != nil {
							t.Fatal(err)
						}
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
				if made < tt.least || made > tt.most {
					t.Errorf("%d of 100 runs have made it, want %d to %d", made, tt.least, tt.most)
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
