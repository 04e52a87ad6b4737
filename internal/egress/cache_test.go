package egress_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stillpage/stillpage/internal/egress"
)

// The origin sees one request for what it declares immutable, also when many
// ask at once, and every request for everything else.
func TestImmutableIsFetchedOnce(t *testing.T) {
	t.Parallel()
	const forever = "public, max-age=31536000, immutable"
	for _, tc := range []struct {
		name            string
		response, asked http.Header
		once            bool
	}{
		{"immutable", http.Header{"Cache-Control": {forever}}, nil, true},
		{"encoding", http.Header{"Cache-Control": {forever}, "Vary": {"Accept-Encoding"}}, nil, true},
		{"max-age only", http.Header{"Cache-Control": {"max-age=600"}}, nil, false},
		{"private", http.Header{"Cache-Control": {"private, max-age=600, immutable"}}, nil, false},
		{"no age", http.Header{"Cache-Control": {"immutable"}}, nil, false},
		{"sets a cookie", http.Header{"Cache-Control": {forever}, "Set-Cookie": {"a=b"}}, nil, false},
		{"varies", http.Header{"Cache-Control": {forever}, "Vary": {"Accept-Encoding, Origin"}}, nil, false},
		{"with a cookie", http.Header{"Cache-Control": {forever}}, http.Header{"Cookie": {"a=b"}}, false},
		{"reload", http.Header{"Cache-Control": {forever}}, http.Header{"Cache-Control": {"no-cache"}}, false},
		{"range", http.Header{"Cache-Control": {forever}}, http.Header{"Range": {"bytes=0-1"}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for name, values := range tc.response {
					w.Header()[name] = values
				}
				fmt.Fprintf(w, "request %d", requests.Add(1))
			}))
			t.Cleanup(srv.Close)
			_, client := start(t, egress.Config{Policy: egress.Policy{Sites: map[string]bool{srv.Listener.Addr().String(): true}}})
			bodies := sync.Map{}
			var all sync.WaitGroup
			get := func() {
				req, _ := http.NewRequest(http.MethodGet, srv.URL+"/app.js", nil)
				req.Header = tc.asked.Clone()
				if req.Header == nil {
					req.Header = http.Header{}
				}
				res, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer res.Body.Close()
				body, _ := io.ReadAll(res.Body)
				bodies.Store(string(body), true)
			}
			const many = 8
			for range many {
				all.Go(get)
			}
			all.Wait()
			get()
			want := int64(many + 1)
			if tc.once {
				want = 1
			}
			n := int64(0)
			bodies.Range(func(any, any) bool { n++; return true })
			if requests.Load() != want || n != want {
				t.Errorf("got %d requests and %d different answers, want %d", requests.Load(), n, want)
			}
		})
	}
}

// An origin that cannot be reached is not remembered.
func TestFailuresAreNotKept(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Cache-Control", "max-age=600, immutable")
		io.WriteString(w, "fine")
	}))
	t.Cleanup(srv.Close)
	_, client := start(t, egress.Config{Policy: egress.Policy{Sites: map[string]bool{srv.Listener.Addr().String(): true}}})
	for _, want := range []int{http.StatusBadGateway, http.StatusOK} {
		res, err := client.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("got %d, want %d", res.StatusCode, want)
		}
		broken.Store(false)
	}
}
