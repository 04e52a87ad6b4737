// Render is the Lambda function with Chromium, a container image. It makes the
// pages that the router orders, and renews those that SQS brings.
package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/stillpage/stillpage/internal/awsclients"
	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/egress"
	"github.com/stillpage/stillpage/internal/health"
	"github.com/stillpage/stillpage/internal/insight"
	"github.com/stillpage/stillpage/internal/inspect"
	"github.com/stillpage/stillpage/internal/lambdahttp"
	"github.com/stillpage/stillpage/internal/lambdarender"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/report"
	"github.com/stillpage/stillpage/internal/router"
	"github.com/stillpage/stillpage/internal/s3store"
	"github.com/stillpage/stillpage/internal/telemetry"
	"github.com/stillpage/stillpage/internal/xray"
)

// flags are what Chromium needs on Lambda; layers/chromium/README.md has the reasons.
var flags = []string{"--no-sandbox", "--no-zygote"}

// version is set by the linker.
var version = "dev"

func main() {
	chrome.KeepIfAsked()
	cfg, err := config.ParseFunction(os.Getenv, "STILLPAGE_TABLE", "STILLPAGE_CONFIG_TABLE", "STILLPAGE_BUCKET", "STILLPAGE_SITES")
	function := telemetry.NewFunction("render", version, cfg.MemoryMB, cfg.Metrics, os.Stdout)
	log := function.Logger(lambdahttp.Logger(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel})))
	if err == nil {
		err = run(cfg, function, log)
	}
	if err != nil {
		log.Error("render cannot start", "err", err)
		os.Exit(1)
	}
}

// run starts Chromium before the first event, in the time that Lambda grants a
// start, and keeps it from event to event. A tab for the first site is open then.
func run(cfg config.Function, function *telemetry.Function, log *slog.Logger) error {
	metrics := function.Recorder
	own, err := health.Listen()
	if err != nil {
		return err
	}
	proxy, err := egress.Start(egress.Config{Policy: egress.Policy{Allow: cfg.EgressAllow}, Routes: own.Routes(), Log: log})
	if err != nil {
		return err
	}
	// An environment has one event at a time.
	renderer, err := chrome.Start(context.Background(), chrome.Config{Egress: proxy, Flags: flags, Concurrency: 1, TidyFirst: true, Log: log})
	if err != nil {
		return err
	}
	warm(renderer, cfg.Sites, log)
	db := awsclients.DynamoDB()
	records := &dynamo.Records{Client: db, Table: cfg.ConfigTable}
	sites := &prerender.SiteCache{Store: &control.Sites{Records: records, Log: log}, Fixed: cfg.Sites, Log: log}
	store := &dynamo.Store{Client: db, Table: cfg.Table, Consistent: true, Bodies: &s3store.Bodies{Client: awsclients.S3(), Bucket: cfg.Bucket}}
	collector := &insight.Collector{Records: records, Instance: insight.NewInstance(), Log: log}
	observer := &telemetry.Observer{Recorder: metrics, Tallies: collector, Log: log}
	check := &health.Check{Renderer: renderer}
	measured := telemetry.Store{Store: store, Recorder: metrics}
	studio := &prerender.Studio{Renderer: check, Store: measured, Log: log}
	maker := telemetry.Maker{Maker: xray.Maker{Maker: studio}, Observer: observer, Reason: router.Reason}
	service := &prerender.Service{
		Store: measured, Leases: telemetry.Leases{Leases: store, Recorder: metrics}, Limiter: telemetry.Limiter{Limiter: store, Recorder: metrics},
		Maker: maker, Log: log,
	}
	metrics.Look = func(r *telemetry.Recorder) { look(r, renderer, proxy) }
	worker := &lambdarender.Worker{
		Maker: maker, Renew: service.Renew, Check: check.RenderOwn, Sites: sites, Log: log,
		Inspect: func(ctx context.Context, page prerender.Page) (*report.Report, error) {
			return inspect.Page(ctx, renderer, page)
		},
		Waited: func(d time.Duration) { metrics.Time(telemetry.QueueAge, "", d) },
	}
	serve := telemetry.Measured(function, func(ctx context.Context, event json.RawMessage) (any, error) {
		defer collector.FlushIfDue(ctx)
		return worker.Serve(ctx, event)
	})
	lambda.StartWithOptions(serve, lambda.WithEnableSIGTERM(func() {
		log.Info("stopping")
		function.Stop()
		renderer.Close()
		collector.Flush(context.Background())
		proxy.Close()
		own.Close()
	}))
	return nil
}

// look sets the metrics that Chromium and the proxy know.
func look(r *telemetry.Recorder, renderer *chrome.Renderer, proxy *egress.Proxy) {
	stats := renderer.Stats()
	telemetry.Browsers(r, stats.Starts, stats.Retired)
	r.Set(telemetry.Memory, "", float64(renderer.Usage().Memory+telemetry.OwnMemory()))
	r.Total(telemetry.EgressRefusals, "", float64(proxy.Refusals()))
}

// startTimeout is half of what Lambda grants a start, the other half being
// Chromium's.
const startTimeout = 5 * time.Second

func warm(renderer *chrome.Renderer, sites prerender.SiteList, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	hosts := slices.Sorted(maps.Keys(sites))
	page, err := sites[hosts[0]].Page("/", prerender.Viewer{})
	if err == nil {
		err = renderer.Warm(ctx, page)
	}
	if err != nil {
		log.Warn("no tab is open at the start", "site", hosts[0], "err", err)
	}
}
