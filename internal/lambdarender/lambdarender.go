// Package lambdarender has pages made by a render function. It holds both sides
// of the wire: Maker, which the router function uses, and Worker, which the render
// function is.
//
// An order is
//
//	{"origin": "https://www.example.com", "target": "/shop?a=1", "device": "desktop", "fence": 1234, "ms": 13000}
//
// and its answer
//
//	{"snapshot": {…, "gzip": "base64"}, "phases": [["navigate", 12.5], …]}
//	{"snapshot": {…, "stored": true}}                 the body is too large, and in the store
//	{"report": {…}}                                   of an order with "inspect": true
//	{"checked": true}                                 of {"check": true}: a page of its own was rendered
//	{"fault": "busy", "text": "…"}                    one of faults
package lambdarender

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/report"
)

// maxInline is the longest compressed body in an answer: Lambda takes 6 MB of
// JSON, in which it is base64.
const maxInline = 4_000_000

// Order is what is asked of a render function. The site's rules are not in it:
// the function knows its sites, and renders no others.
type Order struct {
	Origin string           `json:"origin"`
	Target string           `json:"target"`
	Device prerender.Device `json:"device"`

	// Language is the page's, if its site's pages vary by it.
	Language string `json:"language,omitempty"`

	Fence int64 `json:"fence"`

	// ChangedAt and Unasked are the page's.
	ChangedAt time.Time `json:"changedAt,omitzero"`
	Unasked   bool      `json:"unasked,omitempty"`

	// Inspect asks for a report on the page. Nothing is stored.
	Inspect bool `json:"inspect,omitempty"`

	// Check asks whether a page of Stillpage's own can be rendered; nothing else is asked for.
	Check bool `json:"check,omitempty"`

	// Milliseconds are what the router has left. Zero: as long as Lambda grants.
	Milliseconds int64 `json:"ms,omitempty"`
}

// handOver is the part of an order's time that the way back takes.
const handOver = time.Second

// NewOrder describes a page.
func NewOrder(page prerender.Page, fence int64) Order {
	origin := page.Site.Origin.String()
	return Order{Origin: origin, Target: strings.TrimPrefix(page.URL, origin), Device: page.Device, Language: page.Language, Fence: fence,
		ChangedAt: page.ChangedAt, Unasked: page.Unasked}
}

// Page finds the page that is ordered.
func (o Order) Page(ctx context.Context, sites prerender.Sites) (prerender.Page, error) {
	origin, err := prerender.ParseOrigin(o.Origin)
	if err != nil {
		return prerender.Page{}, fmt.Errorf("%w: %w", prerender.ErrURLInvalid, err)
	}
	site, err := sites.Site(ctx, origin.Host)
	if err != nil {
		return prerender.Page{}, err
	}
	if site.Origin != origin {
		return prerender.Page{}, fmt.Errorf("origin %s, where %s is known: %w", origin, site.Origin, prerender.ErrSiteUnknown)
	}
	page, err := site.Page(o.Target, prerender.Viewer{Device: o.Device, AcceptLanguage: o.Language})
	page.ChangedAt, page.Unasked = o.ChangedAt, o.Unasked
	return page, err
}

type answer struct {
	Snapshot *snapshot `json:"snapshot,omitempty"`
	Phases   []phase   `json:"phases,omitempty"`

	Report *report.Report `json:"report,omitempty"`

	Checked bool `json:"checked,omitempty"`

	Fault string `json:"fault,omitempty"`
	Text  string `json:"text,omitempty"`
}

// snapshot is one on the wire. Stored: its body is left out, and in the store.
type snapshot struct {
	prerender.Snapshot
	Stored bool `json:"stored,omitempty"`
}

type phase struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms"`
}

// faults are the core's errors by their names on the wire.
var faults = map[string]error{
	"address-refused":    prerender.ErrAddressRefused,
	"busy":               prerender.ErrBusy,
	"not-admitted":       prerender.ErrNotAdmitted,
	"content-refused":    prerender.ErrContentRefused,
	"origin-timeout":     prerender.ErrOriginTimeout,
	"origin-unreachable": prerender.ErrOriginUnreachable,
	"render-timeout":     prerender.ErrRenderTimeout,
	"renderer-down":      prerender.ErrRendererDown,
	"site-unknown":       prerender.ErrSiteUnknown,
	"sites-unavailable":  prerender.ErrSitesDown,
	"stopping":           prerender.ErrStopping,
	"url-invalid":        prerender.ErrURLInvalid,
}

