// Package edge stands where CloudFront stands on AWS: it runs the deployed
// viewer-request function on every request and sends the request to the origin
// that the function chose, or to the app when that one fails. It caches nothing and ends no TLS.
package edge

import (
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	edgefunction "github.com/stillpage/stillpage/infra/edge"
)

// RouterOrigin is the ID by which the edge function calls the router.
const RouterOrigin = "stillpage-router"

// Edge is the http.Handler that people and bots speak to.
type Edge struct {
	fn     *function
	app    http.Handler
	router http.Handler
	log    *slog.Logger
}

// New returns an edge in front of the app at origin, with bots sent to router.
func New(origin *url.URL, router http.Handler, log *slog.Logger) (*Edge, error) {
	fn, err := newFunction(edgefunction.ViewerRequest)
	if err != nil {
		return nil, err
	}
	return &Edge{fn: fn, app: appProxy(origin, log), router: router, log: log}, nil
}

func appProxy(origin *url.URL, log *slog.Logger) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(origin)
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery // it would clean away what it cannot parse
			pr.Out.Host = pr.In.Host                 // an app builds its links from the host that the viewer sees
			pr.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // the viewer has hung up
			}
			log.WarnContext(r.Context(), "the app does not answer", "origin", origin.String(), "path", r.URL.Path, "err", err)
			http.Error(w, "The app behind this edge does not answer.", http.StatusBadGateway)
		},
	}
}

// ServeHTTP runs the edge function and forwards the request.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	out, chosen, err := e.fn.call(event(r), client)
	if err != nil {
		// CloudFront answers 503 too when a function throws.
		e.log.ErrorContext(r.Context(), "edge function failed", "path", r.URL.Path, "err", err)
		http.Error(w, "The edge function failed.", http.StatusServiceUnavailable)
		return
	}
	apply(out, r)
	if chosen.origin == RouterOrigin {
		first := &attempt{w: w, header: http.Header{}, failOver: chosen.failOver}
		e.router.ServeHTTP(first, r)
		first.WriteHeader(http.StatusOK) // if nobody has, as net/http does
		if !first.failed {
			return
		}
		if reason := first.header.Get("X-Stillpage-Reason"); reason != "" {
			w.Header().Set("X-Stillpage-Reason", reason) // which CloudFront does not tell
		}
	}
	w.Header()["Content-Type"] = nil // net/http would guess one where the app gives none
	e.app.ServeHTTP(w, r)
}

// attempt is the answer of an origin that has a second one behind it. It is
// dropped if its status is one for which that is asked.
type attempt struct {
	w            http.ResponseWriter
	header       http.Header
	failOver     []int
	sent, failed bool
}

func (a *attempt) Header() http.Header { return a.header }

func (a *attempt) WriteHeader(status int) {
	if a.sent {
		return
	}
	a.sent, a.failed = true, slices.Contains(a.failOver, status)
	if !a.failed {
		maps.Copy(a.w.Header(), a.header)
		a.w.WriteHeader(status)
	}
}

func (a *attempt) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.failed {
		return len(p), nil
	}
	return a.w.Write(p)
}

// event describes a request as CloudFront does: header names in lower case,
// cookies apart from headers, and the path as it came, without its query.
func event(r *http.Request) request {
	req := request{Method: r.Method, URI: r.URL.EscapedPath(), Headers: map[string]value{}, Cookies: map[string]value{}}
	if r.Host != "" {
		req.Headers["host"] = value{Value: r.Host}
	}
	for name, values := range r.Header {
		if name == "Cookie" {
			continue
		}
		req.Headers[strings.ToLower(name)] = value{Value: strings.Join(values, ","), MultiValue: values}
	}
	for _, c := range r.Cookies() {
		req.Cookies[c.Name] = value{Value: c.Value}
	}
	return req
}

// apply carries over the headers that the function set or deleted. Others keep
// the values that came, repeated ones included.
func apply(out request, r *http.Request) {
	for name := range r.Header {
		if _, kept := out.Headers[strings.ToLower(name)]; !kept && name != "Cookie" {
			r.Header.Del(name)
		}
	}
	for name, v := range out.Headers {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if name != "host" && strings.Join(r.Header[canonical], ",") != v.Value {
			r.Header.Set(canonical, v.Value)
		}
	}
}
