package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/useragent"
)

// Explanation is what an agent would get for a page now, and why.
type Explanation struct {
	// Would is "hit", "stale", "miss" (it would be rendered), "app" (the app, as people
	// get it) or "refused".
	Would   string   `json:"would"`
	Because []string `json:"because"` // sentences

	Agent    string           `json:"agent"` // "" is none of the known ones
	Purpose  string           `json:"purpose,omitempty"`
	Key      prerender.Key    `json:"key"`
	URL      string           `json:"url"` // that would be rendered
	Device   prerender.Device `json:"device"`
	Language string           `json:"language,omitempty"`

	// Stored is what is stored of the page, if anything is.
	Stored *StoredPage `json:"stored,omitempty"`
}

// StoredPage is a snapshot, but for its body.
type StoredPage struct {
	prerender.Listed
	State      string             `json:"state"` // fresh, stale, spare (only if a new one cannot be made) or expired
	AgeSeconds int64              `json:"ageSeconds"`
	Header     map[string]string  `json:"header"`
	ETag       string             `json:"etag,omitempty"`
	ModifiedAt time.Time          `json:"modifiedAt,omitzero"`
	Partial    string             `json:"partial,omitempty"`
	Content    *prerender.Content `json:"content,omitempty"`
	Rival      *prerender.Rival   `json:"rival,omitempty"` // was rendered since, and not admitted
}

var freshnessNames = map[prerender.Freshness]string{
	prerender.Expired: "expired", prerender.Spare: "spare", prerender.Stale: "stale", prerender.Fresh: "fresh",
}

// Stored returns what is stored of a page, or prerender.ErrNotFound.
func (p *Plane) Stored(ctx context.Context, page prerender.Page) (*StoredPage, *prerender.Snapshot, error) {
	snap, err := p.Pages.Get(ctx, page.Key)
	if err != nil {
		return nil, nil, err
	}
	s := &StoredPage{
		Listed: snap.Listed(page.Key), State: freshnessNames[page.Freshness(snap, p.now())], AgeSeconds: int64(snap.Age(p.now()) / time.Second),
		Header: map[string]string{}, ETag: snap.ETag, ModifiedAt: snap.ModifiedAt, Partial: snap.Partial, Content: snap.Content, Rival: snap.Rival,
	}
	for name := range snap.Header {
		s.Header[name] = snap.Header.Get(name)
	}
	return s, snap, nil
}

// Explain says what an agent with this User-Agent and Accept-Language would get for a
// page of a site.
func (p *Plane) Explain(ctx context.Context, site prerender.Site, target, userAgent, language string) (Explanation, error) {
	agent, known := useragent.Lookup(userAgent)
	viewer := prerender.Viewer{Device: prerender.Desktop, AcceptLanguage: language}
	if useragent.IsMobile(userAgent) {
		viewer.Device = prerender.Mobile
	}
	page, err := site.Page(target, viewer)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Agent: agent.Name, Purpose: string(agent.Purpose), Key: page.Key, URL: page.URL, Device: page.Device, Language: page.Language}
	because := func(format string, args ...any) { e.Because = append(e.Because, fmt.Sprintf(format, args...)) }
	stored, snap, err := p.Stored(ctx, page)
	if err != nil && !errors.Is(err, prerender.ErrNotFound) {
		return e, err
	}
	e.Stored = stored
	switch {
	case useragent.IsOwn(userAgent):
		e.Would = "app"
		because("It is a rendering service's own browser, which must get the app: otherwise a render would ask for a render.")
		return e, nil
	case !known:
		e.Would = "app"
		because("%q is not on the list of bots, so the edge sends it to the app, as it does people. An integration that sends it to the router all the same is answered as below.", userAgent)
	case useragent.IsAsset(page.Key.Path()):
		e.Would = "app"
		because("It is a file, by the end of its path, and the edge sends those to the app, whoever asks. An integration that sends it to the router all the same is answered as below.")
	default:
		because("%s is a bot that comes for %s.", agent.Name, agent.Purpose)
	}
	switch page.Rule.Agents[string(agent.Purpose)] {
	case prerender.PlainApp:
		e.Would = "app"
		because("The site's settings give agents of this kind the app.")
		return e, nil
	case prerender.Refuse:
		e.Would = "refused"
		because("The site's settings refuse agents of this kind.")
		return e, nil
	}
	would := p.wouldGet(page, snap, because)
	if e.Would == "" {
		e.Would = would
	}
	return e, nil
}

func (p *Plane) wouldGet(page prerender.Page, snap *prerender.Snapshot, because func(string, ...any)) string {
	if snap == nil {
		because("Nothing is stored for it, so it would be rendered while the bot waits.")
		return "miss"
	}
	life := page.Rule.Lifetime(snap.Status, snap.Header)
	age := snap.Age(p.now()).Round(time.Second)
	because("It is stored with status %d, and was rendered %v ago. With that status a page is fresh for %v, then stale for %v.", snap.Status, age, life.Fresh, life.Stale)
	if page.Site.IsPurged(snap.Listed(page.Key)) {
		because("It has been purged since.")
	}
	if snap.Rival != nil {
		because("It was rendered again, %d times, and not admitted: the new page had lost too much of it.", snap.Rival.Seen)
	}
	switch page.Freshness(snap, p.now()) {
	case prerender.Fresh:
		because("So it is answered as it is.")
		return "hit"
	case prerender.Stale:
		because("So it is answered as it is, and queued to be rendered again.")
		return "stale"
	case prerender.Spare:
		because("So it would be rendered again while the bot waits; the old one is answered if that fails.")
	default:
		because("So it is not answered any more, and would be rendered while the bot waits.")
	}
	return "miss"
}
