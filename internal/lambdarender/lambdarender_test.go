package lambdarender_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/lambdarender"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/report"
)

var discard = slog.New(slog.DiscardHandler)

func sites(t *testing.T) prerender.SiteList {
	t.Helper()
	origin, err := prerender.ParseOrigin("https://a.example")
	if err != nil {
		t.Fatal(err)
	}
	list, err := prerender.NewSiteList(prerender.Site{Origin: origin, Settings: prerender.Settings{Vary: &prerender.VaryRule{Mobile: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func page(t *testing.T, target string) prerender.Page {
	t.Helper()
	p, err := sites(t)["a.example"].Page(target, prerender.Viewer{Device: prerender.Mobile})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// studio makes what it is told to.
type studio struct {
	left  time.Duration
	snap  *prerender.Snapshot
	err   error
	page  prerender.Page
	fence int64
}

func (s *studio) Make(ctx context.Context, page prerender.Page, fence int64) (*prerender.Snapshot, []prerender.Phase, error) {
	s.page, s.fence = page, fence
	if deadline, ok := ctx.Deadline(); ok {
		s.left = time.Until(deadline)
	}
	return s.snap, []prerender.Phase{{Name: "navigate", Duration: 12500 * time.Microsecond}}, s.err
}

// function is the render function without Lambda.
type function func(context.Context, json.RawMessage) (any, error)

func (f function) Invoke(ctx context.Context, in *lambda.InvokeInput, _ ...func(*lambda.Options)) (*lambda.InvokeOutput, error) {
	answer, err := f(ctx, in.Payload)
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(answer)
	return &lambda.InvokeOutput{Payload: payload}, err
}

func maker(t *testing.T, s *studio) *lambdarender.Maker {
	return &lambdarender.Maker{Client: function((&lambdarender.Worker{Maker: s, Sites: sites(t), Log: discard}).Serve), Function: "render"}
}

func TestOrderAndAnswer(t *testing.T) {
	t.Parallel()
	want := &prerender.Snapshot{
		Status: 404, Header: http.Header{"Content-Type": {"text/html"}, "Link": {"<a>", "<b>"}}, Size: 7, Partial: "a reason", Fence: 42,
		RenderedAt: time.Date(2026, 11, 22, 1, 2, 3, 4e6, time.UTC), Expires: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC), Gzip: []byte("\x1f\x8b\xff"),
	}
	s := &studio{snap: want}
	p := page(t, "/a%2Fb?q=%C3%A9&b=1&utm_source=x#!bang")
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	got, phases, err := maker(t, s).Make(ctx, p, 42)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	if s.fence != 42 || s.page.Key != p.Key || s.page.URL != p.URL || s.page.Device != prerender.Mobile {
		t.Errorf("the function made %+v under fence %d, want %+v under 42", s.page, s.fence, p)
	}
	if s.left <= 0 || s.left > time.Hour-time.Second {
		t.Errorf("the function has %v for what is wanted in an hour; the way back takes a second", s.left)
	}
	if len(phases) != 1 || phases[0].Duration != 12500*time.Microsecond {
		t.Errorf("phases: got %v", phases)
	}
}

// The core's errors survive the way.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, core := range []error{
		prerender.ErrAddressRefused, prerender.ErrBusy, prerender.ErrContentRefused, prerender.ErrOriginTimeout, prerender.ErrOriginUnreachable,
		prerender.ErrRenderTimeout, prerender.ErrRendererDown, prerender.ErrSiteUnknown, prerender.ErrStopping, prerender.ErrURLInvalid,
	} {
		_, _, err := maker(t, &studio{err: fmt.Errorf("details of it: %w", core)}).Make(t.Context(), page(t, "/"), 1)
		if !errors.Is(err, core) || !strings.Contains(err.Error(), "details of it") {
			t.Errorf("got %v, want %v with its details", err, core)
		}
	}
	_, _, err := maker(t, &studio{err: errors.New("something else")}).Make(t.Context(), page(t, "/"), 1)
	if !errors.Is(err, prerender.ErrRendererDown) {
		t.Errorf("an error that nobody knows: got %v, want ErrRendererDown", err)
	}
}

// shelf is a store with one page.
type shelf struct {
	prerender.Store
	snap *prerender.Snapshot
}

func (s shelf) Get(context.Context, prerender.Key) (*prerender.Snapshot, error) {
	if s.snap == nil {
		return nil, prerender.ErrNotFound
	}
	return s.snap, nil
}

func TestLargeBodies(t *testing.T) {
	t.Parallel()
	large := &prerender.Snapshot{Status: 200, Gzip: make([]byte, 5_000_000), Expires: time.Now().Add(time.Hour)}
	m := maker(t, &studio{snap: large})
	m.Store = shelf{snap: large}
	if got, _, err := m.Make(t.Context(), page(t, "/"), 1); err != nil || len(got.Gzip) != 5_000_000 {
		t.Errorf("in the store: got %v", err)
	}
	m.Store = shelf{}
	if _, _, err := m.Make(t.Context(), page(t, "/"), 1); !errors.Is(err, prerender.ErrRendererDown) {
		t.Errorf("not in the store: got %v, want ErrRendererDown", err)
	}
	kept := *large
	kept.Expires = time.Time{}
	if _, _, err := maker(t, &studio{snap: &kept}).Make(t.Context(), page(t, "/"), 1); !errors.Is(err, prerender.ErrContentRefused) {
		t.Errorf("never stored: got %v, want ErrContentRefused", err)
	}
}

type lambdaSays struct {
	out *lambda.InvokeOutput
	err error
}

func (l lambdaSays) Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error) {
	return l.out, l.err
}

func TestLambdaInTrouble(t *testing.T) {
	t.Parallel()
	failed := func(payload string) lambdaSays {
		return lambdaSays{out: &lambda.InvokeOutput{FunctionError: aws.String("Unhandled"), Payload: []byte(payload)}}
	}
	for name, tt := range map[string]struct {
		says lambdaSays
		want error
		text string
	}{
		"throttled":  {lambdaSays{err: &types.TooManyRequestsException{Reason: types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded}}, prerender.ErrBusy, "ReservedFunctionConcurrent"},
		"missing":    {lambdaSays{err: &types.ResourceNotFoundException{}}, prerender.ErrNoRenderer, "render does not exist"},
		"denied":     {lambdaSays{err: &smithy.GenericAPIError{Code: "AccessDeniedException"}}, prerender.ErrNoRenderer, "allow lambda:InvokeFunction on render"},
		"too late":   {lambdaSays{err: context.DeadlineExceeded}, prerender.ErrRenderTimeout, ""},
		"no network": {lambdaSays{err: errors.New("connection refused")}, prerender.ErrRendererDown, "connection refused"},
		"timed out":  {failed(`{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: x Error: Task timed out after 30.00 seconds"}`), prerender.ErrRenderTimeout, "30.00"},
		"crashed":    {failed(`{"errorType":"Runtime.ExitError","errorMessage":"signal: killed"}`), prerender.ErrRendererDown, "signal: killed"},
		"garbage":    {lambdaSays{out: &lambda.InvokeOutput{Payload: []byte("<html>")}}, prerender.ErrRendererDown, "<html>"},
		"null":       {lambdaSays{out: &lambda.InvokeOutput{Payload: []byte("null")}}, prerender.ErrRendererDown, "null"},
		"new fault":  {lambdaSays{out: &lambda.InvokeOutput{Payload: []byte(`{"fault":"out-of-ink"}`)}}, prerender.ErrRendererDown, ""},
	} {
		m := &lambdarender.Maker{Client: tt.says, Function: "render"}
		if _, _, err := m.Make(t.Context(), page(t, "/"), 1); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: got %v, want %v with %q", name, err, tt.want, tt.text)
		}
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	event, err := os.ReadFile("testdata/sqs.json")
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	renew := func(_ context.Context, p prerender.Page) error {
		made = append(made, p.URL)
		switch {
		case strings.HasSuffix(p.URL, "/busy"):
			return prerender.ErrBusy
		case strings.HasSuffix(p.URL, "/gone"):
			return prerender.ErrOriginUnreachable
		}
		return nil
	}
	answer, err := (&lambdarender.Worker{Maker: &studio{}, Renew: renew, Sites: sites(t), Log: discard}).Serve(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(answer)
	if err != nil || string(raw) != `{"batchItemFailures":[{"itemIdentifier":"2"}]}` {
		t.Errorf("got %s, %v: only what may succeed later comes again", raw, err)
	}
	want := []string{"https://a.example/good?a=1", "https://a.example/busy", "https://a.example/gone", "https://a.example/last"}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("renewed (-want +got):\n%s", diff)
	}
}

func FuzzServe(f *testing.F) {
	f.Add([]byte(`{"origin":"https://a.example","target":"/","device":"desktop","fence":1}`))
	f.Add([]byte(`{"Records":[{"messageId":"1","body":"{}"}]}`))
	origin, err := prerender.ParseOrigin("https://a.example")
	if err != nil {
		f.Fatal(err)
	}
	list := prerender.SiteList{"a.example": {Origin: origin}}
	s := &studio{snap: &prerender.Snapshot{}}
	serve := (&lambdarender.Worker{Maker: s, Renew: func(context.Context, prerender.Page) error { return nil }, Sites: list, Log: discard}).Serve
	f.Fuzz(func(t *testing.T, event []byte) {
		s.page = prerender.Page{}
		if _, err := serve(t.Context(), event); err != nil {
			t.Errorf("the function fails: %v", err)
		}
		if u := s.page.URL; u != "" && !strings.HasPrefix(u, "https://a.example/") {
			t.Errorf("it renders %s", u)
		}
	})
}

// What was not a page's own fault is tried again, sites that cannot be read among
// it; the rest would fail again.
func TestWhatComesAgain(t *testing.T) {
	t.Parallel()
	event := []byte(`{"Records":[{"messageId":"1","body":"{\"origin\":\"https://a.example\",\"target\":\"/\",\"device\":\"desktop\"}"}]}`)
	for err, want := range map[error]bool{
		prerender.ErrBusy: true, prerender.ErrLimited: true, prerender.ErrRendererDown: true, prerender.ErrStopping: true,
		prerender.ErrOriginTimeout: false, prerender.ErrRenderTimeout: false, prerender.ErrContentRefused: false,
	} {
		renew := func(context.Context, prerender.Page) error { return err }
		answer, _ := (&lambdarender.Worker{Maker: &studio{}, Renew: renew, Sites: sites(t), Log: discard}).Serve(t.Context(), event)
		if got := len(answer.(lambdarender.BatchAnswer).Failures) == 1; got != want {
			t.Errorf("%v: comes again is %v, want %v", err, got, want)
		}
	}
	renew := func(context.Context, prerender.Page) error { t.Error("renewed a page of no site"); return nil }
	answer, _ := (&lambdarender.Worker{Maker: &studio{}, Renew: renew, Sites: downSites{}, Log: discard}).Serve(t.Context(), event)
	if len(answer.(lambdarender.BatchAnswer).Failures) != 1 {
		t.Error("a page was dropped because the sites could not be read")
	}
}

type downSites struct{}

func (downSites) Site(context.Context, string) (prerender.Site, error) {
	return prerender.Site{}, prerender.ErrSitesDown
}

// A report that Lambda would not hand over is a fault with a reason, and no crash.
func TestLargeReport(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]string{1000: `"report"`, 6_000_000: `"fault":"content-refused"`} {
		w := &lambdarender.Worker{Sites: sites(t), Log: discard, Inspect: func(context.Context, prerender.Page) (*report.Report, error) {
			return &report.Report{URL: strings.Repeat("x", size)}, nil
		}}
		answer, err := w.Serve(t.Context(), []byte(`{"origin":"https://a.example","target":"/","inspect":true}`))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(answer)
		if err != nil || !strings.Contains(string(text), want) || len(text) > 6_291_556 {
			t.Errorf("%d bytes: got %d bytes, %.200s, want %s", size, len(text), text, want)
		}
	}
}
