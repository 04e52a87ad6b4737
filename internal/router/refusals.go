package router

import (
	"errors"
	"net/http"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

var (
	errMethod     = errors.New("only GET and HEAD are answered")
	errNoToken    = errors.New("the X-Prerender-Token header is missing")
	errWrongToken = errors.New("the X-Prerender-Token is not valid")
)

// refusal is how an error looks from outside.
type refusal struct {
	err        error
	status     int
	reason     string        // X-Stillpage-Reason
	retryAfter time.Duration // 0: trying again does not help
}

// atTheEdge is the status of a refusal that trying again may help, to CloudFront.
// From 504 it fails over to the plain app; 503 goes to the bot, which comes back.
func atTheEdge(plainApp bool) int {
	if plainApp {
		return http.StatusGatewayTimeout
	}
	return http.StatusServiceUnavailable
}

// refusals is the one table from errors to answers. The first that fits wins.
var refusals = []refusal{
	{errMethod, http.StatusMethodNotAllowed, "method-not-allowed", 0},
	{errNoToken, http.StatusForbidden, "token-missing", 0},
	{errWrongToken, http.StatusUnauthorized, "token-invalid", 0},
	{prerender.ErrLoop, http.StatusLoopDetected, "loop", 0},
	{prerender.ErrURLInvalid, http.StatusNotFound, "url-invalid", 0},
	{prerender.ErrSiteUnknown, http.StatusNotFound, "site-unknown", 0},
	{prerender.ErrAddressRefused, http.StatusBadGateway, "address-refused", 0},
	{prerender.ErrContentRefused, http.StatusBadGateway, "content-refused", 0},
	{prerender.ErrOriginUnreachable, http.StatusBadGateway, "origin-unreachable", time.Minute},
	{prerender.ErrOriginTimeout, http.StatusGatewayTimeout, "origin-timeout", time.Minute},
	{prerender.ErrRenderTimeout, http.StatusGatewayTimeout, "render-timeout", time.Minute},
	{prerender.ErrUnfinished, http.StatusServiceUnavailable, "unfinished", 10 * time.Second},
	{prerender.ErrNotAdmitted, http.StatusServiceUnavailable, "not-admitted", time.Minute},
	{prerender.ErrBusy, http.StatusServiceUnavailable, "busy", 10 * time.Second},
	{prerender.ErrStopping, http.StatusServiceUnavailable, "stopping", 10 * time.Second},
	{prerender.ErrRendererDown, http.StatusServiceUnavailable, "renderer-unavailable", 30 * time.Second},
}

func refusalOf(err error) refusal {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r
		}
	}
	return refusal{err, http.StatusInternalServerError, "internal-error", 0}
}
