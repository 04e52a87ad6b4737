package sitemap_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/sitemap"
)

func zip(s string) string {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	io.WriteString(zw, s)
	zw.Close()
	return b.String()
}

func urlset(entries ...string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">` + strings.Join(entries, "\n") + `</urlset>`
}

func TestRead(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, body)
	}))
	defer server.Close()
	index := func(paths ...string) string {
		s := `<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">`
		for _, p := range paths {
			s += "<sitemap><loc>" + server.URL + p + "</loc></sitemap>"
		}
		return s + "</sitemapindex>"
	}
	files["/index.xml"] = index("/one.xml", "/two.xml.gz", "/missing.xml", "/index.xml", "/list.txt", "/broken.xml")
	files["/one.xml"] = urlset(`<url><loc> https://a.example/1?x=1&amp;y=2 </loc><lastmod>2026-11-20</lastmod><priority>1</priority></url>`,
		`<url><loc>https://a.example/2</loc><lastmod>2026-11-20T10:00:00+01:00</lastmod><image:image xmlns:image="x"><image:loc>https://a.example/i.png</image:loc></image:image></url>`)
	files["/two.xml.gz"] = zip(urlset(`<url><loc>https://a.example/3</loc><lastmod>soon</lastmod></url>`))
	files["/list.txt"] = "\ufeff# pages\nhttps://a.example/4\r\n\n  https://a.example/5\n"
	files["/broken.xml"] = urlset(`<url><loc>https://a.example/6</loc></url>`, `<url><loc>/relative</loc></url>`, `<url><loc>https://a.example/7</loc></url>`)

	var got []sitemap.Entry
	err := sitemap.Read(t.Context(), server.Client(), server.URL+"/index.xml", func(e sitemap.Entry) bool { got = append(got, e); return true })
	want := []sitemap.Entry{
		{URL: "https://a.example/1?x=1&y=2", LastMod: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)},
		{URL: "https://a.example/2", LastMod: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)},
		{URL: "https://a.example/3"}, {URL: "https://a.example/4"}, {URL: "https://a.example/5"}, {URL: "https://a.example/6"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, text := range []string{"/missing.xml: the site answers 404", `/broken.xml: entry 2: "/relative" is no URL`} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got error %v, want it to say %q", err, text)
		}
	}

	got = nil
	if err := sitemap.Read(t.Context(), server.Client(), server.URL+"/index.xml", func(e sitemap.Entry) bool { got = append(got, e); return len(got) < 2 }); err != nil || len(got) != 2 {
		t.Errorf("stopped after two: got %d, %v", len(got), err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range sitemap.MaxEntries + 1 {
		fmt.Fprintf(&many, "<url><loc>https://a.example/%d</loc></url>", i)
	}
	for name, tt := range map[string]struct {
		file    string
		entries int
		want    string
	}{
		"50,000":         {urlset(strings.TrimSuffix(many.String(), fmt.Sprintf("<url><loc>https://a.example/%d</loc></url>", sitemap.MaxEntries))), sitemap.MaxEntries, ""},
		"one more":       {urlset(many.String()), sitemap.MaxEntries, "more than 50000 entries"},
		"long URL":       {urlset("<url><loc>https://a.example/" + strings.Repeat("x", 9000) + "</loc></url>"), 0, "longer than"},
		"no XML":         {"<urlset><url>", 0, "EOF"},
		"entities":       {`<!DOCTYPE x [<!ENTITY a "aaaa">]><urlset><url><loc>&a;</loc></url></urlset>`, 0, "entity"},
		"other language": {"<html><body>Not found</body></html>", 0, ""},
		"list":           {"https://a.example/\nftp://a.example/\n", 1, "line 2"},
		"long line":      {strings.Repeat("x", 100_000), 0, "too long"},
		"empty":          {"", 0, ""},
	} {
		n := 0
		err := sitemap.Parse(strings.NewReader(tt.file), func(sitemap.Entry) bool { n++; return true }, func(string) {})
		if n != tt.entries || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %d entries, %v, want %d, %q", name, n, err, tt.entries, tt.want)
		}
	}
}

// A small file that unpacks to a large one comes to an end.
func TestBomb(t *testing.T) {
	t.Parallel()
	bomb := zip(strings.Repeat(" ", 60<<20))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, bomb) }))
	defer server.Close()
	err := sitemap.Read(t.Context(), server.Client(), server.URL, func(sitemap.Entry) bool { return true })
	if err == nil || !strings.Contains(err.Error(), "more than 52428800 bytes") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(urlset("<url><loc>https://a.example/</loc><lastmod>2026</lastmod></url>"))
	f.Add("<sitemapindex><sitemap><loc>http://a.example/s.xml</loc></sitemap></sitemapindex>")
	f.Add("https://a.example/\n# comment\n")
	f.Fuzz(func(t *testing.T, file string) {
		check := func(s string) {
			if !strings.HasPrefix(strings.ToLower(s), "http") || len(s) > 8192 {
				t.Errorf("got %q", s)
			}
		}
		sitemap.Parse(strings.NewReader(file), func(e sitemap.Entry) bool { check(e.URL); return true }, check)
	})
}
