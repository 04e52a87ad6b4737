package admin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/strictjson"
)

// problem is what is answered in the place of what was asked for (RFC 9457).
type problem struct {
	Status int                `json:"status"`
	Title  string             `json:"title"`            // of the status
	Detail string             `json:"detail"`           // what is wrong, and what would be right
	Faults []strictjson.Fault `json:"faults,omitempty"` // of the document that was sent
}

func (p *problem) Error() string { return p.Detail }

func problemf(status int, format string, args ...any) *problem {
	return &problem{Status: status, Title: http.StatusText(status), Detail: fmt.Sprintf(format, args...)}
}

// write sends a problem.
func write(w http.ResponseWriter, p *problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}

// call is a request on its way through a route.
type call struct {
	w   http.ResponseWriter
	r   *http.Request
	who control.Principal
}

// serve asks who it is, and lets the route answer.
func (a *API) serve(w http.ResponseWriter, r *http.Request, route route) {
	c := &call{w: w, r: r}
	err := a.admit(c, route)
	if err == nil {
		err = a.once(c, route)
	}
	if err == nil {
		return
	}
	p := a.explain(c, err)
	if p.Status >= 500 {
		a.Log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	write(w, p)
}

// admit finds out who asks, and whether they may.
func (a *API) admit(c *call, route route) error {
	if err := route.knows(c.r.URL.Query()); err != nil {
		return err
	}
	if route.role == control.Nobody {
		return nil
	}
	who, err := a.Principal(c.r)
	if err != nil {
		if errors.Is(err, ErrNobody) || errors.Is(err, control.ErrTokenUnknown) || errors.Is(err, control.ErrTokenExpired) {
			c.w.Header().Set("WWW-Authenticate", "Bearer")
			return problemf(http.StatusUnauthorized, "%v", err)
		}
		return err
	}
	c.who = who
	if !who.Has(route.role) {
		return problemf(http.StatusForbidden, "%s needs the role of %s, which %s does not have", route.summary, route.role, who.Name)
	}
	if c.r.PathValue("host") == "" {
		return nil
	}
	host, err := c.host()
	if err != nil {
		return err
	}
	return c.allow(route.role, host)
}

// host is the one that a path names, as it is written in an origin: which port is the
// scheme's own depends on the scheme.
func (c *call) host() (string, error) {
	host := strings.ToLower(c.r.PathValue("host"))
	if _, err := prerender.NormalizeHost("https", host); err != nil {
		return "", problemf(http.StatusNotFound, "%v", err)
	}
	return host, nil
}

// knows refuses what is not asked for by any parameter: a dry run that is misspelt must
// not be taken for the order itself.
func (r route) knows(query url.Values) error {
	for name, values := range query {
		known := slices.ContainsFunc(r.query, func(p parameter) bool { return p.name == name })
		if !known {
			var names []string
			for _, p := range r.query {
				names = append(names, p.name)
			}
			return problemf(http.StatusUnprocessableEntity, "parameter %.100q is not known here; there is: %s", name, strings.Join(names, ", "))
		}
		if name == paramDryRun.name && !slices.Equal(values, []string{"true"}) && !slices.Equal(values, []string{"false"}) {
			return problemf(http.StatusUnprocessableEntity, "dryRun must be true or false")
		}
	}
	return nil
}

// allow refuses those who have a role, but not for this site: to them it does not exist.
// The empty host is that of all sites together.
func (c *call) allow(role control.Role, host string) error {
	switch {
	case c.who.May(role, host):
		return nil
	case host == "":
		return problemf(http.StatusForbidden, "this is about all sites, and %s has a role for some of them only", c.who.Name)
	case c.who.May(control.Viewer, host):
		return problemf(http.StatusForbidden, "%s is not %s of %s", c.who.Name, role, host)
	}
	return problemf(http.StatusNotFound, "there is no site %q", host)
}

// table is the one from errors to answers.
var table = []struct {
	err    error
	status int
	advice string
}{
	{prerender.ErrSiteUnknown, http.StatusNotFound, "; GET /v1/sites lists those that are known"},
	{prerender.ErrNotFound, http.StatusNotFound, ""},
	{prerender.ErrURLInvalid, http.StatusUnprocessableEntity, ""},
	{control.ErrConflict, http.StatusConflict, ""},
	{control.ErrManyJobs, http.StatusConflict, ""},
	{prerender.ErrBusy, http.StatusServiceUnavailable, "; try again"},
}

func (a *API) explain(c *call, err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	for _, row := range table {
		if errors.Is(err, row.err) {
			return problemf(row.status, "%v%s", err, row.advice)
		}
	}
	return problemf(http.StatusServiceUnavailable, "the store or the renderer does not answer; the log says why")
}

// answer writes a document.
func (c *call) answer(status int, document any) error {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	encoder := json.NewEncoder(c.w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	encoder.Encode(document) // to a client that may have hung up
	return nil
}

// by is who is in the audit.
func (c *call) by() control.By {
	from, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		from = c.r.RemoteAddr
	}
	return control.By{Actor: c.who.Name, From: from}
}

// maxOrder bounds the bodies of orders: a thousand URLs, and some room.
const maxOrder = 256 << 10

// read reads a body into the value that v points to.
func (c *call) read(v any, example string) error {
	document, err := c.document(maxOrder)
	if err != nil {
		return err
	}
	if faults := strictjson.Decode(document, v); len(faults) > 0 {
		return c.faulty(example, faults...)
	}
	return nil
}

func (c *call) faulty(example string, faults ...strictjson.Fault) error {
	p := problemf(http.StatusUnprocessableEntity, "the body must be like %s", example)
	p.Faults = faults
	return p
}

// document reads a body of the right type and of so many bytes at most. A form of
// somebody else's page in an operator's browser can post, but not with this type, unless
// it is asked first.
func (c *call) document(most int64) ([]byte, error) {
	if media, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); media != "application/json" {
		return nil, problemf(http.StatusUnsupportedMediaType, "the body must be application/json")
	}
	document, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, most))
	if err != nil {
		return nil, problemf(http.StatusRequestEntityTooLarge, "the body cannot be read, or has more than %d bytes: %v", most, err)
	}
	return document, nil
}

