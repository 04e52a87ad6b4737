package prerender_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stillpage/stillpage/internal/prerender"
)

func site(t testing.TB, origin string) prerender.Site {
	t.Helper()
	o, err := prerender.ParseOrigin(origin)
	if err != nil {
		t.Fatal(err)
	}
	return prerender.Site{Origin: o}
}

func TestPageURLAndKey(t *testing.T) {
	t.Parallel()
	const origin = "https://a.example"
	for _, tt := range []struct{ name, target, url, key string }{
		{"root", "/", "/", "/"},
		{"query is sorted by name in the key only", "/p?b=2&a=1&b=1", "/p?b=2&a=1&b=1", "/p?a=1&b=2&b=1"},
		{"trackers are dropped from both", "/p?utm_source=x&q=1&gclid=2", "/p?q=1", "/p?q=1"},
		{"a query of trackers only", "/p?utm_source=x&fbclid=", "/p", "/p"},
		{"encoded tracker name", "/p?utm%5Fsource=x", "/p", "/p"},
		{"empty pairs", "/p?&&a=1&", "/p?a=1", "/p?a=1"},
		{"raw bytes are kept", "/p?q=a%2Cb,c&r=%26", "/p?q=a%2Cb,c&r=%26", "/p?q=a%2Cb,c&r=%26"},
		{"encoding is normal in the key", "/%7euser/%c3%a9/%2f", "/%7euser/%c3%a9/%2f", "/~user/%C3%A9/%2F"},
		{"bytes that need encoding", "/é/\"<>", "/%C3%A9/\"<>", "/%C3%A9/%22%3C%3E"},
		{"stray percent", "/100%/x", "/100%/x", "/100%25/x"},
		{"dots", "/a/./b/../c/..", "/a/./b/../c/..", "/a/"},
		{"encoded dots", "/a/%2e%2E/b", "/a/%2e%2E/b", "/b"},
		{"dots above the root", "/../../a", "/../../a", "/a"},
		{"double slashes are their own", "//a//b", "//a//b", "//a//b"},
		{"fragment", "/p#part", "/p", "/p"},
		{"hashbang", "/p?a=1#!/x?y=1", "/p?a=1#!/x?y=1", "/p?a=1#!/x?y=1"},
		{"question mark in query", "/p?a=1?b", "/p?a=1?b", "/p?a=1?b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			page, err := site(t, origin).Page(tt.target, prerender.Viewer{Device: prerender.Desktop})
			if err != nil {
				t.Fatal(err)
			}
			if want := origin + tt.url; page.URL != want {
				t.Errorf("URL: got %q, want %q", page.URL, want)
			}
			if want := prerender.Key(origin + tt.key + " desktop"); page.Key != want {
				t.Errorf("key: got %q, want %q", page.Key, want)
			}
		})
	}
}

func TestPageDevices(t *testing.T) {
	t.Parallel()
	s := site(t, "https://a.example")
	one, _ := s.Page("/", prerender.Viewer{Device: prerender.Mobile})
	if one.Device != prerender.Desktop {
		t.Errorf("one page for all devices: got %s, want desktop", one.Device)
	}
	s.Vary = &prerender.VaryRule{Mobile: true}
	two, _ := s.Page("/", prerender.Viewer{Device: prerender.Mobile})
	if two.Device != prerender.Mobile || two.Key == one.Key {
		t.Errorf("separate pages: got %s under %q, want mobile under a key of its own", two.Device, two.Key)
	}
}

