package admin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

// explainPage answers what an agent would get for a URL now, and why.
func explainPage(a *API, c *call) error {
	site, target, err := a.page(c, control.Viewer, c.query("url"))
	if err != nil {
		return err
	}
	e, err := a.Plane.Explain(c.r.Context(), site, target, c.query("agent"), c.query("language"))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, e)
}

// states are those of pages in a list.
var states = []string{"fresh", "stale", "purged"}

// pageEntry is a page in a list.
type pageEntry struct {
	prerender.Listed
	URL      string `json:"url"`
	Device   string `json:"device"`
	Language string `json:"language,omitempty"`
	State    string `json:"state"` // fresh, stale or purged
}

// pageList answers GET /v1/pages. Next may be there though no page is: then others are to
// be looked at still.
type pageList struct {
	Pages []pageEntry `json:"pages"`
	Next  string      `json:"next,omitempty"`
}

// listPages lists a site's pages in the order of their keys. A search that begins with a
// slash reads only the pages below that path; any other looks at all of them, mostLooked a
// request.
func listPages(a *API, c *call) error {
	host := c.query("site")
	if host == "" {
		return problemf(http.StatusUnprocessableEntity, "say of which site, like ?site=www.example.com")
	}
	if err := c.allow(control.Viewer, host); err != nil {
		return err
	}
	site, err := a.Plane.InEffect(c.r.Context(), host)
	if err != nil {
		return err
	}
	limit, err := c.limit()
	if err != nil {
		return err
	}
	after, err := c.cursor()
	if err != nil {
		return err
	}
	search, prefix := c.query("q"), ""
	if strings.HasPrefix(search, "/") {
		prefix, search = site.Origin.String()+search, ""
	}
	if state := c.query("state"); state != "" && !slices.Contains(states, state) {
		return problemf(http.StatusUnprocessableEntity, "state %.100q must be one of %s", state, strings.Join(states, ", "))
	}
	state, list, looked, now := c.query("state"), pageList{Pages: []pageEntry{}}, 0, a.now()
	err = a.Plane.Pages.List(c.r.Context(), site.Origin, prerender.Key(max(after, prefix)), func(l prerender.Listed) bool {
		if prefix != "" && !strings.HasPrefix(string(l.Key), prefix) {
			return false
		}
		if len(list.Pages) == limit || looked == mostLooked {
			list.Next = newCursor(after)
			return false
		}
		looked, after = looked+1, string(l.Key)
		if entry := newPageEntry(site, l, now); strings.Contains(string(l.Key), search) && (state == "" || state == entry.State) {
			list.Pages = append(list.Pages, entry)
		}
		return true
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, list)
}

func newPageEntry(site prerender.Site, l prerender.Listed, now time.Time) pageEntry {
	e := pageEntry{Listed: l, State: "fresh"}
	address, viewer, _ := strings.Cut(string(l.Key), " ")
	e.URL = address
	e.Device, e.Language, _ = strings.Cut(viewer, " ")
	switch {
	case site.IsPurged(l):
		e.State = "purged"
	case now.After(l.StaleAt):
		e.State = "stale"
	}
	return e
}

// stored finds what is stored of the page that url, device and language name.
func (a *API) stored(c *call, address, device, language string) (*control.StoredPage, *prerender.Snapshot, error) {
	site, target, err := a.page(c, control.Viewer, address)
	if err != nil {
		return nil, nil, err
	}
	page, err := site.Page(target, prerender.Viewer{Device: prerender.Device(device), AcceptLanguage: language})
	if err != nil {
		return nil, nil, err
	}
	stored, snap, err := a.Plane.Stored(c.r.Context(), page)
	if errors.Is(err, prerender.ErrNotFound) {
		err = problemf(http.StatusNotFound, "nothing is stored of %s for %s", page.URL, page.Device)
	}
	return stored, snap, err
}

func getStored(a *API, c *call) error {
	stored, _, err := a.stored(c, c.query("url"), c.query("device"), c.query("language"))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, stored)
}

// getHTML answers the stored bytes, as text: nothing in them is run.
func getHTML(a *API, c *call) error {
	_, snap, err := a.stored(c, c.query("url"), c.query("device"), c.query("language"))
	if err != nil {
		return err
	}
	body, err := snap.Body()
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	c.w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	c.w.Write(body)
	return nil
}

