package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/demo"
	"github.com/stillpage/stillpage/internal/egress"
	"github.com/stillpage/stillpage/internal/insight"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/sizing"
	"github.com/stillpage/stillpage/internal/telemetry"
)

// size is `stillpage size`.
func size(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseSize(args, getenv)
	if err != nil {
		return asUsage(err)
	}
	if cfg.Demo {
		shop := httptest.NewServer(demo.Handler())
		defer shop.Close()
		for _, path := range []string{"/", "/about", "/items/brass-kettle", "/items/enamel-mug", "/items/tea-tin", "/items/linen-towel", "/items/oak-board"} {
			cfg.URLs = append(cfg.URLs, shop.URL+path)
		}
		cfg.EgressAllow = append(cfg.EgressAllow, netip.MustParsePrefix("127.0.0.0/8"))
	}
	pages, err := sizePages(ctx, cfg)
	if err != nil {
		return err
	}
	measured, err := measure(ctx, cfg, pages, stderr)
	if ctx.Err() != nil {
		return errors.New("stopped")
	}
	if err != nil {
		return err
	}
	l := sizing.Load{Rate: cfg.Rate, HitRatio: cfg.HitRatio, Peak: cfg.Peak}
	if cfg.JSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(sizeDocument(measured, l))
	}
	printSize(stdout, measured, l)
	return nil
}

// mostSized bounds the pages that are looked at.
const mostSized = 1000

func sizePages(ctx context.Context, cfg config.Size) ([]prerender.Page, error) {
	addresses := cfg.URLs
	listed, err := pagesOf(ctx, cfg.Sitemaps, cfg.Lists)
	if err != nil {
		return nil, err
	}
	for _, page := range listed {
		addresses = append(addresses, page.URL)
	}
	var pages []prerender.Page
	for _, address := range addresses[:min(len(addresses), mostSized)] {
		page, err := pageOf(config.Render{URL: address, Chrome: cfg.Chrome})
		if err != nil {
			return nil, err
		}
		pages = append(pages, page)
	}
	if len(pages) == 0 {
		return nil, errors.New("the sitemaps and lists name no page")
	}
	return pages, nil
}

