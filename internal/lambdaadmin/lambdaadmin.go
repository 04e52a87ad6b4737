// Package lambdaadmin is what there is to administration on Lambda and nowhere else: whom
// API Gateway lets in, and what schedules have the function do beside answering operators.
package lambdaadmin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/admin"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/lambdahttp"
	"github.com/stillpage/stillpage/internal/prerender"
)

// Worker does what events ask for. All of its fields are needed.
type Worker struct {
	// Operators answers what is no schedule's event.
	Operators lambdahttp.Function

	// Tick goes over sitemaps and does jobs until they are done or its time is up; the next
	// one goes on.
	Tick func(ctx context.Context) error

	// Leases see to it that one call at a time does: the schedule is faster than a call may
	// be slow.
	Leases prerender.Leases

	// Merge makes one tally of what instances have counted in each hour that is over.
	Merge func(ctx context.Context) error

	// Probe asks for a page as a bot does. What comes of it is a metric, on which there is
	// an alarm.
	Probe func(ctx context.Context, page string) error

	Log *slog.Logger
}

// schedule is the Input of a schedule in template.yaml.
type schedule struct {
	Warm  bool   `json:"warm"`
	Merge bool   `json:"merge"`
	Probe string `json:"probe"` // a page's URL
}

// Serve does what an event asks for. The error of a schedule's is for Lambda's metrics; its
// next call goes on.
func (w *Worker) Serve(ctx context.Context, event json.RawMessage) (any, error) {
	var s schedule
	err := json.Unmarshal(event, &s)
	switch {
	case err == nil && s.Warm:
		return nil, w.warm(ctx)
	case err == nil && s.Merge:
		return nil, w.Merge(ctx)
	case err == nil && s.Probe != "":
		if err := w.Probe(ctx, s.Probe); err != nil {
			w.Log.ErrorContext(ctx, "a bot does not get its page", "err", err)
		}
		return nil, nil
	}
	return w.Operators(ctx, event)
}

const (
	// warmReserve is what noting how far a run has come may take.
	warmReserve = 10 * time.Second

	// warmMost is for how long it goes on where nobody says when it must end.
	warmMost = time.Minute

	// warmLease is the name of the lease.
	warmLease = "schedule"
)

func (w *Worker) warm(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(warmMost)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-warmReserve))
	defer cancel()
	lease, err := w.Leases.Acquire(ctx, warmLease, time.Until(deadline), "")
	if errors.Is(err, prerender.ErrLeased) {
		return nil // the call before is at it
	}
	if err != nil {
		return err
	}
	defer w.Leases.Release(context.WithoutCancel(ctx), lease)
	if err := w.Tick(ctx); err != nil {
		w.Log.ErrorContext(ctx, "sitemaps or jobs not done; the next call goes on", "err", err)
		return err
	}
	return nil
}

// Gateway tells whom API Gateway has let in: a role of AWS's, or who bears a token of an
// issuer.
type Gateway struct {
	Issuer string
	Claim  string         // of the tokens, that names groups; empty: Cognito's
	Access control.Access // empty: roles of AWS may all, groups what their names say
}

// Principal is who has sent a request, or admin.ErrNobody.
func (g Gateway) Principal(r *http.Request) (control.Principal, error) {
	caller, ok := lambdahttp.CallerOf(r)
	if !ok {
		return control.Principal{}, admin.ErrNobody
	}
	if caller.ARN != "" {
		return g.accessOr("*=admin").Principal(caller.ARN, caller.ARN, caller.ARN), nil
	}
	// API Gateway has verified the token. It writes lists of its claims as texts, in which a
	// group with a blank in its name cannot be told from two.
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	subject, name, groups, err := control.ParseClaims(strings.TrimSpace(token), cmp.Or(g.Claim, "cognito:groups"))
	if err != nil {
		return control.Principal{}, fmt.Errorf("%w: %w", admin.ErrNobody, err)
	}
	return g.accessOr("stillpage-admin=admin,stillpage-operator=operator,stillpage-viewer=viewer").Principal(g.Issuer+" "+subject, name, append(groups, subject)...), nil
}

// accessOr returns the rules, or if there are none, those that a text has.
func (g Gateway) accessOr(otherwise string) control.Access {
	if len(g.Access) > 0 {
		return g.Access
	}
	rules, err := control.ParseAccess(otherwise)
	if err != nil {
		panic(err) // it is a constant
	}
	return rules
}
