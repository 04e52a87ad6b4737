// Package rollout tries a new version of a function before it gets traffic: the hook that
// CodeDeploy calls asks it for what only a version that works can answer.
package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/stillpage/stillpage/internal/health"
)

// Lambda is what is used of Lambda. *lambda.Client has it.
type Lambda interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Deployments is what is used of CodeDeploy. *codedeploy.Client has it.
type Deployments interface {
	PutLifecycleEventHookExecutionStatus(context.Context, *codedeploy.PutLifecycleEventHookExecutionStatusInput, ...func(*codedeploy.Options)) (*codedeploy.PutLifecycleEventHookExecutionStatusOutput, error)
}

// Check tries one version of one function.
type Check struct {
	Function string // render, router or admin
	Version  string // its ARN
	Site     string // public origin, whose front page the router is asked for
	Token    string // that the router asks for; empty: none

	Lambda      Lambda
	Deployments Deployments
	Log         *slog.Logger
}

// Event is what CodeDeploy sends.
type Event struct {
	DeploymentID                  string `json:"DeploymentId"`
	LifecycleEventHookExecutionID string `json:"LifecycleEventHookExecutionId"`
}

// Serve tries the version and tells CodeDeploy, which goes on, or leaves all traffic where it
// is.
func (c *Check) Serve(ctx context.Context, event Event) error {
	if event.DeploymentID == "" || event.LifecycleEventHookExecutionID == "" {
		return errors.New("the event is none of CodeDeploy's: it lacks DeploymentId or LifecycleEventHookExecutionId")
	}
	status := types.LifecycleEventStatusSucceeded
	trying, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	if err := c.Try(trying); err != nil {
		c.Log.ErrorContext(ctx, "the new version does not work; it gets no traffic", "tried", c.Function, "arn", c.Version, "err", err)
		status = types.LifecycleEventStatusFailed
	} else {
		c.Log.InfoContext(ctx, "the new version works", "tried", c.Function, "arn", c.Version)
	}
	_, err := c.Deployments.PutLifecycleEventHookExecutionStatus(ctx, &codedeploy.PutLifecycleEventHookExecutionStatusInput{
		DeploymentId: &event.DeploymentID, LifecycleEventHookExecutionId: &event.LifecycleEventHookExecutionID, Status: status,
	})
	if err != nil {
		return fmt.Errorf("tell deployment %s that its version is %s: %w", event.DeploymentID, status, err)
	}
	return nil
}

// tryTime leaves the hook, which has a minute, the time to say that a version hangs.
const tryTime = 45 * time.Second

// Try returns what is wrong with the version, or nil.
func (c *Check) Try(ctx context.Context) error {
	switch c.Function {
	case "render":
		return c.tryRender(ctx)
	case "router":
		return c.tryRouter(ctx)
	case "admin":
		return c.tryAdmin(ctx)
	}
	return fmt.Errorf("there is no function %q to be tried: render, router or admin", c.Function)
}

// tryRender has a page of Stillpage's own rendered.
func (c *Check) tryRender(ctx context.Context) error {
	var answer struct {
		Checked     bool
		Fault, Text string
	}
	if err := c.invoke(ctx, map[string]any{"check": true}, &answer); err != nil {
		return err
	}
	if !answer.Checked {
		return fmt.Errorf("%s: %s", answer.Fault, answer.Text)
	}
	return nil
}

// sitesOwn are reasons for which nobody's version is to blame.
var sitesOwn = []string{"origin-error", "origin-timeout", "origin-unreachable", "busy", "limited", "content-refused", "address-refused", "not-admitted",
	"plain-app", "agent-refused"} // the last two are what the owner wants

// tryRouter asks for the site's front page as a bot does: by way of the store, and of a render
// if it is not there.
func (c *Check) tryRouter(ctx context.Context) error {
	site, err := url.Parse(c.Site)
	if err != nil {
		return err
	}
	answer, err := c.request(ctx, "/", map[string]string{
		"user-agent": health.Agent, "x-stillpage-host": site.Host, "x-stillpage-variant": "bot-desktop",
		"x-forwarded-proto": site.Scheme, "x-prerender-token": c.Token,
	}, nil)
	if err != nil {
		return err
	}
	reason := answer.header("X-Stillpage-Reason")
	switch {
	case answer.header("X-Stillpage-Cache") != "":
		return nil
	case slices.Contains(sitesOwn, reason):
		c.Log.WarnContext(ctx, "the site's front page cannot be had, which is not the version's fault", "reason", reason)
		return nil
	}
	return fmt.Errorf("for %s/ it answers %d %s: %.300s", c.Site, answer.StatusCode, reason, answer.Body)
}

// tryAdmin asks how things are.
func (c *Check) tryAdmin(ctx context.Context) error {
	iam := map[string]any{"iam": map[string]any{"userArn": "arn:aws:sts::000000000000:assumed-role/deployment/check", "accountId": "000000000000"}}
	answer, err := c.request(ctx, "/v1/status", map[string]string{"user-agent": health.Agent}, iam)
	if err != nil {
		return err
	}
	var status struct {
		Healthy bool
		Faults  []string
	}
	switch {
	case answer.StatusCode == 403: // it has rules, by which this caller is nobody
		return nil
	case answer.StatusCode != 200 || json.Unmarshal([]byte(answer.Body), &status) != nil:
		return fmt.Errorf("for /v1/status it answers %d: %.300s", answer.StatusCode, answer.Body)
	case !status.Healthy:
		return fmt.Errorf("it is not well: %s", strings.Join(status.Faults, "; "))
	}
	return nil
}

type answer struct {
	StatusCode int
	Headers    map[string]string
	Body       string
}

func (a answer) header(name string) string {
	for n, v := range a.Headers {
		if strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

// throttledPause is how long to wait for a place.
const throttledPause = time.Second

// request asks as function URLs and HTTP APIs do (payload version 2.0).
func (c *Check) request(ctx context.Context, path string, headers map[string]string, authorizer any) (a answer, err error) {
	event := map[string]any{
		"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": headers,
		"requestContext": map[string]any{
			"authorizer": authorizer, "domainName": "check.invalid",
			"http": map[string]string{"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": headers["user-agent"]},
		},
	}
	if err = c.invoke(ctx, event, &a); err == nil && a.StatusCode == 0 {
		err = errors.New("its answer is no answer to a request")
	}
	return a, err
}

func (c *Check) invoke(ctx context.Context, event, result any) error {
	payload, err := json.Marshal(event)
	if err != nil {
		return err
	}
	var out *lambda.InvokeOutput
	for {
		// All versions share the function's concurrency, so a busy one is no bad one.
		var throttled *lambdatypes.TooManyRequestsException
		out, err = c.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &c.Version, Payload: payload})
		if !errors.As(err, &throttled) {
			break
		}
		select {
		case <-time.After(throttledPause):
			continue
		case <-ctx.Done():
		}
		break
	}
	if err != nil {
		return fmt.Errorf("invoke %s: %w", c.Version, err)
	}
	if out.FunctionError != nil {
		return fmt.Errorf("it fails: %s: %.500s", *out.FunctionError, out.Payload)
	}
	if err := json.Unmarshal(out.Payload, result); err != nil {
		return fmt.Errorf("its answer is no JSON (%w): %.300s", err, out.Payload)
	}
	return nil
}