func TestQueryRules(t *testing.T) {
	t.Parallel()
	const query = "/?x=1&f_a=2&page=3&utm_id=4&a/b=5&%2F=6&[=7"
	for name, tt := range map[string]struct {
		rule prerender.QueryRule
		want string
	}{
		"nothing said": {prerender.QueryRule{}, "/?x=1&f_a=2&page=3&a/b=5&%2F=6&[=7"},
		"keep":         {prerender.QueryRule{Keep: []string{"page", "f_*"}}, "/?f_a=2&page=3"},
		"drop":         {prerender.QueryRule{Drop: []string{"page", "*/*", "["}}, "/?x=1&f_a=2&utm_id=4&%2F=6"},
		"drop none":    {prerender.QueryRule{Drop: []string{}}, query},
		"drop all":     {prerender.QueryRule{Drop: []string{"*"}}, "/"},
	} {
		s := site(t, "https://a.example")
		s.Query = &tt.rule
		page, err := s.Page(query, prerender.Viewer{Device: prerender.Desktop})
		if err != nil {
			t.Fatal(err)
		}
		if want := "https://a.example" + tt.want; page.URL != want {
			t.Errorf("%s: got %q, want %q", name, page.URL, want)
		}
	}
}

func TestInvalidTargets(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"", "p", "http://b.example/", "/a b", "/a\nb", "/a\x00", `/\b.example/`, "/" + strings.Repeat("x", prerender.MaxURL)} {
		_, err := site(t, "https://a.example").Page(target, prerender.Viewer{Device: prerender.Desktop})
		if !errors.Is(err, prerender.ErrURLInvalid) {
			t.Errorf("Page(%.20q): got %v, want ErrURLInvalid", target, err)
		}
	}
}

func TestParseOrigin(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://WWW.Example.com":    "https://www.example.com",
		"https://a.example:443/":     "https://a.example",
		"http://a.example:443":       "http://a.example:443",
		"http://127.0.0.1:9000":      "http://127.0.0.1:9000",
		"http://[::1]:80":            "http://[::1]",
		"https://a.example.":         "https://a.example",
		"https://xn--mnchen-3ya.de/": "https://xn--mnchen-3ya.de",
	} {
		got, err := prerender.ParseOrigin(in)
		if err != nil || got.String() != want {
			t.Errorf("ParseOrigin(%q): got %v, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "a.example", "ftp://a.example", "https://", "https://a.example/path", "https://u@a.example",
		"https://a.example?q", "https://a..example", "https://a b", "https://münchen.de", "https://a.example:x"} {
		if got, err := prerender.ParseOrigin(in); err == nil {
			t.Errorf("ParseOrigin(%q): got %v, want an error", in, got)
		}
	}
}

func TestHostPort(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://a.example": "a.example:443", "http://a.example": "a.example:80", "http://[::1]:9": "[::1]:9",
	} {
		if got := site(t, in).Origin.HostPort(); got != want {
			t.Errorf("HostPort of %s: got %q, want %q", in, got, want)
		}
	}
}

// The key is a fixed point: the page that a key's URL names has that key. Two
// spellings of a page could otherwise take turns.
func FuzzPageKey(f *testing.F) {
	for _, s := range []string{"/", "/a/../b?x=1&a=%2f#!k", "/%", "/%2e%2e/", "//", "/?=&=", "/é%C3", "/a?utm_x=1&%75tm_y=2"} {
		f.Add(s)
	}
	s := site(f, "https://a.example")
	f.Fuzz(func(t *testing.T, target string) {
		page, err := s.Page(target, prerender.Viewer{Device: prerender.Desktop})
		if err != nil {
			if !errors.Is(err, prerender.ErrURLInvalid) {
				t.Fatalf("error without a kind: %v", err)
			}
			return
		}
		url, device, ok := strings.Cut(string(page.Key), " ")
		if !ok || device != "desktop" {
			t.Fatalf("key %q is not URL and device", page.Key)
		}
		again, err := s.Page(strings.TrimPrefix(url, "https://a.example"), prerender.Viewer{Device: prerender.Desktop})
		if err != nil && len(url) <= prerender.MaxURL {
			t.Fatalf("key %q of %q names no page: %v", page.Key, target, err)
		}
		if err == nil && again.Key != page.Key {
			t.Fatalf("key of %q is %q, whose own key is %q", target, page.Key, again.Key)
		}
	})
}
