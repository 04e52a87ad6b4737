// Router is the Lambda function behind CloudFront. It answers bots from the store,
// and has missing pages made by the render function.
package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/stillpage/stillpage/internal/awsclients"
	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/insight"
	"github.com/stillpage/stillpage/internal/lambdahttp"
	"github.com/stillpage/stillpage/internal/lambdarender"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/router"
	"github.com/stillpage/stillpage/internal/s3store"
	"github.com/stillpage/stillpage/internal/sqsqueue"
	"github.com/stillpage/stillpage/internal/telemetry"
)

// linkLife is how long the address of a page that is too large for an answer is
// good for: long enough for a crawler that is slow to follow redirects.
const linkLife = 5 * time.Minute

// version is set by the linker.
var version = "dev"

func main() {
	cfg, err := config.ParseFunction(os.Getenv,
		"STILLPAGE_TABLE", "STILLPAGE_CONFIG_TABLE", "STILLPAGE_BUCKET", "STILLPAGE_QUEUE_URL", "STILLPAGE_RENDER_FUNCTION", "STILLPAGE_SITES")
	function := telemetry.NewFunction("router", version, cfg.MemoryMB, cfg.Metrics, os.Stdout)
	metrics := function.Recorder
	log := function.Logger(lambdahttp.Logger(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel})))
	if err != nil {
		log.Error("router cannot start", "err", err)
		os.Exit(1)
	}
	bodies := &s3store.Bodies{Client: awsclients.S3(), Bucket: cfg.Bucket}
	db := awsclients.DynamoDB()
	store := &dynamo.Store{Client: db, Table: cfg.Table, Bodies: bodies}
	made := *store
	made.Consistent = true
	service := &prerender.Service{
		Store:  telemetry.Store{Store: store, Recorder: metrics},
		Leases: telemetry.Leases{Leases: store, Recorder: metrics}, Limiter: telemetry.Limiter{Limiter: store, Recorder: metrics},
		Maker: &lambdarender.Maker{Client: awsclients.Lambda(), Function: cfg.RenderFunction, Store: &made},
		Queue: telemetry.Queue{Recorder: metrics, Queue: &sqsqueue.Queue{Client: awsclients.SQS(), URL: cfg.QueueURL, Message: func(page prerender.Page) any {
			return lambdarender.NewOrder(page, 0)
		}}},
		Log: log,
	}
	spill := func(ctx context.Context, gzipped []byte, header http.Header) (string, error) {
		return bodies.Link(ctx, gzipped, header.Get("Content-Type"), linkLife)
	}
	records := &dynamo.Records{Client: db, Table: cfg.ConfigTable}
	sites := &prerender.SiteCache{Store: &control.Sites{Records: records, Log: log}, Fixed: cfg.Sites, Log: log}
	collector := &insight.Collector{Records: records, Instance: insight.NewInstance(), Log: log}
	observer := &telemetry.Observer{Recorder: metrics, Tallies: collector, Log: log}
	handler := &router.Handler{Sites: sites, Service: service, Token: cfg.Token, Tokens: &control.TokenCache{Records: records}, Observer: observer}
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		collector.FlushIfDue(r.Context())
	})
	serve := telemetry.Measured(function, lambdahttp.Serve(counted, spill, log))
	lambda.StartWithOptions(serve, lambda.WithEnableSIGTERM(func() {
		log.Info("stopping")
		function.Stop()
		collector.Flush(context.Background())
	}))
}
