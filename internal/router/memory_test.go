package router_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/router"
	"github.com/stillpage/stillpage/internal/telemetry"
)

// nothing is a store that keeps nothing, and a maker whose every tenth page fails.
type nothing struct{ made int }

func (*nothing) Get(context.Context, prerender.Key) (*prerender.Snapshot, error) {
	return nil, prerender.ErrNotFound
}
func (*nothing) Put(context.Context, prerender.Key, *prerender.Snapshot) error { return nil }
func (*nothing) Delete(context.Context, ...prerender.Key) error                { return nil }
func (*nothing) List(context.Context, prerender.Origin, prerender.Key, func(prerender.Listed) bool) error {
	return nil
}

func (n *nothing) Make(context.Context, prerender.Page, int64) (*prerender.Snapshot, []prerender.Phase, error) {
	n.made++
	status := 200
	if n.made%3 == 0 {
		status = 404
	}
	if n.made%10 == 0 {
		return nil, nil, prerender.ErrOriginUnreachable
	}
	return &prerender.Snapshot{Status: status, Header: http.Header{}}, nil, nil
}

// Whatever is asked for, and by however many: what is remembered of it has an end.
func TestMemoryIsFlat(t *testing.T) {
	pages := &nothing{}
	quiet := slog.New(slog.DiscardHandler)
	all := prerender.Rate{PerMinute: 1e6, Burst: 1e6} // are to be rendered
	h := &router.Handler{
		Sites: prerender.SiteList{"a.example": prerender.Site{Origin: prerender.Origin{Scheme: "https", Host: "a.example"}, Settings: prerender.Settings{
			Limits: &prerender.LimitRule{Site: all, NotFound: all},
		}}},
		Service: &prerender.Service{
			Store: pages, Maker: pages, Limiter: &prerender.MemoryLimiter{}, Log: quiet,
		},
		Observer: &telemetry.Observer{Log: quiet},
	}
	asked := 0
	ask := func(n int) (heap uint64) {
		for range n {
			asked++
			r := httptest.NewRequest("GET", fmt.Sprintf("/directory-%d/page-%d?x=%d", asked, asked, asked), nil)
			r.Header.Set(router.HostHeader, "a.example")
			r.Header.Set(router.ClientHeader, fmt.Sprintf("2001:db8:%x:%x00::1", asked>>8, asked&0xff))
			r.Header.Set("User-Agent", "GPTBot/1.2")
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const some, most = 30_000, 130_000
	before := ask(some)
	after := ask(most - some)
	t.Logf("%d MB after %d pages, %d MB after %d, %d made", before>>20, some, after>>20, most, pages.made)
	if pages.made < most/2 {
		t.Errorf("only %d pages were made", pages.made)
	}
	// Limits remember 100,000 names, of a hundred bytes each.
	if grown := int64(after) - int64(before); grown > 16<<20 {
		t.Errorf("%d distinct pages more take %d MB more", most-some, grown>>20)
	}
	if err := h.Service.(*prerender.Service).Wait(t.Context()); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
