package prerender_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/prerender"
)

// What a purge hits is stale, or with a hard one gone, until it is made again.
func TestPurge(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		purge prerender.Purge
		want  prerender.Source // of /blog/a?x=1, with the tags "a" and "b c"
	}{
		"all":             {prerender.Purge{}, prerender.StaleHit},
		"all, hard":       {prerender.Purge{Hard: true}, prerender.Miss},
		"path":            {prerender.Purge{Path: "/blog/a"}, prerender.StaleHit},
		"prefix":          {prerender.Purge{Path: "/blog/*"}, prerender.StaleHit},
		"pattern":         {prerender.Purge{Path: "/*/a"}, prerender.StaleHit},
		"other path":      {prerender.Purge{Path: "/blog"}, prerender.Hit},
		"tag":             {prerender.Purge{Tag: "a"}, prerender.StaleHit},
		"second tag":      {prerender.Purge{Tag: "b c", Hard: true}, prerender.Miss},
		"surrogate key":   {prerender.Purge{Tag: "k2"}, prerender.StaleHit},
		"part of a tag":   {prerender.Purge{Tag: "b"}, prerender.Hit},
		"tag and path":    {prerender.Purge{Tag: "a", Path: "/blog/*"}, prerender.StaleHit},
		"tag, other path": {prerender.Purge{Tag: "a", Path: "/x"}, prerender.Hit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service, _, queue := service(&browser{do: func(ctx context.Context, n int) (*prerender.Rendering, error) {
				r, err := ok(ctx, n)
				r.Header = http.Header{"Cache-Tag": {"a, b c"}, "Surrogate-Key": {"k1 k2"}}
				return r, err
			}})
			p := page(t, "/blog/a?x=1")
			if a := want(t, service, p, prerender.Miss, "render 1"); len(a.Header) != 0 {
				t.Errorf("tags are handed on: %v", a.Header)
			}
			var err error
			if p.Site, err = p.Site.WithPurge(tt.purge, time.Now()); err != nil {
				t.Fatal(err)
			}
			p.Site.Version = p.Site.Purges[0].Version // by the store
			body := "render 1"
			if tt.want == prerender.Miss {
				body = "render 2"
			}
			want(t, service, p, tt.want, body)
			if queued := len(queue.pages) > 0; queued != (tt.want == prerender.StaleHit) {
				t.Errorf("queued is %v", queued)
			}
			if tt.want == prerender.StaleHit {
				if err := service.Renew(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				body = "render 2"
			}
			want(t, service, p, prerender.Hit, body)
		})
	}
}

// A render that began before the purge does not count as made after it.
func TestPurgeWhileRendering(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service, _, _ := service(&browser{do: func(ctx context.Context, n int) (*prerender.Rendering, error) {
			time.Sleep(5 * time.Second)
			return ok(ctx, n)
		}})
		p := page(t, "/")
		go service.Answer(t.Context(), prerender.Request{Page: p})
		time.Sleep(time.Second)
		purged, err := p.Site.WithPurge(prerender.Purge{Hard: true}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		purged.Version = purged.Purges[0].Version
		time.Sleep(10 * time.Second)
		p.Site = purged
		want(t, service, p, prerender.Miss, "render 2")
		want(t, service, p, prerender.Hit, "render 2")
	})
}

func TestPurgesAreBounded(t *testing.T) {
	t.Parallel()
	s := site(t, "https://a.example")
	now := time.Now()
	add := func(p prerender.Purge) {
		t.Helper()
		var err error
		if s, err = s.WithPurge(p, now); err != nil {
			t.Fatal(err)
		}
		s.Version++
	}
	for i := range 3 * prerender.MostPurges {
		add(prerender.Purge{Path: "/" + string(rune('a'+i%26)) + string(rune('a'+i/26))})
	}
	if n := len(s.Purges); n != prerender.MostPurges {
		t.Errorf("got %d purges, want %d", n, prerender.MostPurges)
	}
	if first := s.Purges[0]; first.Path != "" || first.Version != 3*prerender.MostPurges-prerender.MostPurges+1 {
		t.Errorf("the oldest have become %+v, want one of the whole site", first)
	}
	add(prerender.Purge{Path: "/aa"})
	add(prerender.Purge{Path: "/aa"})
	if n := len(s.Purges); n != prerender.MostPurges {
		t.Errorf("after the same twice: got %d purges, want %d", n, prerender.MostPurges)
	}
	add(prerender.Purge{Path: "/hard", Hard: true})
	add(prerender.Purge{Path: "/hard"})
	if last := s.Purges[len(s.Purges)-2:]; !last[0].Hard || last[1].Hard {
		t.Errorf("a soft purge has taken the place of a hard one: %+v", last)
	}
	now = now.Add(prerender.MostLifetime + time.Hour)
	add(prerender.Purge{})
	if diff := cmp.Diff(1, len(s.Purges)); diff != "" {
		t.Errorf("old purges are remembered: %s", diff)
	}
	for _, bad := range []prerender.Purge{{Path: "blog/*"}, {Path: "*"}, {Tag: string(make([]byte, 300))}} {
		if _, err := s.WithPurge(bad, now); !errors.Is(err, prerender.ErrURLInvalid) {
			t.Errorf("%.30s: got %v, want it refused", bad.Path+bad.Tag, err)
		}
	}
}