// Client is what is used of Lambda. *lambda.Client has it. It must not try
// again by itself: a throttled render is to be answered, not waited for.
type Client interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Maker implements prerender.Maker by a render function.
type Maker struct {
	Client   Client
	Function string          // name or ARN, with its alias
	Store    prerender.Store // where the function stores; its reads must see what was just written
}

// Make implements prerender.Maker.
func (m *Maker) Make(ctx context.Context, page prerender.Page, fence int64) (*prerender.Snapshot, []prerender.Phase, error) {
	a, err := m.order(ctx, page, NewOrder(page, fence))
	if err != nil {
		return nil, nil, err
	}
	snap := &a.Snapshot.Snapshot
	if a.Snapshot.Stored {
		stored, err := m.Store.Get(ctx, page.Key)
		if err == nil && stored.RenderedAt.Before(snap.RenderedAt) {
			err = errors.New("an older one has taken its place")
		}
		if err != nil {
			return nil, nil, fmt.Errorf("render %s: its large body: %w: %w", page.URL, prerender.ErrRendererDown, err)
		}
		snap = stored
	}
	var phases []prerender.Phase
	for _, p := range a.Phases {
		phases = append(phases, prerender.Phase{Name: p.Name, Duration: time.Duration(p.MS * float64(time.Millisecond))})
	}
	return snap, phases, nil
}

// Inspect has a page rendered and reported on.
func (m *Maker) Inspect(ctx context.Context, page prerender.Page) (*report.Report, error) {
	order := NewOrder(page, 0)
	order.Inspect = true
	a, err := m.order(ctx, page, order)
	return a.Report, err
}

// order invokes the function.
func (m *Maker) order(ctx context.Context, page prerender.Page, order Order) (a answer, _ error) {
	if deadline, ok := ctx.Deadline(); ok {
		order.Milliseconds = max(1, time.Until(deadline.Add(-handOver)).Milliseconds())
	}
	payload, err := json.Marshal(order)
	if err != nil {
		return a, fmt.Errorf("order %s: %w", page.URL, err)
	}
	out, err := m.Client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &m.Function, Payload: payload})
	if err != nil {
		return a, m.explain(page, err)
	}
	if out.FunctionError != nil {
		return a, crash(page, out.Payload)
	}
	err = json.Unmarshal(out.Payload, &a)
	if err != nil || a.Fault == "" && (order.Inspect && a.Report == nil || !order.Inspect && a.Snapshot == nil) {
		return a, fmt.Errorf("render %s: the render function's answer is no answer (%.200s): %w", page.URL, out.Payload, prerender.ErrRendererDown)
	}
	if a.Fault != "" {
		fault, known := faults[a.Fault]
		if !known {
			fault = prerender.ErrRendererDown
		}
		return a, fmt.Errorf("render %s: %s: %w", page.URL, a.Text, fault)
	}
	return a, nil
}

