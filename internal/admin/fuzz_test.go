package admin_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stillpage/stillpage/internal/admin"
	"github.com/stillpage/stillpage/internal/boltstore"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

// Whatever is sent to whichever route, the answer is one of the document's, and what is
// refused is said as a problem.
func FuzzRequest(f *testing.F) {
	store, err := boltstore.OpenTemporary()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { store.Close() })
	o := newOperatorWith(f, store, store.Records())
	site := prerender.Site{Origin: prerender.Origin{Scheme: "https", Host: "our.example"}}
	if _, err := o.plane.PutSite(f.Context(), control.By{Actor: "test"}, "site.create", prerender.Site{}, site); err != nil {
		f.Fatal(err)
	}
	o.inspect = nil
	o.admin.Inspect = nil
	var all []admin.Route
	for _, r := range admin.Routes() {
		if !strings.HasSuffix(r.Path, "/comparisons") {
			all = append(all, r)
		}
	}
	for i, r := range all {
		request := requests(o, "our.example")[r.Method+" "+r.Path]
		_, query, _ := strings.Cut(request.path, "?")
		f.Add(uint8(i), "our.example", query, request.body, `"0"`, "key")
	}
	f.Add(uint8(0), "a..b", "cursor=%00&limit=-1&since=x", "{", "*", strings.Repeat("k", 300))
	f.Fuzz(func(t *testing.T, route uint8, part, query, body, match, key string) {
		r := all[int(route)%len(all)]
		path := r.Path
		for _, name := range []string{"{host}", "{id}", "{ticket}"} {
			path = strings.ReplaceAll(path, name, url.PathEscape(part))
		}
		if _, err := url.Parse("http://x" + path + "?" + query); err != nil || strings.ContainsAny(query, " \r\n\x00#") || strings.Contains(path, "/./") || strings.Contains(path, "/../") {
			return
		}
		request := httptest.NewRequest(r.Method, "/", strings.NewReader(body))
		request.URL, _ = url.Parse(path + "?" + query)
		request.RequestURI = path + "?" + query
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+firstToken)
		request.Header["If-Match"], request.Header["Idempotency-Key"] = []string{match}, []string{key}
		w := httptest.NewRecorder()
		o.api.ServeHTTP(w, request)
		var problem struct{ Status int }
		switch {
		case w.Code >= 300 && w.Code < 400: // the mux cleans paths
		case w.Code >= 500:
			t.Errorf("%s %s?%s with %q: got %d %s", r.Method, path, query, body, w.Code, w.Body)
		case w.Code >= 400 && (json.Unmarshal(w.Body.Bytes(), &problem) != nil || problem.Status != w.Code):
			t.Errorf("%s %s?%s with %q: got %d, and no problem: %s", r.Method, path, query, body, w.Code, w.Body)
		}
	})
}
