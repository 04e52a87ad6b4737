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
	errOtherSite  = errors.New("the X-Prerender-Token is for other sites")
	errSiteFails  = errors.New("the site itself answers an error")
	errPlainApp   = errors.New("the site gives agents of this kind its app")
	errRefused    = errors.New("the site gives agents of this kind nothing")
)

// refusal is how an error looks from outside.
type refusal struct {
	err        error
	status     int
	reason     string        // X-Stillpage-Reason
	retryAfter time.Duration // 0: trying again does not help
}

// atTheEdge is the refusal's status for CloudFront, which fails over to the plain app
// from 403, 500, 502 and 504: where trying again may help, the site has the choice
// between that and 503, which goes to the bot, so that it comes back. What Stillpage
// does not know may be a page all the same, so the app is asked.
func (r refusal) atTheEdge(plainApp bool) int {
	switch {
	case r.retryAfter > 0 && plainApp:
		return http.StatusGatewayTimeout
	case r.retryAfter > 0:
		return http.StatusServiceUnavailable
	case r.status == http.StatusNotFound:
		return http.StatusForbidden
	default:
		return r.status
	}
}

// refusals is the one table from errors to answers. The first that fits wins.
var refusals = []refusal{
	{errMethod, http.StatusMethodNotAllowed, "method-not-allowed", 0},
	{errNoToken, http.StatusForbidden, "token-missing", 0},
	{errWrongToken, http.StatusUnauthorized, "token-invalid", 0},
	{errOtherSite, http.StatusUnauthorized, "token-invalid", 0},
	{errSiteFails, http.StatusServiceUnavailable, "origin-error", time.Minute},
	{errPlainApp, http.StatusForbidden, "plain-app", 0},
	{errRefused, http.StatusUnauthorized, "agent-refused", 0}, // from 403, CloudFront would go on to the app
	{prerender.ErrLoop, http.StatusLoopDetected, "loop", 0},
	{prerender.ErrURLInvalid, http.StatusNotFound, "url-invalid", 0},
	{prerender.ErrSitesDown, http.StatusServiceUnavailable, "sites-unavailable", 10 * time.Second},
	{prerender.ErrSiteUnknown, http.StatusNotFound, "site-unknown", 0},
	{prerender.ErrAddressRefused, http.StatusBadGateway, "address-refused", 0},
	{prerender.ErrContentRefused, http.StatusBadGateway, "content-refused", 0},
	{prerender.ErrOriginUnreachable, http.StatusBadGateway, "origin-unreachable", time.Minute},
	{prerender.ErrOriginTimeout, http.StatusGatewayTimeout, "origin-timeout", time.Minute},
	{prerender.ErrRenderTimeout, http.StatusGatewayTimeout, "render-timeout", time.Minute},
	{prerender.ErrLimited, http.StatusTooManyRequests, "limited", time.Minute},
	{prerender.ErrUnfinished, http.StatusServiceUnavailable, "unfinished", 10 * time.Second},
	{prerender.ErrNotAdmitted, http.StatusServiceUnavailable, "not-admitted", time.Minute},
	{prerender.ErrBusy, http.StatusServiceUnavailable, "busy", 10 * time.Second},
	{prerender.ErrStopping, http.StatusServiceUnavailable, "stopping", 10 * time.Second},
	{prerender.ErrNoRenderer, http.StatusBadGateway, "renderer-missing", 0},
	{prerender.ErrRendererDown, http.StatusServiceUnavailable, "renderer-unavailable", 30 * time.Second},
}

func refusalOf(err error) refusal {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			var limited *prerender.LimitedError
			if errors.As(err, &limited) {
				r.retryAfter = limited.Wait
			}
			return r
		}
	}
	return refusal{err, http.StatusInternalServerError, "internal-error", 0}
}
