package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/stillpage/stillpage/internal/admin"
	"github.com/stillpage/stillpage/internal/boltstore"
	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/demo"
	"github.com/stillpage/stillpage/internal/edge"
	"github.com/stillpage/stillpage/internal/egress"
	"github.com/stillpage/stillpage/internal/health"
	"github.com/stillpage/stillpage/internal/insight"
	"github.com/stillpage/stillpage/internal/inspect"
	"github.com/stillpage/stillpage/internal/localqueue"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/report"
	"github.com/stillpage/stillpage/internal/router"
	"github.com/stillpage/stillpage/internal/sitemap"
	"github.com/stillpage/stillpage/internal/telemetry"
	"github.com/stillpage/stillpage/internal/warm"
)

// stopTimeout is a second less than what preemptible nodes give a process to end.
const stopTimeout = 24 * time.Second

// serve is `stillpage serve`: all parts in one process.
func serve(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseServe(args, getenv)
	if err != nil {
		return asUsage(err)
	}
	log := logger(cfg.LogFormat, stderr)
	started := time.Now()

	var public, private servers // private ones serve this program's own browser, to the very end
	defer private.close()
	defer public.close()
	addresses, err := listen(cfg, &public, &private)
	if err != nil {
		return err
	}
	list, err := prerender.NewSiteList(sites(cfg, addresses)...)
	if err == nil {
		list, err = list.WithSitemaps(cfg.WarmEvery, cfg.Sitemaps...)
	}
	if err != nil {
		return usageError{err}
	}
	store, err := openStorage(ctx, cfg)
	if err != nil {
		return err
	}
	defer store.close()
	own, err := health.Listen()
	if err != nil {
		return err
	}
	defer own.Close()
	renderer, proxy, stopRenderer, err := startRenderer(ctx, cfg.Chrome, egressConfig(cfg, list, addresses, own, log))
	if err != nil {
		return err
	}
	defer stopRenderer()

	token, tokenIsNew, err := adminToken(cfg)
	if err != nil {
		return err
	}

	records := store.records
	collector := &insight.Collector{Records: records, Instance: insight.NewInstance(), Log: log}
	metrics := &telemetry.Recorder{}
	observer := &telemetry.Observer{Recorder: metrics, Tallies: collector, Log: log}
	queue := localqueue.New()
	queue.Waited = func(d time.Duration) { metrics.Time(telemetry.QueueAge, "", d) }
	measured := telemetry.Queue{Queue: queue, Recorder: metrics}
	pages := telemetry.Store{Store: store.pages, Recorder: metrics}
	check := &health.Check{Renderer: renderer}
	studio := &prerender.Studio{Renderer: check, Store: pages, Log: log}
	service := &prerender.Service{
		Store: pages, Maker: telemetry.Maker{Maker: studio, Observer: observer, Reason: router.Reason}, Queue: measured,
		Limiter: telemetry.Limiter{Limiter: store.limiter, Recorder: metrics}, Log: log,
	}
	if store.leases != nil {
		service.Leases = telemetry.Leases{Leases: store.leases, Recorder: metrics}
	}
	metrics.Look = func(r *telemetry.Recorder) { look(r, renderer, proxy, queue, check) }
	var beside sync.WaitGroup // what goes on until the end
	beside.Go(func() { queue.Work(ctx, service.Renew, log) })
	beside.Go(func() { every(ctx, sweepInterval, func() { store.sweep(ctx, log) }) })
	known := &prerender.SiteCache{Store: &control.Sites{Records: records, Log: log}, Fixed: list, MaxAge: store.sitesAge, Log: log}
	plane := &control.Plane{Ledger: &control.Ledger{Records: records, Log: log}, Pages: pages, Fixed: list}
	scheduler := &warm.Scheduler{Sites: known, Plane: plane, Queue: measured, Remake: service.Remake, Client: proxy.Client(sitemap.Timeout), Log: log}
	began := make(chan struct{}, 1) // a job
	beside.Go(func() { keepWarm(ctx, store, scheduler, began, log) })
	beside.Go(func() { every(ctx, insight.FlushEvery, func() { collector.Flush(ctx) }) })
	beside.Go(func() {
		every(ctx, mergeInterval, func() {
			store.alone(ctx, "merge", log, func(ctx context.Context) { merge(ctx, records, known, log) })
		})
	})
	tokens := &control.TokenCache{Records: records}
	bots := &router.Handler{Sites: known, Service: service, Token: cfg.Token, Tokens: tokens, Observer: observer}

	public.start("router", bots)
	operators := &admin.API{
		Status: func(ctx context.Context) admin.Status {
			s := admin.NewStatus(ctx, version, started, known, plane)
			s.Renderer = renderer.Stats()
			n, err := store.count()
			s.Pages = n
			s.Fault("store: ", err)
			s.Fault("", check.Healthy(ctx))
			return s
		},
		Plane: plane, Principal: admin.Bearer(token, tokens), Do: scheduler.Do, Login: admin.Login{Mode: "token"}, Log: log,
		Began: func() {
			select {
			case began <- struct{}{}:
			default: // it is known already
			}
		},
		Inspect: func(ctx context.Context, page prerender.Page) (*report.Report, error) {
			return inspect.Page(ctx, renderer, page)
		},
	}
	mux := http.NewServeMux()
	mux.Handle("/", operators.Handler())
	mux.Handle("GET /metrics", metrics.Prometheus(version, "serve"))
	mux.Handle("/health/", check.Handler(func() bool { return ctx.Err() != nil }))
	public.start("admin", mux)
	if cfg.HasEdge() {
		front, err := edge.New(addresses.app, trusted(bots, cfg.Token), log)
		if err != nil {
			return err
		}
		public.start("edge", front)
		private.start("edge", front)
		private.start("demo", demo.Handler())
	}
	banner(stdout, cfg, addresses, token, tokenIsNew)

	select {
	case <-ctx.Done():
	case err := <-public.failed():
		return err
	}
	log.Info("stopping; finishing what is in flight", "drain", cfg.Drain.String(), "atMost", stopTimeout.String())
	stopping, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	pause(stopping, cfg.Drain) // balancers see it at /health/ready, and send nothing more
	if err := errors.Join(public.shutdown(stopping), service.Wait(stopping)); err != nil {
		log.Warn("stopped with requests unfinished", "err", err)
	}
	beside.Wait()
	collector.Flush(stopping)
	log.Info("stopped")
	return nil
}

