package warm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/useragent"
	"github.com/stillpage/stillpage/internal/warm"
)

func TestAgentsAreKnown(t *testing.T) {
	t.Parallel()
	for agent, mobile := range map[string]bool{warm.Agent: false, warm.PhoneAgent: true} {
		if _, ok := useragent.Lookup(agent); !ok || useragent.IsOwn(agent) || useragent.IsMobile(agent) != mobile {
			t.Errorf("%s is not known as a bot, or not as mobile: %v", agent, mobile)
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.UserAgent() != warm.Agent {
			t.Errorf("got agent %q", r.UserAgent())
		}
		h := w.Header()
		switch r.URL.Path {
		case "/hit", "/miss":
			h.Set("X-Stillpage-Cache", r.URL.Path[1:])
		case "/moved":
			h.Set("X-Stillpage-Cache", "miss")
			h.Set("Location", "/elsewhere")
			w.WriteHeader(301)
		case "/gone":
			h.Set("X-Stillpage-Cache", "miss")
			w.WriteHeader(410)
		case "/partial":
			h.Set("X-Stillpage-Cache", "miss")
			h.Set("X-Stillpage-Partial", "a request")
		case "/empty":
			h.Set("X-Stillpage-Cache", "miss")
			h.Set("Cache-Control", "no-store")
		case "/broken":
			h.Set("X-Stillpage-Cache", "miss")
			w.WriteHeader(500)
		case "/refused":
			h.Set("X-Stillpage-Reason", "origin-unreachable")
			w.WriteHeader(503)
		case "/later":
			if asked.Load() < 100 && r.Header.Get("X") == "" {
				h.Set("X-Stillpage-Reason", "busy")
				h.Set("Retry-After", "1")
				asked.Store(100)
				w.WriteHeader(503)
				return
			}
			h.Set("X-Stillpage-Cache", "miss")
		}
	}))
	defer server.Close()
	var state bytes.Buffer
	got := map[string]string{}
	w := &warm.Warmer{Rate: 1000, Concurrency: 1, State: &state, Done: func(r warm.Result) {
		got[strings.TrimPrefix(r.URL, server.URL)] = fmt.Sprint(r.Status, " ", r.Cache, " ", r.Fault)
	}}
	var pages []warm.Page
	for _, path := range []string{"/hit", "/miss", "/moved", "/gone", "/partial", "/empty", "/broken", "/refused", "/app", "/later"} {
		pages = append(pages, warm.Page{URL: server.URL + path})
	}
	pages = append(pages, warm.Page{URL: "http://127.0.0.1:1/"}, pages[0])
	chosen, err := w.Choose(pages)
	if err != nil || len(chosen) != len(pages)-1 {
		t.Fatalf("chosen: %d of %d, %v; want each once", len(chosen), len(pages), err)
	}
	if err := w.Run(t.Context(), chosen); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"/hit": "200 hit ", "/miss": "200 miss ", "/moved": "301 miss ", "/gone": "410 miss ", "/partial": "200 miss it did not finish",
		"/empty":  "200 miss it was rendered and not kept: nothing is on it, or an error; `stillpage render --report` shows it",
		"/broken": "500 miss status 500", "/refused": "503  origin-unreachable", "/later": "200 miss ",
		"/app":                "200  the answer is not Stillpage's: bots get the app at this address; ask for the edge's",
		"http://127.0.0.1:1/": "0  no answer: connection refused",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The next run asks for what has failed, and for nothing else.
	chosen, err = (&warm.Warmer{State: &state}).Choose(pages)
	var again []string
	for _, p := range chosen {
		again = append(again, strings.TrimPrefix(p.URL, server.URL))
	}
	if diff := cmp.Diff([]string{"/partial", "/empty", "/broken", "/refused", "/app", "http://127.0.0.1:1/"}, again); diff != "" || err != nil {
		t.Errorf("next run (-want +got):\n%s%v", diff, err)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	state := strings.NewReader(`{"url":"a","at":"2026-11-22T11:00:00Z","ms":1}
{"url":"b","at":"2026-11-20T11:00:00Z","ms":1}
{"url":"c","at":"2026-11-22T11:00:00Z","fault":"busy","ms":1}
{"url":"d","at":"2026-11-22T11:00:00Z","ms":1}
{"url":"e","at":"2026-11-10T11:00:00Z","ms":1}
{"url":"f","at":"2026-11-22T11:`)
	w := &warm.Warmer{State: readOnly{state}, Now: func() time.Time { return now }}
	day := func(d int) time.Time { return time.Date(2026, 11, d, 11, 30, 0, 0, time.UTC) }
	chosen, err := w.Choose([]warm.Page{{URL: "a"}, {URL: "b"}, {URL: "c"}, {URL: "d", LastMod: day(22)}, {URL: "e", LastMod: day(9)}, {URL: "f"}, {URL: "g"}})
	var got []string
	for _, p := range chosen {
		got = append(got, p.URL)
	}
	// b is old, c has failed, d has changed since, e has not for weeks.
	if want := []string{"b", "c", "d", "f", "g"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

type readOnly struct{ *strings.Reader }

func (readOnly) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// A run ends when it is told to, or when it could not go on another time.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}
	}))
	defer server.Close()
	defer close(hang)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	pages := []warm.Page{{URL: server.URL + "/hang"}, {URL: server.URL + "/hang2"}, {URL: server.URL + "/x"}}
	if err := (&warm.Warmer{Rate: 1000, Concurrency: 1}).Run(ctx, pages); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's", err)
	}
	err := (&warm.Warmer{Rate: 1000, State: readOnly{strings.NewReader("")}}).Run(t.Context(), pages[1:])
	if err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v, want the state's", err)
	}
}
