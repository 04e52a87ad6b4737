// Package admin serves operators: an API below /v1, which openapi.go describes, and the
// console, a page for people that uses it. What can be done, and that it is in the audit,
// is package control's business; this package asks who it is, reads what they want, and
// writes what came of it.
package admin

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/report"
)

// Status is what GET /v1/status answers.
type Status struct {
	Version       string    `json:"version"`
	StartedAt     time.Time `json:"startedAt"`
	UptimeSeconds int64     `json:"uptimeSeconds"`
	Sites         []string  `json:"sites"`              // public origins
	Pages         int       `json:"pages"`              // stored
	Renderer      any       `json:"renderer,omitempty"` // counts, see the renderer
	Healthy       bool      `json:"healthy"`            // told from Faults
	Faults        []string  `json:"faults"`             // why not healthy

	// Warming is the last run over each site's sitemaps.
	Warming map[string]prerender.WarmRun `json:"warming,omitempty"`
}

// NewStatus is that of an instance, with the sites and their last runs, or why they cannot
// be read.
func NewStatus(ctx context.Context, version string, started time.Time, sites *prerender.SiteCache, plane *control.Plane) Status {
	s := Status{
		Version: version, StartedAt: started.UTC().Truncate(time.Second), UptimeSeconds: int64(time.Since(started) / time.Second),
		Sites: []string{}, Warming: map[string]prerender.WarmRun{},
	}
	all, err := sites.All(ctx)
	s.Fault("store: ", err)
	runs, err := plane.Runs(ctx)
	s.Fault("store: ", err)
	for _, site := range all {
		s.Sites = append(s.Sites, site.Origin.String())
		if site.Warming != nil {
			s.Warming[site.Origin.String()] = runs[site.Origin.Host]
		}
	}
	return s
}

// Fault adds what is wrong, if anything is. What stands before the first colon is for
// everybody to read, the rest for operators.
func (s *Status) Fault(part string, err error) {
	if err != nil {
		s.Faults = append(s.Faults, part+err.Error())
	}
}

// API is what operators ask.
type API struct {
	Status func(ctx context.Context) Status // called for each request; without faults, it is healthy
	Plane  *control.Plane

	// Principal says who asks. Its error is for the asker: why it is nobody. It is called
	// for the routes that are not open to everybody.
	Principal func(r *http.Request) (control.Principal, error)

	// Do does a job at once; Began is told of one that others do.
	Do    func(ctx context.Context, job *control.Job) error
	Began func()

	// Inspect renders a page and says what a person and a bot see.
	Inspect func(ctx context.Context, page prerender.Page) (*report.Report, error)

	// Uses are what tokens are for here. Nil: for all that there is.
	Uses []control.TokenUse

	// RenderGB is the memory of a render, for what it costs. Zero: DefaultRenderGB.
	RenderGB float64

	// Login is how people log in to the console.
	Login Login

	Log *slog.Logger

	// Now is the clock of tickets and of what is forgotten. Nil means time.Now.
	Now func() time.Time

	document func() []byte // OpenAPI, made when it is asked for first
}

// DefaultRenderGB is the template's default.
const DefaultRenderGB = 1769.0 / 1024

// Login is how people log in to the console.
type Login struct {
	Mode     string `json:"mode"` // "token", "oidc" (by Issuer), or "iam": not at all
	Issuer   string `json:"issuer,omitempty"`
	ClientID string `json:"clientId,omitempty"`
	Domain   string `json:"domain,omitempty"` // of the pages of an issuer that has them elsewhere (Cognito)
}

// Handler serves all routes, the console among them. What is wrong is answered as
// application/problem+json (RFC 9457).
func (a *API) Handler() http.Handler {
	a.document = sync.OnceValue(OpenAPI)
	mux := http.NewServeMux()
	for _, route := range routes() {
		mux.HandleFunc(route.method+" "+route.path, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, route) })
	}
	mux.Handle("GET /{$}", a.console())
	mux.Handle("GET /console/", a.console())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		if handler, pattern := mux.Handler(r); pattern == "" {
			a.unrouted(w, r, handler)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// unrouted answers what no route is for as a problem, with what the mux knows of it.
func (a *API) unrouted(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	seen := &recorder{header: http.Header{}}
	handler.ServeHTTP(seen, r)
	if allow := seen.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		write(w, problemf(http.StatusMethodNotAllowed, "%s is not one of the methods of %s: %s", r.Method, r.URL.Path, allow))
		return
	}
	write(w, problemf(http.StatusNotFound, "there is nothing at %s; GET /v1/openapi.json describes all that there is", r.URL.Path))
}

// recorder keeps what a handler answers.
type recorder struct {
	header http.Header
	status int
	body   []byte
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	r.body = append(r.body, p...)
	return len(p), nil
}

func (a *API) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

func health(a *API, c *call) error {
	s := a.status(c.r.Context())
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !s.Healthy {
		c.w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, fault := range s.Faults { // what is behind the colon is for the log and GET /v1/status
		part, _, _ := strings.Cut(fault, ":")
		c.w.Write([]byte(part + "\n"))
	}
	if s.Healthy {
		c.w.Write([]byte("ok\n"))
	}
	return nil
}

// status goes on for an asker who has hung up: what it finds out holds for the next.
func (a *API) status(ctx context.Context) Status {
	s := a.Status(context.WithoutCancel(ctx))
	s.Healthy = len(s.Faults) == 0
	if s.Healthy {
		s.Faults = []string{}
	}
	return s
}

func status(a *API, c *call) error {
	s := a.status(c.r.Context())
	isOthers := func(origin string) bool {
		_, host, _ := strings.Cut(origin, "://")
		return !c.who.May(control.Viewer, host)
	}
	s.Sites = append([]string{}, slices.DeleteFunc(s.Sites, isOthers)...)
	if !c.who.May(control.Viewer, "") {
		s.Faults = append([]string{}, s.Faults[:min(1, len(s.Faults))]...)
		for i := range s.Faults {
			s.Faults[i] = "the installation is not well; its operators see why"
		}
	}
	maps.DeleteFunc(s.Warming, func(origin string, _ prerender.WarmRun) bool { return isOthers(origin) })
	return c.answer(http.StatusOK, s)
}

// me is what GET /v1/me answers.
type me struct {
	control.Principal
	Role control.Role `json:"role"` // the highest, for any site
}

func whoAmI(_ *API, c *call) error {
	m := me{Principal: c.who}
	for _, role := range []control.Role{control.Viewer, control.Operator, control.Admin} {
		if c.who.Has(role) {
			m.Role = role
		}
	}
	return c.answer(http.StatusOK, m)
}
