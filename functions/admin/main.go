// Admin is the Lambda function behind API Gateway, for operators. Schedules call it as
// well: to go over the sites' sitemaps and do jobs, and to merge statistics.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
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
	metrics := function.Recorder
	log := function.Logger(lambdahttp.Logger(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel})))
	if err != nil {
		log.Error("admin cannot start", "err", err)
		os.Exit(1)
	}
	// A sitemap of another host must not keep operators out.
	if cfg.Sites, err = cfg.Sites.WithSitemaps(cfg.WarmEvery, cfg.Sitemaps...); err != nil {
		log.Error("sitemap left out", "err", err)
	}
	a := newAdministration(cfg, metrics, log)
	serve := lambdahttp.Serve(a.api().Handler(), nil, log)
	handle := telemetry.Measured(function, func(ctx context.Context, event json.RawMessage) (any, error) {
		var schedule struct { // the Inputs of template.yaml's schedules
			Warm, Merge bool
			Probe       string // URL
		}
		switch err := json.Unmarshal(event, &schedule); {
		case err == nil && schedule.Warm:
			return nil, a.warm(ctx)
		case err == nil && schedule.Merge:
			return nil, a.merge(ctx)
		case err == nil && schedule.Probe != "":
			a.probe(ctx, schedule.Probe)
			return nil, nil
		}
		return serve(ctx, event)
	})
	lambda.StartWithOptions(handle, lambda.WithEnableSIGTERM(func() {
		log.Info("stopping")
		function.Stop()
	}))
}

type administration struct {
	cfg     config.Function
	log     *slog.Logger
	metrics *telemetry.Recorder
	started time.Time
	store   *dynamo.Store
	records *dynamo.Records
	sites   *prerender.SiteCache
	plane   *control.Plane
	maker   *lambdarender.Maker
	queue   prerender.Queue
	service *prerender.Service
}

func newAdministration(cfg config.Function, metrics *telemetry.Recorder, log *slog.Logger) *administration {
	db := awsclients.DynamoDB()
	a := &administration{
		cfg: cfg, log: log, metrics: metrics, started: time.Now(),
		// Operators look at what they have just done.
		store:   &dynamo.Store{Client: db, Table: cfg.Table, Consistent: true, Bodies: &s3store.Bodies{Client: awsclients.S3(), Bucket: cfg.Bucket}},
		records: &dynamo.Records{Client: db, Table: cfg.ConfigTable},
		queue: telemetry.Queue{Recorder: metrics, Queue: &sqsqueue.Queue{
			Client: awsclients.SQS(), URL: cfg.QueueURL, Message: func(p prerender.Page) any { return lambdarender.NewOrder(p, 0) },
		}},
	}
	a.sites = &prerender.SiteCache{Store: &control.Sites{Records: a.records, Log: log}, Fixed: cfg.Sites, Log: log}
	a.plane = &control.Plane{Ledger: &control.Ledger{Records: a.records, Log: log}, Pages: telemetry.Store{Store: a.store, Recorder: metrics}, Fixed: cfg.Sites}
	a.maker = &lambdarender.Maker{Client: awsclients.Lambda(), Function: cfg.RenderFunction, Store: a.store}
	a.service = &prerender.Service{Store: telemetry.Store{Store: a.store, Recorder: metrics}, Leases: telemetry.Leases{Leases: a.store, Recorder: metrics}, Maker: a.maker, Log: log}
	return a
}

func (a *administration) api() *admin.API {
	jobs := &warm.Scheduler{Plane: a.plane, Queue: a.queue, Remake: a.service.Remake, Log: a.log}
	return &admin.API{
		Status: a.status, Plane: a.plane, Principal: a.principal, Do: jobs.Do, Inspect: a.maker.Inspect,
		Uses: []control.TokenUse{control.Integration}, RenderGB: float64(a.cfg.RenderMB) / 1024, Login: a.login(), Log: a.log,
	}
}

