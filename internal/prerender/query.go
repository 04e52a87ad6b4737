package prerender

import (
	"slices"
	"strings"
)

// QueryRule says which query parameters are part of a page. Names are compared
// exactly; a "*" in a pattern stands for any characters.
type QueryRule struct {
	// Keep, when not empty, is the complete list of parameters that matter.
	Keep []string `json:"keep,omitzero"`

	// Drop lists parameters that never matter. It is looked at when Keep is
	// empty; nil means TrackingParameters, an empty slice means none.
	Drop []string `json:"drop,omitzero"`
}

// TrackingParameters are added to links by advertising and mailing tools; they
// tell a site where a visit came from and never change what a page shows.
var TrackingParameters = []string{
	"utm_*", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "fbclid", "msclkid",
	"yclid", "twclid", "ttclid", "li_fat_id", "igshid", "mc_cid", "mc_eid",
	"_ga", "_gl", "_hsenc", "_hsmi", "srsltid",
}

// keep returns the name=value pairs of a raw query that belong to the page, in
// their order and untouched.
func (r QueryRule) keep(query string) []string {
	var pairs []string
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, _, _ := strings.Cut(pair, "=")
		if r.keeps(normalizePercent(name)) {
			pairs = append(pairs, pair)
		}
	}
	return pairs
}

func (r QueryRule) keeps(name string) bool {
	if len(r.Keep) > 0 {
		return matchesAny(r.Keep, name)
	}
	if r.Drop == nil {
		return !matchesAny(TrackingParameters, name)
	}
	return !matchesAny(r.Drop, name)
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return MatchPattern(p, name) })
}