func logger(format string, w io.Writer) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, nil)).With("function", "serve", "version", version)
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// addresses are where the parts listen.
type addresses struct {
	edge, router, admin string
	ownEdge             string   // the edge, for this program's own browser
	app                 *url.URL // what is behind the edge
}

func listen(cfg config.Serve, public, private *servers) (addresses, error) {
	var a addresses
	var errs []error
	on := func(s *servers, name, addr string) string {
		bound, err := s.listen(name, addr)
		errs = append(errs, err)
		return bound
	}
	a.router = on(public, "router", cfg.RouterListen)
	a.admin = on(public, "admin", cfg.AdminListen)
	if cfg.HasEdge() {
		a.edge = on(public, "edge", cfg.Listen)
		a.ownEdge = on(private, "edge", "127.0.0.1:0")
	}
	a.app = cfg.Origin
	if cfg.Demo {
		a.app = &url.URL{Scheme: "http", Host: on(private, "demo", "127.0.0.1:0")}
	}
	return a, errors.Join(errs...)
}

// sites are those that were given, or else the edge itself, under both names of
// this machine.
func sites(cfg config.Serve, a addresses) []prerender.Site {
	settings := prerender.Settings{Rendering: &cfg.Rendering, Lifetimes: prerender.Lifetimes{Success: &cfg.Success}}
	var list []prerender.Site
	for _, origin := range cfg.Sites {
		list = append(list, prerender.Site{Origin: origin, Settings: settings})
	}
	if len(list) == 0 {
		for _, host := range edgeNames(a) {
			list = append(list, prerender.Site{Origin: prerender.Origin{Scheme: "http", Host: host}, Settings: settings})
		}
	}
	return list
}

