package telemetry

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Request is one that was answered or refused. Its line in the log has the message "page",
// "refused" or "client hung up", and these fields; docs/logs.md is held against it:
//
//	method, uri  as asked
//	host         that was asked for, behind CloudFront
//	site         the host of the site, if it is a known one
//	agent        the bot's name, if it is a known one
//	purpose      what it comes for
//	ms           milliseconds
//	status       of the answer
//	cache        hit, stale, miss or coalesced
//	bytes        of the compressed body
//	weight       how many requests the line stands for
//	instead      why an old page was answered in the place of a new one
//	reason, err  why there is no page
type Request struct {
	Method, URI, Host string
	Site              string // host of a known site; empty: of none
	Agent             string
	Purpose           string
	Cache             string // hit, stale, miss, coalesced or refused
	Status            int
	Bytes             int64
	Took              time.Duration
	Instead           string // reason
	Reason            string
	Err               error
	HungUp            bool // nobody has waited for the answer
}

// Render is one that has ended. Its line in the log has the message "render":
//
//	url, site, device
//	outcome  complete, partial, or why there is no page
//	status   of the page
//	waiting  what a partial page was waiting for
//	ms       milliseconds; phases: those of its parts
//	bytes    of the compressed body
//	err      why there is no page
type Render struct {
	URL, Site, Device string
	Outcome           string // complete, partial, status-500 or the like, or why there is no page
	Status            int
	Partial           string // what it was waiting for, in a word
	Waiting           string // and at length
	Bytes             int64
	Took              time.Duration
	Phases            []prerender.Phase
	Err               error
}

// Tallies are statistics for owners (package insight).
type Tallies interface {
	Request(Request)
	Render(Render)
}

// Observer is told of every request and every render. Its fields may be nil.
type Observer struct {
	Recorder *Recorder
	Tallies  Tallies
	Log      *slog.Logger // nil means slog.Default()

	lines sampling
}

// Request counts a request, and writes its line.
func (o *Observer) Request(ctx context.Context, r Request) {
	if !r.HungUp {
		o.count(r)
	}
	weight := 1
	if r.HungUp || r.Err != nil || r.Instead != "" {
		// What is not as usual is written in any case.
	} else if weight = o.lines.next(time.Now().Round(0)); weight == 0 {
		return
	}
	attrs := []slog.Attr{slog.String("method", r.Method), slog.String("uri", r.URI)}
	text := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	text("host", r.Host)
	text("site", r.Site)
	text("agent", r.Agent)
	text("purpose", r.Purpose)
	attrs = append(attrs, slog.Int64("ms", r.Took.Milliseconds()))
	level, message := slog.LevelInfo, "page"
	switch {
	case r.HungUp:
		message = "client hung up"
	case r.Err != nil:
		level, message = slog.LevelWarn, "refused"
		attrs = append(attrs, slog.Int("status", r.Status), slog.String("reason", r.Reason), slog.Any("err", r.Err))
	default:
		attrs = append(attrs, slog.Int("status", r.Status), slog.String("cache", r.Cache), slog.Int64("bytes", r.Bytes), slog.Int("weight", weight))
		text("instead", r.Instead)
	}
	o.log().LogAttrs(ctx, level, message, attrs...)
}

func (o *Observer) count(r Request) {
	if o.Tallies != nil {
		o.Tallies.Request(r)
	}
	o.Recorder.Add(Requests, r.Cache, 1)
	if r.Err != nil {
		o.Recorder.Add(Refusals, r.Reason, 1)
	} else {
		o.Recorder.Time(RequestTime, r.Cache, r.Took)
		o.Recorder.Add(Answered, "", float64(r.Bytes))
	}
	if r.Instead != "" {
		o.Recorder.Add(OldAnswers, "", 1)
	}
	switch cmp.Or(r.Reason, r.Instead) {
	case "busy":
		o.Recorder.Add(Throttles, "concurrency", 1)
	case "limited":
		o.Recorder.Add(Throttles, "limit", 1)
	}
}

// Render counts a render, and writes its line.
func (o *Observer) Render(ctx context.Context, r Render) {
	if o.Tallies != nil {
		o.Tallies.Render(r)
	}
	outcome := r.Outcome
	if strings.HasPrefix(outcome, "status-") {
		outcome = "origin-error"
	}
	o.Recorder.Add(Renders, outcome, 1)
	o.Recorder.Time(RenderTime, "", r.Took)
	for _, p := range r.Phases {
		o.Recorder.Time(PhaseTime, p.Name, p.Duration)
	}
	if r.Partial != "" {
		o.Recorder.Add(Partials, r.Partial, 1)
	}

	attrs := []slog.Attr{
		slog.String("url", r.URL), slog.String("site", r.Site), slog.String("device", r.Device),
		slog.String("outcome", r.Outcome), slog.Int64("ms", r.Took.Milliseconds()),
	}
	if r.Err != nil {
		o.log().LogAttrs(ctx, slog.LevelWarn, "render", append(attrs, slog.Any("err", r.Err))...)
		return
	}
	phases := make([]any, len(r.Phases))
	for i, p := range r.Phases {
		phases[i] = slog.Int64(p.Name, p.Duration.Milliseconds())
	}
	attrs = append(attrs, slog.Int("status", r.Status), slog.Int64("bytes", r.Bytes), slog.Group("phases", phases...))
	if r.Waiting != "" {
		attrs = append(attrs, slog.String("waiting", r.Waiting))
	}
	o.log().LogAttrs(ctx, slog.LevelInfo, "render", attrs...)
}

func (o *Observer) log() *slog.Logger { return cmp.Or(o.Log, slog.Default()) }

// Lines of pages that were answered as usual are many. Of each process there are so many in a
// second, and after a second without any as many more; each stands for those before it that
// were not written.
const (
	linesPerSecond = 10
	linesAtOnce    = 100
)

// sampling is a token bucket.
type sampling struct {
	mu      sync.Mutex
	full    time.Time // when the bucket is full again
	skipped int
}

// next returns the weight of a line, or 0: it is not to be written.
func (s *sampling) next(now time.Time) int {
	const interval = time.Second / linesPerSecond
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full.Before(now) {
		s.full = now
	}
	if s.full.Sub(now) > (linesAtOnce-1)*interval {
		s.skipped++
		return 0
	}
	s.full = s.full.Add(interval)
	weight := s.skipped + 1
	s.skipped = 0
	return weight
}