// explain translates the errors of an invocation, and says what an owner can do.
func (m *Maker) explain(page prerender.Page, err error) error {
	var throttled *types.TooManyRequestsException
	var missing *types.ResourceNotFoundException
	var api smithy.APIError
	switch {
	case errors.As(err, &throttled):
		return fmt.Errorf("render %s: lambda:InvokeFunction on %s is throttled (%s), its concurrency is in use: %w", page.URL, m.Function, throttled.Reason, prerender.ErrBusy)
	case errors.As(err, &missing):
		return fmt.Errorf("render %s: lambda:InvokeFunction: function %s does not exist: %w: %w", page.URL, m.Function, prerender.ErrNoRenderer, err)
	case errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException":
		return fmt.Errorf("render %s: allow lambda:InvokeFunction on %s to this function's role: %w: %w", page.URL, m.Function, prerender.ErrNoRenderer, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("render %s: %w: %w", page.URL, prerender.ErrRenderTimeout, err)
	default:
		return fmt.Errorf("render %s: lambda:InvokeFunction on %s: %w: %w", page.URL, m.Function, prerender.ErrRendererDown, err)
	}
}

// crash reads what Lambda says of a function that has not answered.
func crash(page prerender.Page, payload []byte) error {
	var said struct {
		ErrorMessage string `json:"errorMessage"`
		ErrorType    string `json:"errorType"`
	}
	json.Unmarshal(payload, &said) // whatever it is, it is shown
	if strings.Contains(said.ErrorMessage, "Task timed out") {
		return fmt.Errorf("render %s: %s: %w", page.URL, said.ErrorMessage, prerender.ErrRenderTimeout)
	}
	return fmt.Errorf("render %s: the render function has failed: %s %s: %w", page.URL, said.ErrorType, said.ErrorMessage, prerender.ErrRendererDown)
}

// Worker is the render function.
type Worker struct {
	Maker   prerender.Maker
	Renew   func(context.Context, prerender.Page) error                   // pages of the queue
	Inspect func(context.Context, prerender.Page) (*report.Report, error) // renders a page and reports on it
	Check   func(context.Context) error                                   // says whether it renders at all
	Waited  func(time.Duration)                                           // is told how long a page was in the queue
	Sites   prerender.Sites
	Log     *slog.Logger
}

// Serve is what aws-lambda-go runs. Its events are orders, and batches of SQS with an order a
// message.
func (w *Worker) Serve(ctx context.Context, event json.RawMessage) (any, error) {
	var batch batch
	if err := json.Unmarshal(event, &batch); err == nil && len(batch.Records) > 0 {
		return w.work(ctx, batch), nil
	}
	var order Order
	err := json.Unmarshal(event, &order)
	if err == nil && order.Check {
		if err := w.Check(ctx); err != nil {
			return fault(err), nil
		}
		return answer{Checked: true}, nil
	}
	if err != nil || order.Origin == "" {
		w.Log.ErrorContext(ctx, "event is no order and no batch", "err", err, "event", fmt.Sprintf("%.500s", event))
		return fault(fmt.Errorf("the event is no order: %w", prerender.ErrURLInvalid)), nil
	}
	page, err := order.Page(ctx, w.Sites)
	if err != nil {
		return fault(err), nil
	}
	if order.Milliseconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(order.Milliseconds)*time.Millisecond)
		defer cancel()
	}
	if order.Inspect {
		r, err := w.Inspect(ctx, page)
		if err != nil {
			return fault(err), nil
		}
		return newReport(r), nil
	}
	snap, phases, err := w.Maker.Make(ctx, page, order.Fence)
	if err != nil {
		return fault(err), nil
	}
	return newAnswer(snap, phases), nil
}

func fault(err error) answer {
	for name, core := range faults {
		if errors.Is(err, core) {
			return answer{Fault: name, Text: err.Error()}
		}
	}
	return answer{Fault: "renderer-down", Text: err.Error()}
}

// maxReport is as much as fits, with room for what JSON adds.
const maxReport = 5_500_000

func newReport(r *report.Report) answer {
	if text, err := json.Marshal(r); err != nil || len(text) > maxReport {
		return fault(fmt.Errorf("the page and its pictures are too large to be handed over (%d bytes of at most %d); compare it by `stillpage render --report`: %w",
			len(text), maxReport, prerender.ErrContentRefused))
	}
	return answer{Report: r}
}

func newAnswer(s *prerender.Snapshot, phases []prerender.Phase) answer {
	a := answer{Snapshot: &snapshot{Snapshot: *s}}
	if len(s.Gzip) > maxInline {
		if s.Expires.IsZero() { // it was not stored, and this is the only way out
			return fault(fmt.Errorf("a page of %d compressed bytes that is not kept is too large to be handed over: %w", len(s.Gzip), prerender.ErrContentRefused))
		}
		a.Snapshot.Gzip, a.Snapshot.Stored = nil, true
	}
	for _, p := range phases {
		a.Phases = append(a.Phases, phase{p.Name, float64(p.Duration) / float64(time.Millisecond)})
	}
	return a
}
