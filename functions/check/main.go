// Check is the Lambda function that CodeDeploy calls before a new version of another function
// gets traffic.
package main

import (
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/stillpage/stillpage/internal/awsclients"
	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/lambdahttp"
	"github.com/stillpage/stillpage/internal/rollout"
)

// version is set by the linker.
var version = "dev"

func main() {
	cfg, err := config.ParseFunction(os.Getenv, "STILLPAGE_CHECK", "STILLPAGE_CHECK_VERSION", "STILLPAGE_SITES")
	log := lambdahttp.Logger(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel})).With("function", "check", "version", version)
	if err != nil {
		log.Error("check cannot start", "err", err)
		os.Exit(1)
	}
	check := &rollout.Check{
		Function: cfg.Check, Version: cfg.CheckVersion, Site: cfg.FirstSite().String(), Token: cfg.Token,
		Lambda: awsclients.Lambda(), Deployments: awsclients.CodeDeploy(), Log: log,
	}
	lambda.Start(check.Serve)
}
