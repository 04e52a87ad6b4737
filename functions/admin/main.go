// Admin is the Lambda function behind API Gateway, for operators.
package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/stillpage/stillpage/internal/admin"
	"github.com/stillpage/stillpage/internal/awsclients"
	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/lambdahttp"
	"github.com/stillpage/stillpage/internal/prerender"
)

// version is set by the linker.
var version = "dev"

func main() {
	cfg, err := config.ParseFunction(os.Getenv, "STILLPAGE_TABLE", "STILLPAGE_CONFIG_TABLE", "STILLPAGE_SITES")
	log := lambdahttp.Logger(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	if err != nil {
		log.Error("admin cannot start", "err", err)
		os.Exit(1)
	}
	started := time.Now()
	db := awsclients.DynamoDB()
	store := &dynamo.Store{Client: db, Table: cfg.Table}
	purger := &prerender.Purger{Store: &dynamo.Sites{Client: db, Table: cfg.ConfigTable, Log: log}, Pages: store, Fixed: cfg.Sites}
	status := func() admin.Status {
		s := admin.Status{
			Version: version, StartedAt: started.UTC().Truncate(time.Second), UptimeSeconds: int64(time.Since(started) / time.Second),
			Sites: []string{}, Faults: []string{},
		}
		for _, site := range cfg.Sites {
			s.Sites = append(s.Sites, site.Origin.String())
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if _, err := store.Get(ctx, "health"); err != nil && !errors.Is(err, prerender.ErrNotFound) {
			s.Faults = append(s.Faults, err.Error())
		}
		s.Healthy = len(s.Faults) == 0
		return s
	}
	lambda.StartWithOptions(lambdahttp.Serve(admin.Handler(status, purger, log), nil, log), lambda.WithEnableSIGTERM(func() { log.Info("stopping") }))
}