// measure renders pages one at a time, and then as many at once as there is room for.
func measure(ctx context.Context, cfg config.Size, pages []prerender.Page, stderr io.Writer) (m sizing.Measured, _ error) {
	policy := egress.Policy{Allow: cfg.EgressAllow, Sites: map[string]bool{}}
	for _, page := range pages {
		policy.Sites[page.Site.Origin.HostPort()] = true
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	renderer, _, stop, err := startRenderer(ctx, cfg.Chrome, egress.Config{Policy: policy, Log: log})
	if err != nil {
		return m, err
	}
	defer stop()
	places := renderer.Stats().Capacity
	bar := newProgress(stderr, 2*cfg.Renders+places)
	body, failed := 0, 0
	odd := map[string]int{} // pages that are none → their status
	var mu sync.Mutex
	render := func(i int) (time.Duration, error) {
		page := pages[i%len(pages)]
		ctx, cancel := context.WithTimeout(ctx, prerender.DefaultTimeout)
		defer cancel()
		start := time.Now()
		studio := prerender.Studio{Renderer: renderer, Store: keepsNothing{}, Log: slog.New(slog.DiscardHandler)}
		snap, _, err := studio.Make(ctx, page, 0)
		mu.Lock()
		defer mu.Unlock()
		bar.step(page.URL)
		if err != nil {
			failed++
			if failed > cfg.Renders/4 {
				return 0, fmt.Errorf("%d of %d renders have failed, the last with: %w", failed, bar.done, err)
			}
			return 0, nil
		}
		if snap.Status != http.StatusOK {
			odd[page.URL] = snap.Status
		}
		body += len(snap.Gzip)
		return time.Since(start), nil
	}
	var errs []error
	inParallel := func(from, to, workers int) {
		var all sync.WaitGroup
		next := make(chan int)
		for range workers {
			all.Go(func() {
				for i := range next {
					if _, err := render(i); err != nil {
						mu.Lock()
						errs = append(errs, err)
						mu.Unlock()
					}
				}
			})
		}
		for i := from; i < to && ctx.Err() == nil; i++ {
			next <- i
		}
		close(next)
		all.Wait()
	}
	inParallel(0, places, places) // opens a tab each
	body = 0

	before := processorOf(renderer)
	var times []time.Duration
	for i := range cfg.Renders {
		took, err := render(i)
		if err != nil {
			return m, err
		}
		if took > 0 {
			times = append(times, took)
		}
		m.Memory = max(m.Memory, renderer.Usage().Memory)
	}
	if len(times) == 0 || ctx.Err() != nil {
		return m, errors.Join(errors.New("no page was rendered"), ctx.Err())
	}
	m.Renders, m.Body = len(times), body/len(times)
	m.Processor = (processorOf(renderer) - before) / time.Duration(cfg.Renders)
	slices.Sort(times)
	m.Median, m.P95 = times[len(times)/2], times[min(len(times)-1, len(times)*95/100)]

	start := time.Now()
	inParallel(0, cfg.Renders, places)
	m.Saturated = float64(cfg.Renders) / time.Since(start).Seconds()
	m.Cores = cores()
	bar.end("done")
	if list := slices.Sorted(maps.Keys(odd)); len(list) > 0 {
		fmt.Fprintf(stderr, "%d of the addresses are no pages (%s is answered with %d); they may take less than pages do.\n", len(list), list[0], odd[list[0]])
	}
	return m, errors.Join(append(errs, ctx.Err())...)
}

// keepsNothing is a store for pages that are measured.
type keepsNothing struct{ prerender.Store }

func (keepsNothing) Get(context.Context, prerender.Key) (*prerender.Snapshot, error) {
	return nil, prerender.ErrNotFound
}
func (keepsNothing) Put(context.Context, prerender.Key, *prerender.Snapshot) error { return nil }

func processorOf(renderer *chrome.Renderer) time.Duration {
	return renderer.Usage().Processor + telemetry.OwnProcessor()
}

// cores is how many there are, or how much of them the control group of this process may use.
func cores() float64 {
	n := float64(runtime.NumCPU())
	if text, err := os.ReadFile("/sys/fs/cgroup/cpu.max"); err == nil { // version 2
		var quota, period float64
		if k, _ := fmt.Sscan(string(text), &quota, &period); k == 2 && period > 0 {
			return min(n, quota/period)
		}
	}
	for line := range strings.Lines(readAll("/proc/self/cgroup")) { // version 1
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && slices.Contains(strings.Split(parts[1], ","), "cpu") {
			dir := "/sys/fs/cgroup/cpu" + parts[2]
			quota, err := strconv.ParseFloat(strings.TrimSpace(readAll(dir+"/cpu.cfs_quota_us")), 64)
			period, err2 := strconv.ParseFloat(strings.TrimSpace(readAll(dir+"/cpu.cfs_period_us")), 64)
			if err == nil && err2 == nil && quota > 0 && period > 0 {
				return min(n, quota/period)
			}
		}
	}
	return n
}

func readAll(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(text)
}

func sizeDocument(m sizing.Measured, l sizing.Load) map[string]any {
	var lambdas []map[string]any
	for _, mb := range sizing.Memories {
		on := m.On(mb, l, insight.USEast1)
		lambdas = append(lambdas, map[string]any{
			"mb": mb, "renderMs": on.Render.Milliseconds(), "concurrency": on.Concurrency, "dollarsAMonth": on.Dollars, "dollarsAMillionRenders": on.PerMillion,
		})
	}
	machines := m.OnMachines(l)
	return map[string]any{
		"measured": map[string]any{
			"renders": m.Renders, "medianMs": milliseconds(m.Median), "p95Ms": milliseconds(m.P95), "processorMs": milliseconds(m.Processor),
			"memoryMB": m.Memory >> 20, "bodyBytes": m.Body, "pagesPerSecond": m.Saturated, "cores": m.Cores,
		},
		"load":  map[string]any{"rate": l.Rate, "hitRatio": l.HitRatio, "peak": l.Peak},
		"aws":   lambdas,
		"cores": machines.Cores, "memoryGB": machines.GB,
	}
}

func printSize(w io.Writer, m sizing.Measured, l sizing.Load) {
	fmt.Fprintf(w, "Measured here: %d renders, %.0f ms (95 of 100 within %.0f ms), %.0f ms of processor time each; %.0f pages a second at most, of %.2g cores; %d MB with one page at a time; %.1f kB a page.\n\n",
		m.Renders, milliseconds(m.Median), milliseconds(m.P95), milliseconds(m.Processor), m.Saturated, m.Cores, m.Memory>>20, float64(m.Body)/1000)
	best := m.Choose(insight.USEast1, patience)
	fmt.Fprintf(w, "On AWS, for %g requests a second of which %g %% are in the store, %g times as many at the peak (us-east-1, June 2026; estimated by Lambda's shares of processors):\n\n", l.Rate, 100*l.HitRatio, l.Peak)
	table := tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "RenderMemory\ta render\tRenderConcurrency\ta month\ta million renders\t")
	for _, mb := range sizing.Memories {
		on := m.On(mb, l, insight.USEast1)
		mark := ""
		if mb == best.MB {
			mark = "  ←"
		}
		fmt.Fprintf(table, "%d MB\t%d ms\t%d\t$%.2f\t$%.2f%s\t\n", mb, on.Render.Milliseconds(), on.Concurrency, on.Dollars, on.PerMillion, mark)
	}
	table.Flush()
	fmt.Fprintf(w, "\n← is the cheapest that takes at most %g times as long as the fastest. What the hit ratio does, with it:\n\n", patience)
	table = tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "in the store\tRenderConcurrency\ta month\tcores of your own\t")
	for _, ratio := range []float64{0, 0.5, 0.8, 0.9, 0.95, 0.99} {
		at := sizing.Load{Rate: l.Rate, HitRatio: ratio, Peak: l.Peak}
		on := m.On(best.MB, at, insight.USEast1)
		fmt.Fprintf(table, "%g %%\t%d\t$%.2f\t%.1f\t\n", 100*ratio, on.Concurrency, on.Dollars, m.OnMachines(at).Cores)
	}
	table.Flush()
	machines := m.OnMachines(l)
	rendered := l.Rate * (1 - l.HitRatio) * l.Peak
	fmt.Fprintf(w, "\nOn machines of your own: %.1f cores, %.1f GB, two thirds of their time in use at the peak. Rendertron needs %.0f cores for the same renders, by the published %d for 1 a second.\n",
		machines.Cores, machines.GB, rendered*sizing.PublishedCores, sizing.PublishedCores)
}

// patience is how much longer than the fastest a setting may take to be chosen.
const patience = 1.5
