package admin_test

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

// pages is how many records BenchmarkScale makes; docs/admin.md has what a million gave.
var pages = flag.Int("pages", 20_000, "pages of BenchmarkScale")

// BenchmarkScale asks the API of an installation with 1,000 sites and many pages, half of
// them of one site. Nothing reads more than it answers or, where it searches within
// addresses, 5,000 entries a request: the stores' clients have no call that scans.
//
//	go test -run '^$' -bench Scale ./internal/admin -args -pages 1000000
func BenchmarkScale(b *testing.B) {
	for name, open := range map[string]func(*testing.B) *operator{
		"bbolt":         func(b *testing.B) *operator { store := openBolt(b); return newOperatorWith(b, store, store.Records()) },
		"DynamoDBLocal": func(b *testing.B) *operator { return overDynamoDB(b) },
	} {
		var o *operator
		fill := sync.OnceFunc(func() { o = open(b); fillUp(b, o, *pages) })
		for what, path := range map[string]string{
			"sites-list": "/v1/sites?limit=100", "sites-search": "/v1/sites?q=site-0999", "pages-list": "/v1/pages?site=site-0000.example&limit=100",
			"pages-below-a-path": "/v1/pages?site=site-0000.example&limit=100&q=/part-7/", "pages-search": "/v1/pages?site=site-0000.example&limit=100&q=-99&state=fresh",
			"page-explained": "/v1/pages/explanation?agent=GPTBot&url=https://site-0000.example/part-7/page-7",
		} {
			b.Run(name+"/"+what, func(b *testing.B) {
				fill()
				var took []time.Duration
				for b.Loop() {
					start := time.Now()
					r := httptest.NewRequest("GET", path, nil)
					r.Header.Set("Authorization", "Bearer "+firstToken)
					w := httptest.NewRecorder()
					o.api.ServeHTTP(w, r)
					took = append(took, time.Since(start))
					if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "site-0") {
						b.Fatalf("%s: got %d %.300s", path, w.Code, w.Body)
					}
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			})
		}
	}
}

func fillUp(b *testing.B, o *operator, pages int) {
	var writes []control.Write
	for i := range 1000 {
		host := fmt.Sprintf("site-%04d.example", i)
		document := fmt.Appendf(nil, `{"origin": "https://%s"}`, host)
		writes = append(writes, control.Write{Record: control.Record{Kind: control.SiteRecord, ID: host, Version: 1, Document: document}})
		if len(writes) == control.MostWrites {
			if err := o.plane.Records.Write(b.Context(), writes...); err != nil {
				b.Fatal(err)
			}
			writes = nil
		}
	}
	now := time.Now()
	next := make(chan int)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for i := range next {
				host := fmt.Sprintf("site-%04d.example", i%2*(1+i/2%999))
				key := prerender.Key(fmt.Sprintf("https://%s/part-%d/page-%d desktop", host, i/2%100, i/2))
				snap := &prerender.Snapshot{Status: 200, RenderedAt: now, AskedAt: now, StaleAt: now.Add(time.Hour), Expires: now.Add(24 * time.Hour), Header: http.Header{}, Gzip: []byte{}, Size: 20_000}
				if err := o.pages.Put(b.Context(), key, snap); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range pages {
		next <- i
	}
	close(next)
	all.Wait()
}
