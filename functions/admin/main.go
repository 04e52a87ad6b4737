// Admin is the Lambda function behind API Gateway, for operators. Schedules call it as
// well: to go over the sites' sitemaps and do jobs, and to merge statistics.
package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/stillpage/stillpage/internal/admin"
	"github.com/stillpage/stillpage/internal/awsclients"
	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/egress"
	"github.com/stillpage/stillpage/internal/health"
	"github.com/stillpage/stillpage/internal/insight"
	"github.com/stillpage/stillpage/internal/lambdaadmin"
	"github.com/stillpage/stillpage/internal/lambdahttp"
	"github.com/stillpage/stillpage/internal/lambdarender"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/s3store"
	"github.com/stillpage/stillpage/internal/sitemap"
	"github.com/stillpage/stillpage/internal/sqsqueue"
	"github.com/stillpage/stillpage/internal/telemetry"
	"github.com/stillpage/stillpage/internal/warm"
)

// version is set by the linker.
var version = "dev"

func main() {
	cfg, err := config.ParseFunction(os.Getenv,
		"STILLPAGE_TABLE", "STILLPAGE_CONFIG_TABLE", "STILLPAGE_BUCKET", "STILLPAGE_QUEUE_URL", "STILLPAGE_RENDER_FUNCTION", "STILLPAGE_SITES")
	function := telemetry.NewFunction("admin", version, cfg.MemoryMB, cfg.Metrics, os.Stdout)
	log := function.Logger(lambdahttp.Logger(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel})))
	if err == nil {
		err = run(cfg, function, log)
	}
	if err != nil {
		log.Error("admin cannot start", "err", err)
		os.Exit(1)
	}
}

func run(cfg config.Function, function *telemetry.Function, log *slog.Logger) error {
	// Sitemaps are the sites', and may name any address.
	proxy, err := egress.Start(egress.Config{Policy: egress.Policy{Allow: cfg.EgressAllow}, Log: log})
	if err != nil {
		return err
	}
	// One of another host must not keep operators out.
	if cfg.Sites, err = cfg.Sites.WithSitemaps(cfg.WarmEvery, cfg.Sitemaps...); err != nil {
		log.Error("sitemap left out", "err", err)
	}
	worker := newWorker(cfg, function.Recorder, proxy, log)
	lambda.StartWithOptions(telemetry.Measured(function, worker.Serve), lambda.WithEnableSIGTERM(func() {
		log.Info("stopping")
		function.Stop()
		proxy.Close()
	}))
	return nil
}

func newWorker(cfg config.Function, metrics *telemetry.Recorder, proxy *egress.Proxy, log *slog.Logger) *lambdaadmin.Worker {
	started := time.Now()
	db := awsclients.DynamoDB()
	// Operators look at what they have just done.
	store := &dynamo.Store{Client: db, Table: cfg.Table, Consistent: true, Bodies: &s3store.Bodies{Client: awsclients.S3(), Bucket: cfg.Bucket}}
	records := &dynamo.Records{Client: db, Table: cfg.ConfigTable}
	pages := telemetry.Store{Store: store, Recorder: metrics}
	leases := telemetry.Leases{Leases: store, Recorder: metrics}
	queue := telemetry.Queue{Recorder: metrics, Queue: &sqsqueue.Queue{
		Client: awsclients.SQS(), URL: cfg.QueueURL, Message: func(p prerender.Page) any { return lambdarender.NewOrder(p, 0) },
	}}
	sites := &prerender.SiteCache{Store: &control.Sites{Records: records, Log: log}, Fixed: cfg.Sites, Log: log}
	plane := &control.Plane{Ledger: &control.Ledger{Records: records, Log: log}, Pages: pages, Fixed: cfg.Sites}
	maker := &lambdarender.Maker{Client: awsclients.Lambda(), Function: cfg.RenderFunction, Store: store}
	service := &prerender.Service{Store: pages, Leases: leases, Maker: maker, Log: log}
	client := proxy.Client(sitemap.Timeout)
	jobs := &warm.Scheduler{Sites: sites, Plane: plane, Queue: queue, Remake: service.Remake, Client: client, Log: log}
	gateway := lambdaadmin.Gateway{Issuer: cfg.JWTIssuer, Claim: cfg.JWTClaim, Access: cfg.Access}
	login := admin.Login{Mode: "iam"}
	if cfg.JWTIssuer != "" {
		login = admin.Login{Mode: "oidc", Issuer: cfg.JWTIssuer, ClientID: cfg.JWTAudience, Domain: cfg.LoginDomain}
	}
	operators := &admin.API{
		Status: func(ctx context.Context) admin.Status {
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			s := admin.NewStatus(ctx, version, started, sites, plane)
			if _, err := store.Get(ctx, "health"); !errors.Is(err, prerender.ErrNotFound) {
				s.Fault("store: ", err)
			}
			return s
		},
		Plane: plane, Principal: gateway.Principal, Do: jobs.Do, Inspect: maker.Inspect,
		Uses: []control.TokenUse{control.Integration}, RenderGB: float64(cfg.RenderMB) / 1024, Login: login, Log: log,
	}
	metrics.Look = func(r *telemetry.Recorder) { r.Total(telemetry.EgressRefusals, "", float64(proxy.Refusals())) }
	return &lambdaadmin.Worker{
		Operators: lambdahttp.Serve(operators.Handler(), nil, log), Leases: leases, Log: log,
		Tick: func(ctx context.Context) error {
			defer client.CloseIdleConnections() // they may be dead after a freeze
			return jobs.Tick(ctx)
		},
		Merge: func(ctx context.Context) error {
			all, err := sites.All(ctx)
			return errors.Join(err, insight.MergeAll(ctx, records, all, time.Now()))
		},
		Probe: func(ctx context.Context, page string) error {
			return health.Probe(ctx, http.DefaultClient, page, metrics)
		},
	}
}
