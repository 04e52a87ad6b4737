package router_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stillpage/stillpage/internal/awstest"
	"github.com/stillpage/stillpage/internal/boltstore"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/router"
	"github.com/stillpage/stillpage/internal/telemetry"
)

func TestMain(m *testing.M) { awstest.Main(m) }

// BenchmarkHit compares hits, over HTTP on loopback, with a handler that does
// nothing but write the same bytes.
//
//	go test -run '^$' -bench Hit -benchtime 20000x ./internal/router
func BenchmarkHit(b *testing.B) {
	// A page as they are: 32 kB that compress to a quarter.
	random, page := rand.New(rand.NewPCG(1, 2)), []byte("<!DOCTYPE html>")
	for len(page) < 32<<10 {
		page = fmt.Appendf(page, "<li class=\"item price\"><a href=\"/items/%d\">Item %x</a></li>", random.IntN(1e6), random.Uint64())
	}
	bolt, err := boltstore.OpenTemporary()
	if err != nil {
		b.Fatal(err)
	}
	defer bolt.Close()
	memory := &memoryStore{pages: map[prerender.Key]*prerender.Snapshot{}}
	stored := hit(b, memory, page)
	hit(b, bolt, page)
	client := dynamodb.NewFromConfig(awstest.Config(), func(o *dynamodb.Options) {
		endpoint := awstest.DynamoDBEndpoint(b)
		o.BaseEndpoint, o.Retryer = &endpoint, retry.NewStandard() // see package awsclients
	})
	db := &dynamo.Store{Client: client, Table: awstest.Table(b)}
	hit(b, db, page)
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(stored.Gzip)
	})
	for _, row := range []struct {
		name    string
		handler http.Handler
	}{{"bare", bare}, {"memory", hits(b, memory)}, {"bolt", hits(b, bolt)}, {"dynamodb", hits(b, db)}} {
		b.Run(row.name, func(b *testing.B) { ask(b, row.handler) })
	}
}

// ask measures requests of two clients at once.
func ask(b *testing.B, h http.Handler) {
	server := httptest.NewServer(h)
	defer server.Close()
	const clients = 2
	took := make([][]time.Duration, clients)
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
			defer client.CloseIdleConnections()
			for range b.N / clients {
				r, _ := http.NewRequest("GET", server.URL+"/shop?a=1&b=2", nil) // as the edge asks
				r.Header.Set(router.HostHeader, "a.example")
				r.Header.Set(router.ClientHeader, "203.0.113.1")
				r.Header.Set("Accept-Encoding", "gzip")
				r.Header.Set("User-Agent", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.2; +https://openai.com/gptbot")
				start := time.Now()
				res, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				took[c] = append(took[c], time.Since(start))
				if res.StatusCode != 200 {
					b.Errorf("got %s", res.Status)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	times := slices.Concat(took...)
	slices.Sort(times)
	if len(times) > 0 {
		b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// hit stores the page that ask asks for.
func hit(b *testing.B, store prerender.Store, body []byte) *prerender.Snapshot {
	studio := &prerender.Studio{Renderer: still(body), Store: store}
	p, err := hitSite(b).Page("/shop?a=1&b=2", prerender.Viewer{})
	if err != nil {
		b.Fatal(err)
	}
	snap, _, err := studio.Make(context.Background(), p, 0)
	if err != nil {
		b.Fatal(err)
	}
	return snap
}

func hits(b *testing.B, store prerender.Store) http.Handler {
	list, err := prerender.NewSiteList(hitSite(b))
	if err != nil {
		b.Fatal(err)
	}
	return &router.Handler{Sites: list, Service: &prerender.Service{Store: store}, Observer: &telemetry.Observer{Log: slog.New(slog.NewJSONHandler(io.Discard, nil))}}
}

func hitSite(b *testing.B) prerender.Site {
	origin, err := prerender.ParseOrigin("https://a.example")
	if err != nil {
		b.Fatal(err)
	}
	return prerender.Site{Origin: origin, Settings: prerender.Settings{
		Limits: &prerender.LimitRule{Requests: prerender.Rate{PerMinute: 60_000_000, Burst: 1_000_000}}, // counted, and never reached
	}}
}

// still renders the same page always.
type still []byte

func (s still) Render(context.Context, prerender.Page) (*prerender.Rendering, error) {
	return &prerender.Rendering{Status: 200, Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}}, Body: s}, nil
}

type memoryStore struct {
	mu    sync.Mutex
	pages map[prerender.Key]*prerender.Snapshot
}

func (m *memoryStore) Get(_ context.Context, key prerender.Key) (*prerender.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.pages[key]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%s: %w", key, prerender.ErrNotFound)
}

func (m *memoryStore) Put(_ context.Context, key prerender.Key, s *prerender.Snapshot) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pages[key] = s
	return nil
}

func (m *memoryStore) List(context.Context, prerender.Origin, prerender.Key, func(prerender.Listed) bool) error {
	panic("not called")
}

func (m *memoryStore) Delete(_ context.Context, keys ...prerender.Key) error { panic("not called") }