func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

func (c *call) isDryRun() bool { return c.query("dryRun") == "true" }

// What a list answers at a time.
const (
	defaultLimit = 50
	mostLimit    = 1000

	// mostAnswer bounds an answer, in bytes: Lambda's are of 6 MB.
	mostAnswer = 3 << 20

	// mostCursor bounds a cursor and an ID, in bytes: DynamoDB's keys have 1,024; of a page,
	// the URL may be longer.
	mostCursor = 9 << 10
	mostID     = 200
)

// limit is how many entries are wanted.
func (c *call) limit() (int, error) {
	text := c.query("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > mostLimit {
		return 0, problemf(http.StatusUnprocessableEntity, "limit %q must be a number from 1 to %d", text, mostLimit)
	}
	return n, nil
}

// cursor is where a list goes on: what newCursor was given for its last entry.
func (c *call) cursor() (string, error) {
	text := c.query("cursor")
	after, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(after) > mostCursor {
		return "", problemf(http.StatusUnprocessableEntity, "cursor %.100q is not one that was answered as next", text)
	}
	return string(after), nil
}

func newCursor(after string) string { return base64.RawURLEncoding.EncodeToString([]byte(after)) }

// page finds the site of a URL, for which the caller must have a role, and the rest of it.
func (a *API) page(c *call, role control.Role, address string) (prerender.Site, string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return prerender.Site{}, "", problemf(http.StatusUnprocessableEntity, "url %.200q must be a page's address like https://www.example.com/page", address)
	}
	host, err := prerender.NormalizeHost(u.Scheme, u.Host)
	if err != nil {
		return prerender.Site{}, "", err
	}
	if err := c.allow(role, host); err != nil {
		return prerender.Site{}, "", err
	}
	site, err := a.Plane.InEffect(c.r.Context(), host)
	if err != nil {
		return site, "", err
	}
	target, ok := prerender.TargetOf(site, address)
	if !ok {
		return site, "", problemf(http.StatusUnprocessableEntity, "url %.200q is not a page of %s", address, site.Origin)
	}
	return site, target, nil
}
