package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/strictjson"
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

func (a *API) purge(w http.ResponseWriter, r *http.Request) {
	document, ok := readJSON(w, r, maxOrder)
	if !ok {
		return
	}
	var order purgeOrder
	faults := strictjson.Decode(document, &order)
	if len(faults) == 0 && order.Site.Host == "" {
		faults = []strictjson.Fault{{Pointer: "/site", Detail: "is missing; it is like https://www.example.com"}}
	}
	if len(faults) > 0 {
		refuse(w, http.StatusUnprocessableEntity, `the body must be like {"site": "https://www.example.com", "path": "/blog/*", "tag": "", "hard": false, "dryRun": false}`, faults...)
		return
	}
	wanted := prerender.Purge{Path: order.Path, Tag: order.Tag, Hard: order.Hard}
	var count purgeCount
	var err error
	order.DryRun = order.DryRun || isDryRun(r)
	if order.DryRun {
		count, err = countPages(r.Context(), a.Purger, order.Site.Host, wanted)
	} else {
		err = a.Purger.Purge(r.Context(), order.Site.Host, wanted)
	}
	switch {
	case errors.Is(err, prerender.ErrSiteUnknown):
		refuse(w, http.StatusNotFound, err.Error()+"; GET /v1/sites lists those that are known")
	case errors.Is(err, prerender.ErrURLInvalid):
		refuse(w, http.StatusUnprocessableEntity, err.Error())
	case errors.Is(err, prerender.ErrConflict):
		refuse(w, http.StatusConflict, err.Error())
	case err != nil:
		a.storeFails(w, r, err)
	case order.DryRun:
		answer(w, http.StatusOK, count)
	default:
		a.Log.InfoContext(r.Context(), "purged", "site", order.Site, "path", order.Path, "tag", order.Tag, "hard", order.Hard)
		w.WriteHeader(http.StatusNoContent)
	}
}