// pageName is the body of POST /v1/frames and /v1/comparisons.
type pageName struct {
	URL      string `json:"url"`
	Device   string `json:"device,omitempty"`
	Language string `json:"language,omitempty"`
}

// frame answers POST /v1/frames.
type frame struct {
	Address string `json:"address"` // shows the stored page, for a minute
}

// ticket is what is in a frame's address, with a signature: whoever has it may look.
type ticket struct {
	Key     prerender.Key `json:"key"`
	Expires int64         `json:"expires"` // Unix, s
}

const frameLife = time.Minute

func postFrame(a *API, c *call) error {
	var name pageName
	if err := c.read(&name, pageExample); err != nil {
		return err
	}
	stored, _, err := a.stored(c, name.URL, name.Device, name.Language)
	if err != nil {
		return err
	}
	secret, err := a.Plane.Secret(c.r.Context(), "frames")
	if err != nil {
		return err
	}
	text, _ := json.Marshal(ticket{stored.Key, a.now().Add(frameLife).Unix()}) // a text and a number
	return c.answer(http.StatusCreated, frame{"/frames/" + encode(text) + "." + encode(sign(secret, text))})
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func sign(secret, text []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(text)
	return mac.Sum(nil)
}

// framePolicy has a snapshot shown as it looks: with its pictures and styles, without any
// script, in an origin of its own, and only in the console's frame.
const framePolicy = "sandbox; default-src 'none'; img-src * data:; style-src * 'unsafe-inline'; font-src * data:; media-src *; base-uri *; form-action 'none'; frame-ancestors 'self'"

// getFrame shows a stored page to whoever has a ticket. A frame sends no token.
func getFrame(a *API, c *call) error {
	text, signature, _ := strings.Cut(c.r.PathValue("ticket"), ".")
	document, err := base64.RawURLEncoding.DecodeString(text)
	given, signatureErr := base64.RawURLEncoding.DecodeString(signature)
	var t ticket
	if err != nil || len(given) != sha256.Size || json.Unmarshal(document, &t) != nil { // no store is asked for it
		return problemf(http.StatusNotFound, "the address of this frame is not good; POST /v1/frames makes one")
	}
	secret, secretErr := a.Plane.Secret(c.r.Context(), "frames")
	if secretErr != nil {
		return secretErr
	}
	if signatureErr != nil || !hmac.Equal(given, sign(secret, document)) || a.now().Unix() > t.Expires {
		return problemf(http.StatusNotFound, "the address of this frame is not good, or not any more; POST /v1/frames makes one")
	}
	snap, err := a.Plane.Pages.Get(c.r.Context(), t.Key)
	if err != nil {
		return err
	}
	body, err := snap.Body()
	if err != nil {
		return err
	}
	header := c.w.Header()
	header.Set("Content-Security-Policy", framePolicy)
	header.Set("Content-Type", "text/html; charset=utf-8")
	if media := snap.Header.Get("Content-Type"); !strings.HasPrefix(media, "text/html") {
		header.Set("Content-Type", "text/plain; charset=utf-8")
		c.w.Write(body)
		return nil
	}
	address, _, _ := strings.Cut(string(t.Key), " ")
	c.w.Write(withBase(body, address))
	return nil
}

var headTag, baseTag = regexp.MustCompile(`(?i)<head(\s[^>]*)?>`), regexp.MustCompile(`(?i)<base[\s>]`)

// withBase has a page's relative addresses lead to the site, if it has no base itself.
func withBase(page []byte, address string) []byte {
	head := headTag.FindIndex(page)
	if head == nil || baseTag.Match(page) {
		return page
	}
	return slices.Concat(page[:head[1]], []byte(`<base href="`+html.EscapeString(address)+`">`), page[head[1]:])
}

// compareTime is what API Gateway leaves of its 30 s.
const compareTime = 27 * time.Second

// postComparison renders a page as a person's browser and as a bot's, and compares them
// with what is stored.
func postComparison(a *API, c *call) error {
	var name pageName
	if err := c.read(&name, pageExample); err != nil {
		return err
	}
	site, target, err := a.page(c, control.Operator, name.URL)
	if err != nil {
		return err
	}
	page, err := site.Page(target, prerender.Viewer{Device: prerender.Device(name.Device), AcceptLanguage: name.Language})
	if err != nil {
		return err
	}
	comparison, err := a.compare(c, page)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, comparison)
}
