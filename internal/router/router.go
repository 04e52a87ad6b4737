// Package router answers crawlers and the middlewares that speak for them: it
// reads which page a request names, asks the core for it, and writes the answer
// or the refusal. It renders and stores nothing itself.
package router

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/telemetry"
	"github.com/stillpage/stillpage/internal/useragent"
)

// Answerer is the core's side of the router.
type Answerer interface {
	Answer(ctx context.Context, request prerender.Request) (*prerender.Answer, error)
}

// Handler serves GET and HEAD of pages. Its responses carry:
//
//	X-Stillpage-Cache    hit, stale, miss or coalesced
//	X-Stillpage-Reason   why there is no page, on a refusal (see refusals); and why
//	                     an old page is answered, when a new one could not be made
//	X-Stillpage-Partial  what the page was waiting for when its time was up
//	Age                  seconds since the page was rendered; not by the edge
//	Cache-Control        see cacheControl
//	ETag, Last-Modified  of the body; conditional requests are answered 304
//	Server-Timing        where the time went, in milliseconds
//	Vary                 Accept-Encoding, and Accept-Language if the page does
type Handler struct {
	Sites   prerender.Sites
	Service Answerer

	// Token is what integrations send as X-Prerender-Token. Empty: none is asked for.
	Token string

	// Tokens are others that they may send. Nil: there are none.
	Tokens Tokens

	// Observer is told of each request. Nil: one that writes to slog.Default().
	Observer *telemetry.Observer
}

// Tokens knows which tokens are good.
type Tokens interface {
	// Check returns the token with a text, or control.ErrTokenUnknown or
	// control.ErrTokenExpired.
	Check(ctx context.Context, text string) (control.Token, error)
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	agent, _ := useragent.Lookup(r.UserAgent())
	page, token, err := h.page(r)
	if err == nil {
		err = allowed(page.Rule.Agents[string(agent.Purpose)])
	}
	var answer *prerender.Answer
	if err == nil {
		answer, err = h.Service.Answer(r.Context(), prerender.Request{Page: page, Client: client(r), Token: token, Patience: patience(agent)})
	}
	if err == nil && isEdge(r) && answer.Expires.IsZero() && (answer.Status == 500 || answer.Status == 502 || answer.Status == 504) {
		err = fmt.Errorf("status %d: %w", answer.Status, errSiteFails) // CloudFront would ask the app, and get the same
	}
	if err == nil {
		err = write(w, r, answer)
	}
	status := 0 // of a refusal
	if err != nil {
		plainApp := page.Rule.Failure.PlainApp || agent.Purpose == useragent.Preview
		status = h.refuse(w, r, plainApp, err)
	}
	h.observe(r, page, agent, answer, status, err, time.Since(start))
}

// observe says what has become of a request. A client that has hung up is no refusal.
func (h *Handler) observe(r *http.Request, page prerender.Page, agent useragent.Agent, a *prerender.Answer, status int, err error, took time.Duration) {
	o := telemetry.Request{
		Method: r.Method, URI: r.RequestURI, Host: r.Header.Get(HostHeader), Site: page.Site.Origin.Host,
		Agent: agent.Name, Purpose: string(agent.Purpose), Took: took, Err: err,
	}
	if err != nil {
		refusal := refusalOf(err)
		o.Cache, o.Status, o.Reason = "refused", status, refusal.reason
		o.HungUp = r.Context().Err() != nil
	} else {
		o.Cache, o.Status, o.Bytes = string(a.Source), a.Status, int64(len(a.Gzip)) // nine of ten crawlers take it so
		if a.Instead != nil {
			o.Instead = Reason(a.Instead)
		}
	}
	observer := h.Observer
	if observer == nil {
		observer = &telemetry.Observer{}
	}
	observer.Request(r.Context(), o)
}

// Reason is why there is no page, as in X-Stillpage-Reason.
func Reason(err error) string { return refusalOf(err).reason }

func allowed(policy prerender.Policy) error {
	switch policy {
	case prerender.PlainApp:
		return errPlainApp
	case prerender.Refuse:
		return errRefused
	}
	return nil
}

// page reads which page is asked for, and whether by somebody who may: an integration's
// token has a name.
func (h *Handler) page(r *http.Request) (page prerender.Page, token string, _ error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return page, "", errMethod
	}
	may, token, err := h.authorize(r)
	if err != nil {
		return page, "", err
	}
	if useragent.IsOwn(r.UserAgent()) || r.Header.Get("X-Prerender") != "" {
		return page, "", prerender.ErrLoop
	}
	t, err := parseTarget(r)
	if err != nil {
		return page, "", err
	}
	site, err := h.site(r.Context(), t.host)
	if err != nil {
		return page, "", err
	}
	if !may(site.Origin.Host) {
		return page, "", errOtherSite
	}
	page, err = site.Page(t.path, prerender.Viewer{Device: device(r), AcceptLanguage: strings.Join(r.Header.Values("Accept-Language"), ",")})
	return page, token, err
}

// previewPatience is how long link previews wait: many of their agents give up
// after 5 s. The render goes on, for the next one.
const previewPatience = 4 * time.Second

func patience(agent useragent.Agent) time.Duration {
	if agent.Purpose == useragent.Preview {
		return previewPatience
	}
	return 0
}

