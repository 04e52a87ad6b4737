package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// purgeOrder is the body of POST /v1/purges.
type purgeOrder struct {
	Site prerender.Origin `json:"site"`
	Path string           `json:"path"`
	Tag  string           `json:"tag"`
	Hard bool             `json:"hard"`

	// DryRun counts the pages that would be hit, and does nothing.
	DryRun bool `json:"dryRun"`
}

// purgeCount answers a dry run. Complete is false when the time was up first.
type purgeCount struct {
	Pages    int  `json:"pages"`
	Complete bool `json:"complete"`
}

// countTime bounds a dry run: API Gateway waits for 30 s.
const countTime = 20 * time.Second

// Purger is the core's side of purges.
type Purger interface {
	Purge(ctx context.Context, host string, p prerender.Purge) error

	// Count says how many stored pages a purge would hit.
	Count(ctx context.Context, host string, p prerender.Purge) (int, error)
}

// maxOrder bounds a body: a path and a tag, and some room.
const maxOrder = 16 << 10

func countPages(ctx context.Context, purger Purger, host string, p prerender.Purge) (purgeCount, error) {
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	n, err := purger.Count(ctx, host, p)
	if errors.Is(err, context.DeadlineExceeded) {
		return purgeCount{Pages: n}, nil
	}
	return purgeCount{n, true}, err
}

// purge serves POST /v1/purges.
func purge(purger Purger, log *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		// A form of somebody else's page in an operator's browser can post, but not
		// with this type, unless it is asked first.
		if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/json" {
			http.Error(w, "the body must be application/json", http.StatusUnsupportedMediaType)
			return
		}
		var order purgeOrder
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&order)
		if err == nil && order.Site.Host == "" {
			err = errors.New("site is missing")
		}
		if err != nil {
			http.Error(w, fmt.Sprintf(`the body must be like {"site": "https://www.example.com", "path": "/blog/*", "tag": "", "hard": false, "dryRun": false}: %v`, err), http.StatusBadRequest)
			return
		}
		wanted := prerender.Purge{Path: order.Path, Tag: order.Tag, Hard: order.Hard}
		var count purgeCount
		if order.DryRun {
			count, err = countPages(r.Context(), purger, order.Site.Host, wanted)
		} else {
			err = purger.Purge(r.Context(), order.Site.Host, wanted)
		}
		switch {
		case errors.Is(err, prerender.ErrSiteUnknown):
			http.Error(w, err.Error(), http.StatusNotFound)
		case errors.Is(err, prerender.ErrURLInvalid):
			http.Error(w, err.Error(), http.StatusBadRequest)
		case errors.Is(err, prerender.ErrConflict):
			http.Error(w, err.Error(), http.StatusConflict)
		case err != nil && order.DryRun:
			log.ErrorContext(r.Context(), "pages not counted", "site", order.Site, "err", err)
			http.Error(w, "the pages could not be counted; the log says why", http.StatusServiceUnavailable)
		case order.DryRun:
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(count)
		case err != nil:
			log.ErrorContext(r.Context(), "not purged", "site", order.Site, "err", err)
			http.Error(w, "the purge could not be stored; the log says why", http.StatusServiceUnavailable)
		default:
			log.InfoContext(r.Context(), "purged", "site", order.Site, "path", order.Path, "tag", order.Tag, "hard", order.Hard)
			w.WriteHeader(http.StatusNoContent)
		}
	}
}