// principal is whom API Gateway has let in.
func (a *administration) principal(r *http.Request) (control.Principal, error) {
	caller, ok := lambdahttp.CallerOf(r)
	if !ok {
		return control.Principal{}, admin.ErrNobody
	}
	if caller.ARN != "" {
		return accessOr(a.cfg.Access, "*=admin").Principal(caller.ARN, caller.ARN, caller.ARN), nil
	}
	// API Gateway has verified the token. It writes lists of its claims as texts, in which a
	// group with a blank in its name cannot be told from two.
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	subject, name, groups, err := control.ParseClaims(strings.TrimSpace(token), cmp.Or(a.cfg.JWTClaim, "cognito:groups"))
	if err != nil {
		return control.Principal{}, fmt.Errorf("%w: %w", admin.ErrNobody, err)
	}
	access := accessOr(a.cfg.Access, "stillpage-admin=admin,stillpage-operator=operator,stillpage-viewer=viewer")
	return access.Principal(a.cfg.JWTIssuer+" "+subject, name, append(groups, subject)...), nil
}

// accessOr returns the rules, or if there are none, those that a text has.
func accessOr(rules control.Access, otherwise string) control.Access {
	if len(rules) > 0 {
		return rules
	}
	rules, err := control.ParseAccess(otherwise)
	if err != nil {
		panic(err) // it is a constant
	}
	return rules
}

func (a *administration) login() admin.Login {
	if a.cfg.JWTIssuer == "" {
		return admin.Login{Mode: "iam"}
	}
	return admin.Login{Mode: "oidc", Issuer: a.cfg.JWTIssuer, ClientID: a.cfg.JWTAudience, Domain: a.cfg.LoginDomain}
}

func (a *administration) status() admin.Status {
	s := admin.Status{
		Version: version, StartedAt: a.started.UTC().Truncate(time.Second), UptimeSeconds: int64(time.Since(a.started) / time.Second),
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	s.AddSites(ctx, a.sites, a.plane)
	if _, err := a.store.Get(ctx, "health"); err != nil && !errors.Is(err, prerender.ErrNotFound) {
		s.Faults = append(s.Faults, "store: "+err.Error())
	}
	s.Healthy = len(s.Faults) == 0
	return s
}

const (
	// warmReserve is what noting how far a run has come may take.
	warmReserve = 10 * time.Second

	// warmLease is taken by one call at a time: the schedule is faster than a call may be
	// slow.
	warmLease = "schedule"
)

// warm goes over the sitemaps and does jobs until they are done or the function's time is
// up; the next call goes on. Sitemaps are the site's, and may name any address: they are
// read by the same way to the network as pages.
func (a *administration) warm(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-warmReserve))
	defer cancel()
	lease, err := a.service.Leases.Acquire(ctx, warmLease, time.Until(deadline), "")
	if errors.Is(err, prerender.ErrLeased) {
		return nil // the call before is at it
	}
	if err != nil {
		return err
	}
	defer a.service.Leases.Release(context.WithoutCancel(ctx), lease)
	proxy, err := egress.Start(egress.Config{Policy: egress.Policy{Allow: a.cfg.EgressAllow}, Log: a.log})
	if err != nil {
		return err
	}
	defer func() {
		a.metrics.Add(telemetry.EgressRefusals, "", float64(proxy.Refusals()))
		proxy.Close()
	}()
	scheduler := &warm.Scheduler{
		Sites: a.sites, Plane: a.plane, Queue: a.queue, Remake: a.service.Remake, Client: proxy.Client(sitemap.Timeout), Log: a.log,
	}
	if err := scheduler.Tick(ctx); err != nil {
		a.log.ErrorContext(ctx, "sitemaps or jobs not done; the next call goes on", "err", err)
		return err
	}
	return nil
}

// merge makes one tally of what instances have counted in each hour that is over.
func (a *administration) merge(ctx context.Context) error {
	sites, err := a.sites.All(ctx)
	return errors.Join(err, insight.MergeAll(ctx, a.records, sites, time.Now()))
}

// probe asks for a page as a bot does. What comes of it is a metric, on which there is an alarm.
func (a *administration) probe(ctx context.Context, page string) {
	if err := health.Probe(ctx, http.DefaultClient, page, a.metrics); err != nil {
		a.log.ErrorContext(ctx, "a bot does not get its page", "err", err)
	}
}
