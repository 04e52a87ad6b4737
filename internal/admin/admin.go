// Package admin serves operators: the state of the service, sites, purges. A console has
// its place here.
package admin

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Status is what GET /v1/status answers.
type Status struct {
	Version       string    `json:"version"`
	StartedAt     time.Time `json:"startedAt"`
	UptimeSeconds int64     `json:"uptimeSeconds"`
	Sites         []string  `json:"sites"`    // public origins
	Pages         int       `json:"pages"`    // stored
	Renderer      any       `json:"renderer"` // counts, see the renderer
	Healthy       bool      `json:"healthy"`
	Faults        []string  `json:"faults"` // why not healthy

	// Warming is the last run over each site's sitemaps.
	Warming map[string]prerender.WarmRun `json:"warming,omitempty"`
}

// AddSites adds the sites and their last runs, or why they cannot be read.
func (s *Status) AddSites(ctx context.Context, sites *prerender.SiteCache, runs prerender.WarmRuns) {
	all, err := sites.All(ctx)
	s.fault(err)
	s.Sites, s.Warming = []string{}, map[string]prerender.WarmRun{}
	for _, site := range all {
		s.Sites = append(s.Sites, site.Origin.String())
		if site.Warming == nil {
			continue
		}
		run, err := runs.WarmRun(ctx, site.Origin.Host)
		s.fault(err)
		s.Warming[site.Origin.String()] = run
	}
}

func (s *Status) fault(err error) {
	if err != nil {
		s.Faults = append(s.Faults, err.Error())
	}
}

// API is what operators ask.
type API struct {
	Status func() Status // called for each request
	Purger Purger
	Sites  prerender.SiteStore
	Fixed  prerender.SiteList // sites of flags or the template
	Log    *slog.Logger
}

// Handler serves
//
//	GET    /healthz          200, or 503 and the status's faults as text
//	GET    /v1/status        Status
//	GET    /v1/sites         {"sites": [{"origin": "https://www.example.com", "version": 3}]}
//	GET    /v1/sites/{host}  the site, with its ETag
//	PUT    /v1/sites/{host}  the same, with If-Match; answers what it changes
//	DELETE /v1/sites/{host}  with If-Match; answers the same
//	POST   /v1/purges        {"site": "https://www.example.com", "path": "/blog/*", "tag": "", "hard": false, "dryRun": false}
//
// With ?dryRun=true, nothing is done. What is wrong is answered as application/problem+json.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", a.health)
	mux.HandleFunc("GET /v1/status", a.status)
	mux.HandleFunc("GET /v1/sites", a.listSites)
	mux.HandleFunc("GET /v1/sites/{host}", a.getSite)
	mux.HandleFunc("PUT /v1/sites/{host}", a.putSite)
	mux.HandleFunc("DELETE /v1/sites/{host}", a.deleteSite)
	mux.HandleFunc("POST /v1/purges", a.purge)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "there are GET /healthz, GET /v1/status, GET /v1/sites, GET, PUT and DELETE /v1/sites/{host}, and POST /v1/purges")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

func (a *API) health(w http.ResponseWriter, _ *http.Request) {
	s := a.Status()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !s.Healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, fault := range s.Faults {
		w.Write([]byte(fault + "\n"))
	}
	if s.Healthy {
		w.Write([]byte("ok\n"))
	}
}

func (a *API) status(w http.ResponseWriter, _ *http.Request) {
	s := a.Status()
	if s.Faults == nil {
		s.Faults = []string{}
	}
	answer(w, http.StatusOK, s)
}