// edgeNames are the hosts by which this machine's users know the edge, that
// which it listens on first.
func edgeNames(a addresses) []string {
	bound, port, err := net.SplitHostPort(a.edge)
	if err != nil {
		return nil // there is no edge
	}
	var names []string
	for _, host := range []string{bound, "127.0.0.1", "localhost"} {
		name, err := prerender.NormalizeHost("http", net.JoinHostPort(host, port))
		if err == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// egressConfig lets pages reach the sites. The edge of this process is reached
// by a listener of its own, which still accepts when the public one has stopped
// and the last pages are being finished.
func egressConfig(cfg config.Serve, list prerender.SiteList, a addresses, own *health.Site, log *slog.Logger) egress.Config {
	c := egress.Config{
		Policy: egress.Policy{Allow: cfg.EgressAllow, Sites: map[string]bool{}},
		Routes: own.Routes(),
		Log:    log,
	}
	for _, site := range list {
		c.Policy.Sites[site.Origin.HostPort()] = true
	}
	for _, name := range edgeNames(a) {
		// Not for an edge that stands for a site elsewhere: the pages of a public
		// site have no business with this machine.
		if site, ok := list[name]; ok {
			c.Routes[site.Origin.HostPort()] = a.ownEdge
		}
	}
	return c
}

// sweepInterval is how often expired pages are deleted from the file.
const sweepInterval = time.Hour

func sweep(ctx context.Context, store *boltstore.Store, log *slog.Logger) {
	if n, err := store.Sweep(ctx); err != nil && ctx.Err() == nil {
		log.Error("expired pages not deleted", "err", err)
	} else if n > 0 {
		log.Info("expired pages deleted", "pages", n)
	}
}

// warmInterval is how often it is looked whether a sitemap's time has come.
const warmInterval = time.Minute

// keepWarm looks now, whenever a job has begun, and each time the interval has passed.
// What a look begins goes on beside the next one.
func keepWarm(ctx context.Context, store *storage, scheduler *warm.Scheduler, began <-chan struct{}, log *slog.Logger) {
	var looks sync.WaitGroup
	defer looks.Wait()
	for {
		looks.Go(func() {
			store.alone(ctx, "schedule", log, func(ctx context.Context) {
				if err := scheduler.Tick(ctx); err != nil && ctx.Err() == nil {
					log.Error("sitemaps or jobs not done; they are tried again", "in", warmInterval.String(), "err", err)
				}
			})
		})
		select {
		case <-began:
		case <-time.After(warmInterval):
		case <-ctx.Done():
			return
		}
	}
}

// mergeInterval is how often what was counted in an hour that is over is made one tally.
const mergeInterval = time.Hour

func merge(ctx context.Context, records control.Store, sites *prerender.SiteCache, log *slog.Logger) {
	all, err := sites.All(ctx)
	err = errors.Join(err, insight.MergeAll(ctx, records, all, time.Now()))
	if err != nil && ctx.Err() == nil {
		log.Error("statistics not merged; it is tried again", "in", mergeInterval.String(), "err", err)
	}
}

// every does something now, and each time an interval has passed since it ended.
func every(ctx context.Context, interval time.Duration, do func()) {
	for {
		do()
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return
		}
	}
}

// trusted is the router as the edge calls it: from within, with the token.
func trusted(router http.Handler, token string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token != "" {
			r.Header.Set("X-Prerender-Token", token)
		}
		router.ServeHTTP(w, r)
	})
}

func banner(w io.Writer, cfg config.Serve, a addresses, token string, tokenIsNew bool) {
	for _, address := range []*string{&a.edge, &a.router, &a.admin} { // that one can click
		if host, port, err := net.SplitHostPort(*address); err == nil && net.ParseIP(host).IsUnspecified() {
			*address = net.JoinHostPort("127.0.0.1", port)
		}
	}
	fmt.Fprintf(w, "Stillpage %s is ready.\n\n", version)
	if cfg.HasEdge() {
		behind := "the app at " + a.app.String()
		if cfg.Demo {
			behind = "a demo shop"
		}
		fmt.Fprintf(w, "  edge     http://%s   for people and bots, in front of %s\n", a.edge, behind)
	}
	fmt.Fprintf(w, "  router   http://%s   for integrations: /https://host/path\n", a.router)
	fmt.Fprintf(w, "  admin    http://%s   for operators: the console, and its API below /v1\n\n", a.admin)
	if cfg.AdminToken != "" {
		fmt.Fprint(w, "The console's token is that of --admin-token.\n\n")
	} else if tokenIsNew && (cfg.Data == "" || isTerminal(w)) { // logs are kept, and read by others
		fmt.Fprintf(w, "The console asks for this token, which is shown this once:\n\n  %s\n\n  http://%s/#token=%[1]s\n\n", token, a.admin)
	} else {
		fmt.Fprintf(w, "The console's token is in %s.\n\n", filepath.Join(cfg.Data, adminTokenFile))
	}
	if cfg.Demo {
		fmt.Fprintf(w, `Try, in another terminal:

  1. What a bot gets: the finished page. Ask twice, and X-Stillpage-Cache says hit.
     curl -i -A GPTBot/1.2 http://%[1]s/items/brass-kettle

  2. What a person's browser gets: the empty shell that JavaScript fills.
     curl http://%[1]s/items/brass-kettle

  3. An item that does not exist, and one that has moved: 404, and 301 with its Location.
     curl -i -A GPTBot/1.2 http://%[1]s/items/nothing
     curl -i -A GPTBot/1.2 http://%[1]s/old/brass-kettle

`, a.edge)
	}
}
