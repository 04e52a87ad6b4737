package lambdaadmin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/stillpage/stillpage/internal/lambdaadmin"
	"github.com/stillpage/stillpage/internal/prerender"
)

// world is what a Worker has to do with, and what it has done.
type world struct {
	prerender.Leases
	leased, down bool
	fails        error
	left         time.Duration // of a Tick's time
	done         []string
}

func (w *world) Acquire(_ context.Context, key prerender.Key, d time.Duration, _ string) (prerender.Lease, error) {
	if w.leased {
		return prerender.Lease{}, &prerender.LeasedError{Key: key}
	}
	if w.down {
		return prerender.Lease{}, errors.New("table is gone")
	}
	return prerender.Lease{Key: key}, nil
}

func (w *world) Release(ctx context.Context, _ prerender.Lease) error {
	w.done = append(w.done, fmt.Sprint("released ", ctx.Err()))
	return nil
}

func (w *world) worker() *lambdaadmin.Worker {
	do := func(what string) error {
		w.done = append(w.done, what)
		return w.fails
	}
	return &lambdaadmin.Worker{
		Operators: func(context.Context, json.RawMessage) (events.APIGatewayV2HTTPResponse, error) {
			return events.APIGatewayV2HTTPResponse{StatusCode: 204}, do("answered")
		},
		Tick: func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			w.left = time.Until(deadline)
			return do("ticked")
		},
		Leases: w, Merge: func(context.Context) error { return do("merged") },
		Probe: func(_ context.Context, page string) error { return do("probed " + page) }, Log: slog.New(slog.DiscardHandler),
	}
}

func TestWorker(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		event string
		world world
		fails bool
		want  []string
	}{
		"a request":                   {`{"version":"2.0","rawPath":"/v1/sites"}`, world{}, false, []string{"answered"}},
		"no JSON":                     {`x`, world{}, false, []string{"answered"}},
		"warming":                     {`{"warm": true}`, world{}, false, []string{"ticked", "released <nil>"}},
		"warming that fails":          {`{"warm": true}`, world{fails: broken}, true, []string{"ticked", "released <nil>"}},
		"another call is at it":       {`{"warm": true}`, world{leased: true}, false, nil},
		"leases do not answer":        {`{"warm": true}`, world{down: true}, true, nil},
		"merging":                     {`{"merge": true}`, world{}, false, []string{"merged"}},
		"merging that fails":          {`{"merge": true}`, world{fails: broken}, true, []string{"merged"}},
		"a probe":                     {`{"probe": "https://a.example/"}`, world{}, false, []string{"probed https://a.example/"}},
		"a probe that gets no page":   {`{"probe": "https://a.example/"}`, world{fails: broken}, false, []string{"probed https://a.example/"}},
		"a schedule that is none now": {`{"warm": false}`, world{}, false, []string{"answered"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			_, err := tt.world.worker().Serve(ctx, json.RawMessage(tt.event))
			if (err != nil) != tt.fails || !slices.Equal(tt.world.done, tt.want) {
				t.Errorf("got %q, %v; want %q", tt.world.done, err, tt.want)
			}
			if slices.Contains(tt.want, "ticked") && (tt.world.left < 50*time.Minute || tt.world.left > time.Hour-5*time.Second) {
				t.Errorf("it was given %v of an hour, want some seconds less", tt.world.left)
			}
		})
	}
}

// Where nobody says when a call must end, it ends.
func TestWarmingEnds(t *testing.T) {
	t.Parallel()
	w := &world{}
	if _, err := w.worker().Serve(t.Context(), json.RawMessage(`{"warm": true}`)); err != nil || w.left <= 0 || w.left > time.Minute {
		t.Errorf("got %v, and %v to go on", err, w.left)
	}
}
