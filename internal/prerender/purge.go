package prerender

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Purge has pages made again that were made before it: those of a path, those
// with a tag, or all of a site. It is not the pages that are changed but their
// site, so it takes as long for a million as for one.
type Purge struct {
	// Path is a pattern as in PathSettings. Empty: any.
	Path string `json:"path,omitempty"`

	// Tag is one of the pages' tags. Empty: any.
	Tag string `json:"tag,omitempty"`

	// Hard has them not answered any more. When false, they are stale: answered
	// while new ones are made.
	Hard bool `json:"hard,omitempty"`

	// Version is the site's with which it was added. It hits pages that were made
	// when the site had an earlier one: clocks do not matter.
	Version int64 `json:"version"`

	// At is when it was added, for people, and for forgetting it.
	At time.Time `json:"at"`
}

// MostPurges is how many a site remembers. When there are more, the oldest become
// one of the whole site: too much is made again, never too little.
const MostPurges = 100

// WithPurge returns the site with one more purge, to be stored.
func (s Site) WithPurge(p Purge, now time.Time) (Site, error) {
	if p.Path != "" && !strings.HasPrefix(p.Path, "/") {
		return s, fmt.Errorf("path %q must start with /, like /blog/*: %w", p.Path, ErrURLInvalid)
	}
	if strings.ContainsAny(p.Path, "?#") {
		return s, fmt.Errorf("path %q has a query or a fragment; a purge is of a path, with all its queries: %w", p.Path, ErrURLInvalid)
	}
	if p.Path != "" {
		p.Path = normalizePath(p.Path)
	}
	if len(p.Path) > MaxURL || len(p.Tag) > mostTag {
		return s, fmt.Errorf("a path of %d and a tag of %d bytes are more than %d and %d: %w", len(p.Path), len(p.Tag), MaxURL, mostTag, ErrURLInvalid)
	}
	p.Version, p.At = s.Version+1, now.UTC().Truncate(time.Second)
	if s.Version == 0 {
		p.Version = now.UnixMicro() // as stores do: one that was deleted had a version, and pages have it
	}
	purges := slices.DeleteFunc(slices.Clone(s.Purges), func(old Purge) bool {
		// No page is as old, or the new one hits all that this one does.
		return now.Sub(old.At) > MostLifetime || (p.Hard || !old.Hard) && p.Path == old.Path && p.Tag == old.Tag
	})
	if len(purges) >= MostPurges {
		var all Purge
		for _, old := range purges[:len(purges)-MostPurges+2] {
			all.Version, all.At, all.Hard = old.Version, old.At, all.Hard || old.Hard
		}
		purges = append([]Purge{all}, purges[len(purges)-MostPurges+2:]...)
	}
	s.Purges = append(purges, p)
	return s, nil
}

// hits says whether a snapshot was purged.
func (p Purge) hits(l Listed) bool {
	return l.SiteVersion < p.Version && (p.Path == "" || MatchPattern(p.Path, l.Key.Path())) && (p.Tag == "" || slices.Contains(l.Tags, p.Tag))
}

// Freshness tells what may be done with a snapshot of the page now.
func (p Page) Freshness(snap *Snapshot, now time.Time) Freshness {
	f := snap.Freshness(p.Rule.Lifetime(snap.Status, snap.Header), now)
	if snap.RenderedAt.Before(p.ChangedAt) || p.unnoticed(snap, now) {
		f = min(f, Stale)
	}
	switch p.Site.purged(snap.Listed(p.Key)) {
	case purgedHard:
		return Expired
	case purgedSoft:
		return min(f, Stale)
	}
	return f
}

// IsPurged says whether a snapshot is not fresh any more because of a purge.
func (s *Site) IsPurged(l Listed) bool { return s.purged(l) > notPurged }

type purged int

const (
	notPurged purged = iota
	purgedSoft
	purgedHard
)

// purged says what the site's purges have done to a snapshot.
func (s *Site) purged(l Listed) purged {
	worst := notPurged
	for _, purge := range s.Purges {
		switch {
		case !purge.hits(l):
		case purge.Hard:
			return purgedHard
		default:
			worst = purgedSoft
		}
	}
	return worst
}

// Tags are bounded, as those of CDNs are.
const (
	mostTags = 100
	mostTag  = 256
)

// takeTags removes the tags from a page's headers: Cache-Tag separates them by
// commas, Surrogate-Key by spaces.
func takeTags(header http.Header) []string {
	var tags []string
	add := func(tag string) {
		if tag = strings.TrimSpace(tag); tag != "" && len(tag) <= mostTag && len(tags) < mostTags && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	for _, value := range header.Values("Cache-Tag") {
		for tag := range strings.SplitSeq(value, ",") {
			add(tag)
		}
	}
	for _, value := range header.Values("Surrogate-Key") {
		for tag := range strings.FieldsSeq(value) {
			add(tag)
		}
	}
	header.Del("Cache-Tag")
	header.Del("Surrogate-Key")
	return tags
}
