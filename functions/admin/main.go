// Admin is the Lambda function behind API Gateway, for operators. A schedule calls it
// as well, to go over the sites' sitemaps.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/stillpage/stillpage/internal/admin"
	"github.com/stillpage/stillpage/internal/awsclients"
	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/egress"
	"github.com/stillpage/stillpage/internal/lambdahttp"
	"github.com/stillpage/stillpage/internal/lambdarender"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/sitemap"
	"github.com/stillpage/stillpage/internal/sqsqueue"
	"github.com/stillpage/stillpage/internal/warm"
)

// version is set by the linker.
var version = "dev"

func main() {
	cfg, err := config.ParseFunction(os.Getenv, "STILLPAGE_TABLE", "STILLPAGE_CONFIG_TABLE", "STILLPAGE_QUEUE_URL", "STILLPAGE_SITES")
	log := lambdahttp.Logger(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	if err != nil {
		log.Error("admin cannot start", "err", err)
		os.Exit(1)
	}
	// A sitemap of another host must not keep operators out.
	if cfg.Sites, err = cfg.Sites.WithSitemaps(cfg.WarmEvery, cfg.Sitemaps...); err != nil {
		log.Error("sitemap left out", "err", err)
	}
	a := newAdministration(cfg, log)
	serve := lambdahttp.Serve(a.api().Handler(), nil, log)
	handle := func(ctx context.Context, event json.RawMessage) (any, error) {
		var schedule struct{ Warm bool } // the Input of template.yaml's schedule
		if json.Unmarshal(event, &schedule) == nil && schedule.Warm {
			return nil, a.warm(ctx)
		}
		return serve(ctx, event)
	}
	lambda.StartWithOptions(handle, lambda.WithEnableSIGTERM(func() { log.Info("stopping") }))
}

type administration struct {
	cfg     config.Function
	log     *slog.Logger
	started time.Time
	store   *dynamo.Store
	config  *dynamo.Sites
	sites   *prerender.SiteCache
	purger  *prerender.Purger
}

func newAdministration(cfg config.Function, log *slog.Logger) *administration {
	db := awsclients.DynamoDB()
	a := &administration{
		cfg: cfg, log: log, started: time.Now(),
		store: &dynamo.Store{Client: db, Table: cfg.Table}, config: &dynamo.Sites{Client: db, Table: cfg.ConfigTable, Log: log},
	}
	a.sites = &prerender.SiteCache{Store: a.config, Fixed: cfg.Sites, Log: log}
	a.purger = &prerender.Purger{Store: a.config, Pages: a.store, Fixed: cfg.Sites}
	return a
}

func (a *administration) api() *admin.API {
	return &admin.API{Status: a.status, Purger: a.purger, Sites: a.config, Fixed: a.cfg.Sites, Log: a.log}
}

func (a *administration) status() admin.Status {
	s := admin.Status{
		Version: version, StartedAt: a.started.UTC().Truncate(time.Second), UptimeSeconds: int64(time.Since(a.started) / time.Second),
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	s.AddSites(ctx, a.sites, a.config)
	if _, err := a.store.Get(ctx, "health"); err != nil && !errors.Is(err, prerender.ErrNotFound) {
		s.Faults = append(s.Faults, err.Error())
	}
	s.Healthy = len(s.Faults) == 0
	return s
}

// warmReserve is what noting how far a run has come may take.
const warmReserve = 10 * time.Second

// warm goes over the sitemaps until it is done or the function's time is up; the next
// call goes on. Sitemaps are the site's, and may name any address: they are read by
// the same way to the network as pages.
func (a *administration) warm(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-warmReserve))
		defer cancel()
	}
	proxy, err := egress.Start(egress.Config{Policy: egress.Policy{Allow: a.cfg.EgressAllow}, Log: a.log})
	if err != nil {
		return err
	}
	defer proxy.Close()
	queue := &sqsqueue.Queue{Client: awsclients.SQS(), URL: a.cfg.QueueURL, Message: func(p prerender.Page) any { return lambdarender.NewOrder(p, 0) }}
	scheduler := &warm.Scheduler{
		Sites: a.sites, Pages: a.store, Queue: queue, Runs: a.config, Client: proxy.Client(sitemap.Timeout), Log: a.log,
	}
	if err := scheduler.Tick(ctx); err != nil {
		a.log.ErrorContext(ctx, "sitemaps not done; the next call goes on", "err", err)
		return err
	}
	return nil
}