// site looks a host up in its two forms: a client behind a proxy that ends TLS
// may say https for an http site and the other way round.
func (h *Handler) site(ctx context.Context, host string) (prerender.Site, error) {
	var lastErr error
	for _, scheme := range []string{"https", "http"} {
		normal, err := prerender.NormalizeHost(scheme, host)
		if err != nil {
			return prerender.Site{}, err
		}
		site, err := h.Sites.Site(ctx, normal)
		if err == nil {
			return site, nil
		}
		lastErr = err
	}
	return prerender.Site{}, lastErr
}

// authorize says for which sites a request may ask, and names the token that it shows.
func (h *Handler) authorize(r *http.Request) (may func(host string) bool, name string, _ error) {
	all := func(string) bool { return true }
	text := r.Header.Get("X-Prerender-Token")
	switch {
	case h.Token != "" && text == "":
		return nil, "", errNoToken
	case isEdge(r) && h.Token == "", text == "":
		return all, "", nil
	case h.Token != "" && subtle.ConstantTimeCompare([]byte(text), []byte(h.Token)) == 1:
		if isEdge(r) { // it speaks for clients that it names
			return all, "", nil
		}
		return all, "integrations", nil
	}
	var token control.Token
	err := control.ErrTokenUnknown
	if h.Tokens != nil {
		token, err = h.Tokens.Check(r.Context(), text)
	}
	switch {
	case err == nil && token.Use == control.Integration:
		return token.MayRender, "token " + token.ID, nil
	case h.Token == "" && !control.IsToken(text):
		return all, "integrations", nil // none is asked for, and this is none of ours
	case err == nil, errors.Is(err, control.ErrTokenUnknown), errors.Is(err, control.ErrTokenExpired):
		return nil, "", errWrongToken
	}
	return nil, "", fmt.Errorf("%w: tokens: %w", prerender.ErrSitesDown, err)
}

func device(r *http.Request) prerender.Device {
	if useragent.IsMobile(r.UserAgent()) {
		return prerender.Mobile
	}
	return prerender.Desktop
}

// write sends the page: compressed when asked, since it is stored so, and with
// its length in any case.
func write(w http.ResponseWriter, r *http.Request, a *prerender.Answer) error {
	h := w.Header()
	for name, values := range a.Header {
		h[name] = values
	}
	if a.ETag != "" {
		h.Set("Etag", entityTag(a))
		h.Set("Last-Modified", a.ModifiedAt.UTC().Format(http.TimeFormat))
	}
	h.Set("Vary", vary(a))
	h.Set("X-Stillpage-Cache", string(a.Source))
	if a.Instead != nil {
		h.Set("X-Stillpage-Reason", refusalOf(a.Instead).reason)
	}
	h.Set("Cache-Control", cacheControl(a, isEdge(r)))
	if !isEdge(r) { // CloudFront writes its own
		h.Set("Age", strconv.Itoa(int(a.Age/time.Second)))
	}
	h.Set("Server-Timing", serverTiming(a.Phases))
	if id := r.Header.Get("X-Prerender-Request-Id"); id != "" {
		h.Set("X-Prerender-Requestid", id)
	}
	if notModified(r, a) {
		h.Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	body, length := []byte(nil), a.Size
	switch {
	case a.Size > 0 && acceptsGzip(r):
		body, length = a.Gzip, len(a.Gzip)
		h.Set("Content-Encoding", "gzip")
	case r.Method != http.MethodHead:
		var err error
		if body, err = a.Body(); err != nil {
			clear(h)
			return err
		}
	}
	h.Set("Content-Length", strconv.Itoa(length))
	if a.Partial != "" {
		h.Set("X-Stillpage-Partial", headerText(a.Partial))
	}
	w.WriteHeader(a.Status)
	if r.Method != http.MethodHead && bodyAllowed(a.Status) {
		bytes.NewReader(body).WriteTo(w) // a client that hangs up is nobody's error
	}
	return nil
}

func bodyAllowed(status int) bool { return status != 204 && status != 304 }

// acceptsGzip reads Accept-Encoding (RFC 9110, 12.5.3): gzip or "*", unless its
// weight is zero. Absent means identity here: prerender's middlewares that do
// not ask cannot decode.
func acceptsGzip(r *http.Request) bool {
	accepted := false
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		_, q, hasWeight := strings.Cut(strings.ToLower(weight), "q=")
		zero := false
		if hasWeight {
			f, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
			zero = err != nil || f == 0
		}
		switch name {
		case "gzip", "x-gzip":
			return !zero // what is said of gzip itself goes before "*"
		case "*":
			accepted = !zero
		}
	}
	return accepted
}

func serverTiming(phases []prerender.Phase) string {
	parts := make([]string, len(phases))
	for i, p := range phases {
		parts[i] = fmt.Sprintf("%s;dur=%.1f", p.Name, float64(p.Duration)/float64(time.Millisecond))
	}
	return strings.Join(parts, ", ")
}

// headerText keeps what a page chose (URLs) from breaking a header.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// refuse writes a refusal, and returns its status.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, plainApp bool, err error) int {
	refusal := refusalOf(err)
	status := refusal.status
	if isEdge(r) {
		status = refusal.atTheEdge(plainApp)
	}
	header := w.Header()
	header.Set("X-Stillpage-Reason", refusal.reason)
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	if refusal.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(refusal.retryAfter.Seconds()))))
	}
	if refusal.status == http.StatusMethodNotAllowed {
		header.Set("Allow", "GET, HEAD")
	}
	text := "Stillpage has no page to show: " + err.Error() + ".\n"
	if refusal.status >= 500 {
		// What went wrong inside may name internal addresses; it is in the log.
		text = "Stillpage has no page to show: " + refusal.reason + ".\n"
	}
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		fmt.Fprint(w, text)
	}
	return status
}
