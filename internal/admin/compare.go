package admin

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/report"
)

// comparison answers POST /v1/comparisons.
type comparison struct {
	URL      string    `json:"url"`
	Device   string    `json:"device"`
	Status   int       `json:"status"`
	Partial  string    `json:"partial,omitempty"` // what the page was waiting for
	Ended    string    `json:"ended"`             // why the page was taken when it was
	Findings []string  `json:"findings"`          // what the team should know first
	Person   view      `json:"person"`            // what a person sees
	Bot      view      `json:"bot"`               // what the new render shows with scripts off
	Text     []line    `json:"text"`              // of person and bot
	Stored   []line    `json:"stored"`            // of the stored page's HTML and the new one's
	Same     bool      `json:"same"`              // the stored page has the new one's bytes
	Phases   []phase   `json:"phases"`
	Requests []request `json:"requests"`
	Console  []string  `json:"console"`
	HTML     int       `json:"htmlBytes"`
}

type view struct {
	Picture    []byte      `json:"picture,omitempty"` // JPEG, base64
	Meta       [][2]string `json:"meta"`
	Links      [][2]string `json:"links"`
	Structured []string    `json:"structured"`
}

// line is a line of a comparison. Mark is " " for both, "-" for the first only, "+" for
// the second only.
type line struct {
	Mark string `json:"mark"`
	Text string `json:"text"`
}

type phase struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms"`
}

type request struct {
	URL     string  `json:"url"`
	Kind    string  `json:"kind"`
	StartMS float64 `json:"startMs"`
	EndMS   float64 `json:"endMs"` // 0: it had not ended
	Status  int     `json:"status"`
	Bytes   int64   `json:"bytes"`
	Failed  string  `json:"failed,omitempty"`
}

func (a *API) compare(c *call, page prerender.Page) (*comparison, error) {
	if a.Inspect == nil {
		return nil, problemf(http.StatusNotImplemented, "this installation cannot render for a comparison")
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), compareTime)
	defer cancel()
	r, err := a.Inspect(ctx, page)
	if err != nil {
		a.Log.WarnContext(ctx, "page not compared", "url", page.URL, "err", err)
		return nil, problemf(http.StatusBadGateway, "the page cannot be rendered: %s; the log says more", cause(err))
	}
	out := &comparison{
		URL: r.URL, Device: r.Device, Status: r.Status, Partial: r.Partial, Ended: r.Ended, Findings: append([]string{}, report.Findings(*r)...),
		Person: newView(r.Person), Bot: newView(r.Bot), Text: lines(report.Diff(r.Person.Text, r.Bot.Text)), Stored: []line{},
		Phases: []phase{}, Requests: []request{}, Console: append([]string{}, r.Console...), HTML: len(r.HTML),
	}
	for _, p := range r.Phases {
		out.Phases = append(out.Phases, phase{p.Name, milliseconds(p.Duration)})
	}
	for _, q := range r.Requests {
		out.Requests = append(out.Requests, request{q.URL, q.Kind, milliseconds(q.Start), milliseconds(q.End), q.Status, q.Bytes, q.Failed})
	}
	return out, a.compareStored(c, page, r.HTML, out)
}

// causes are what may be said of why a page cannot be rendered: what is around them in an
// error may name what is nobody's business.
var causes = []error{
	prerender.ErrOriginUnreachable, prerender.ErrOriginTimeout, prerender.ErrRenderTimeout, prerender.ErrAddressRefused, prerender.ErrContentRefused, prerender.ErrBusy,
}

func cause(err error) string {
	for _, c := range causes {
		if errors.Is(err, c) {
			return c.Error()
		}
	}
	return "the renderer does not answer"
}

// compareStored compares the HTML of a new render with the stored one, if there is one.
func (a *API) compareStored(c *call, page prerender.Page, rendered []byte, out *comparison) error {
	_, snap, err := a.Plane.Stored(c.r.Context(), page)
	if errors.Is(err, prerender.ErrNotFound) {
		return nil
	}
	var body []byte
	if err == nil {
		body, err = snap.Body()
	}
	if err != nil {
		return err
	}
	if out.Same = bytes.Equal(body, rendered); !out.Same {
		out.Stored = changed(lines(report.Diff(tags(body), tags(rendered))))
	}
	return nil
}

// tags has HTML begin a line with each tag, so that it can be compared line by line.
func tags(html []byte) string { return strings.ReplaceAll(string(html), "<", "\n<") }

// changed leaves the lines that differ, and one around them.
func changed(all []line) []line {
	kept := []line{}
	for i, l := range all {
		near := l.Mark != " " || i > 0 && all[i-1].Mark != " " || i+1 < len(all) && all[i+1].Mark != " "
		if near {
			kept = append(kept, l)
		}
	}
	return kept
}

func lines(list []report.Line) []line {
	out := []line{}
	for _, l := range list {
		out = append(out, line{string(l.Mark), l.Text})
	}
	return out
}

func newView(v report.View) view {
	return view{v.Picture, append([][2]string{}, v.Meta...), append([][2]string{}, v.Links...), append([]string{}, v.Structured...)}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
