// Package admin serves operators. Today that is the state of the service, and
// purges; the API and the console that configure it have their place here.
package admin

import (
	"context"
	"encoding/json"
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

// Handler serves
//
//	GET  /healthz    200, or 503 and the status's faults as text
//	GET  /v1/status  Status
//	POST /v1/purges  {"site": "https://www.example.com", "path": "/blog/*", "tag": "", "hard": false, "dryRun": false}
//
// status is called for each request.
func Handler(status func() Status, purger Purger, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/purges", purge(purger, log))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		s := status()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if !s.Healthy {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		for _, fault := range s.Faults {
			w.Write([]byte(fault + "\n"))
		}
		if s.Healthy {
			w.Write([]byte("ok\n"))
		}
	})
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		s := status()
		if s.Faults == nil {
			s.Faults = []string{}
		}
		enc.Encode(s)
	})
	return mux
}
