package chrome

import (
	"slices"
	"strings"
	"testing"
)

// FuzzLinks: nothing but commas and the space around them is lost in cutting a
// Link header, and what is kept of it is kept again.
func FuzzLinks(f *testing.F) {
	for _, seed := range []string{`<a>; rel=x, <b,c>; title="d, e"`, `<a>; rel="preload"; as=script`, `,,<`, `"`, `<a>; rel=modulepreload,<b>`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		bare := strings.NewReplacer(",", "", " ", "", "\t", "", "\n", "", "\r", "", "\v", "", "\f", "", "\u0085", "", "\u00a0", "").Replace
		if got, want := bare(strings.Join(splitLinks(value), "")), bare(value); strings.ToValidUTF8(got, "") != strings.ToValidUTF8(want, "") && !strings.ContainsFunc(value, func(r rune) bool { return r > 0x7f }) {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
		kept := withoutScripts([]string{value})
		if again := withoutScripts(kept); !slices.Equal(kept, again) {
			t.Errorf("%q: kept %q, then %q", value, kept, again)
		}
	})
}
