// Package admin serves operators. Today that is the state of the service; the
// API and the console that configure it have their place here.
package admin

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"
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
		enc.Encode(status())
	})
	return mux
}
