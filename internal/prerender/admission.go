package prerender

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Content is what a page has, in numbers, for comparing it with an earlier one.
type Content struct {
	Text      int    `json:"text"`   // characters that a person reads
	Links     int    `json:"links"`  // <a href>
	Images    int    `json:"images"` // <img>, <picture>, <video>, <canvas>, <svg>
	Data      int    `json:"data"`   // JSON-LD
	Failed    int    `json:"failed"` // requests of its scripts to its own site: 5xx, or no answer
	Title     string `json:"title,omitempty"`
	Canonical string `json:"canonical,omitempty"`
}

// Rival is what was rendered in the place of a stored page and not admitted.
type Rival struct {
	Content Content `json:"content"`
	Status  int     `json:"status"`
	Seen    int     `json:"seen"` // how many times in a row
}

// AdmitRule says which new page may take the place of a good one. The zero value
// is for most.
type AdmitRule struct {
	// Off admits every page that is complete.
	Off bool `json:"off,omitempty"`

	// TextShare and LinkShare are how much of its text and links a page must have
	// kept, from 0 to 1. Zero: DefaultTextShare and DefaultLinkShare.
	TextShare float64 `json:"textShare,omitempty"`
	LinkShare float64 `json:"linkShare,omitempty"`

	// Agree is after how many renders in a row that agree with each other a page is
	// admitted all the same, because sites do change. Zero: DefaultAgree.
	Agree int `json:"agree,omitempty"`

	// ErrorTexts are found on the site's error pages, such as "Something went wrong".
	// A page with one of them is never stored, whatever its status.
	ErrorTexts []string `json:"errorTexts,omitempty"`
}

const (
	// DefaultTextShare and DefaultLinkShare: a page whose list is empty because its
	// API has failed keeps its frame, which is a third of the text of most.
	DefaultTextShare = 0.5
	DefaultLinkShare = 0.3

	// DefaultAgree: the third time in a row. At one render in five minutes, a real
	// change shows a quarter of an hour later.
	DefaultAgree = 3
)

// small is below how many characters a text is nothing to lose.
const small = 200

// unfit says why a page is not one to keep, whatever was there before. Empty: it is.
func (r AdmitRule) unfit(n *Rendering) string {
	switch {
	case n.Partial != "":
		return "it was still waiting for " + n.Partial
	case n.Status >= 500, n.Status == 408, n.Status == 425, n.Status == 429:
		return fmt.Sprintf("its status is %d", n.Status)
	case n.Content == nil || r.Off:
		return ""
	case n.Status < 300 && n.Content.Text+n.Content.Links+n.Content.Images == 0:
		return "nothing is on it"
	}
	lower := bytes.ToLower(n.Body)
	for _, text := range r.ErrorTexts {
		if text != "" && bytes.Contains(lower, []byte(strings.ToLower(text))) {
			return fmt.Sprintf("it has the error text %q", text)
		}
	}
	return ""
}

// loses says what a page has lost that the stored one has. Empty: nothing to
// speak of.
func (r AdmitRule) loses(old *Snapshot, n *Rendering) string {
	if r.Off || old.Status >= 300 {
		return ""
	}
	if n.Status == 401 || n.Status == 403 || n.Status == 404 {
		return fmt.Sprintf("its status is %d", n.Status)
	}
	if old.Content == nil || n.Content == nil || n.Status >= 300 {
		return ""
	}
	o, c := old.Content, n.Content
	textShare, linkShare := cmp.Or(r.TextShare, DefaultTextShare), cmp.Or(r.LinkShare, DefaultLinkShare)
	switch {
	case o.Text >= small && float64(c.Text) < textShare*float64(o.Text):
		return fmt.Sprintf("%d characters of text are left of %d", c.Text, o.Text)
	case o.Links >= 10 && float64(c.Links) < linkShare*float64(o.Links):
		return fmt.Sprintf("%d links are left of %d", c.Links, o.Links)
	case o.Failed == 0 && c.Failed > 0:
		// A page may show the failure, in as many words as the content had.
		return fmt.Sprintf("%d requests of its scripts have failed", c.Failed)
	case o.Title != "" && c.Title == "":
		return "its title is gone"
	case o.Canonical != "" && c.Canonical == "":
		return "its canonical link is gone"
	case o.Data > 0 && c.Data == 0:
		return "its JSON-LD is gone"
	}
	return ""
}

// again counts how often a page that loses something was rendered in a row.
func (o *Snapshot) again(n *Rendering) Rival {
	rival := Rival{Status: n.Status, Seen: 1}
	if n.Content != nil {
		rival.Content = *n.Content
	}
	if o.Rival != nil && o.Rival.Status == rival.Status && alike(o.Rival.Content, rival.Content) {
		rival.Seen = o.Rival.Seen + 1
	}
	return rival
}

// alike says whether two renders agree: the same title, and a tenth more or less
// of the text.
func alike(a, b Content) bool {
	return a.Title == b.Title && 10*max(a.Text, b.Text) <= 11*min(a.Text, b.Text)+10*small/10
}

// NewContent bounds what a page chose.
func NewContent(c Content) *Content {
	c.Title, c.Canonical = cut(c.Title), cut(c.Canonical)
	return &c
}

// cut keeps the beginning of a text: enough to tell titles apart.
func cut(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for len(s) > 0 && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return strings.ToValidUTF8(s, "")
}
