package prerender

import (
	"strconv"
	"strings"
)

// chooseLanguage returns the one of a site's languages that an Accept-Language
// header wants most (RFC 9110, 12.5.4; RFC 4647, lookup), or the first of them.
func chooseLanguage(header string, languages []string) string {
	best, bestWeight := languages[0], 0.0
	for part := range strings.SplitSeq(header, ",") {
		tag, parameters, _ := strings.Cut(part, ";")
		weight := 1.0
		if q, ok := strings.CutPrefix(strings.TrimSpace(parameters), "q="); ok {
			var err error
			if weight, err = strconv.ParseFloat(strings.TrimSpace(q), 64); err != nil || !(weight <= 1) {
				continue
			}
		}
		if weight <= bestWeight {
			continue // of two that are wanted as much, the first
		}
		if language, ok := lookupLanguage(strings.TrimSpace(tag), languages); ok {
			best, bestWeight = language, weight
		}
	}
	return best
}

// lookupLanguage finds a tag, or what it is a kind of ("de" for "de-AT"), or else
// a kind of it ("de-CH" for "de").
func lookupLanguage(tag string, languages []string) (string, bool) {
	for range 8 { // subtags of a tag
		for _, language := range languages {
			if strings.EqualFold(language, tag) {
				return language, true
			}
		}
		i := strings.LastIndexByte(tag, '-')
		if i < 0 {
			break
		}
		tag = tag[:i]
	}
	for _, language := range languages {
		if first, _, _ := strings.Cut(language, "-"); strings.EqualFold(first, tag) {
			return language, true
		}
	}
	return "", false
}
