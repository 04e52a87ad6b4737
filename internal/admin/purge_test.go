package admin_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stillpage/stillpage/internal/admin"
	"github.com/stillpage/stillpage/internal/prerender"
)

// purger keeps what it was told.
type purger struct {
	host string
	got  prerender.Purge
	err  error
}

func (p *purger) Purge(_ context.Context, host string, purge prerender.Purge) error {
	p.host, p.got = host, purge
	return p.err
}

func (p *purger) Count(_ context.Context, host string, purge prerender.Purge) (int, error) {
	p.host, p.got = host, purge
	return 12, p.err
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want int
		text string
	}{
		"good":       {want: 200, text: `"complete": true`},
		"no time":    {err: context.DeadlineExceeded, want: 200, text: `"complete": false`},
		"bad path":   {err: prerender.ErrURLInvalid, want: 422},
		"store down": {err: errors.New("dynamodb at 10.0.0.1"), want: 503, text: "the log says why"},
	} {
		p := &purger{err: tt.err}
		r := httptest.NewRequest("POST", "/v1/purges", strings.NewReader(`{"site":"https://a.example","path":"/blog/*","dryRun":true}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		(&admin.API{Purger: p, Log: slog.New(slog.DiscardHandler)}).Handler().ServeHTTP(w, r)
		if w.Code != tt.want || !strings.Contains(w.Body.String(), tt.text) || strings.Contains(w.Body.String(), "10.0.0.1") {
			t.Errorf("%s: got %d %q, want %d %q", name, w.Code, w.Body, tt.want, tt.text)
		}
	}
}

func TestPurges(t *testing.T) {
	t.Parallel()
	const good = `{"site":"https://A.example","path":"/blog/*","tag":"t","hard":true}`
	for name, tt := range map[string]struct {
		body, contentType string
		err               error
		want              int
		text              string
	}{
		"good":         {body: good, want: 204},
		"charset":      {body: good, contentType: "application/json; charset=utf-8", want: 204},
		"form":         {body: good, contentType: "text/plain", want: 415, text: "application/json"},
		"no type":      {body: good, contentType: " ", want: 415},
		"garbage":      {body: "{", want: 422, text: "must be like"},
		"no site":      {body: `{"path":"/"}`, want: 422, text: "/site"},
		"bad site":     {body: `{"site":"a.example"}`, want: 422, text: "must start with http"},
		"unknown key":  {body: `{"site":"https://a.example","paths":"/"}`, want: 422, text: "paths"},
		"long":         {body: `{"path":"` + strings.Repeat("x", 100_000) + `"}`, want: 413},
		"unknown site": {body: good, err: prerender.ErrSiteUnknown, want: 404},
		"bad path":     {body: good, err: prerender.ErrURLInvalid, want: 422},
		"conflict":     {body: good, err: prerender.ErrConflict, want: 409},
		"store down":   {body: good, err: errors.New("dynamodb at 10.0.0.1"), want: 503, text: "the log says why"},
	} {
		p := &purger{err: tt.err}
		r := httptest.NewRequest("POST", "/v1/purges", strings.NewReader(tt.body))
		r.Header.Set("Content-Type", "application/json")
		if tt.contentType != "" {
			r.Header.Set("Content-Type", tt.contentType)
		}
		w := httptest.NewRecorder()
		(&admin.API{Purger: p, Log: slog.New(slog.DiscardHandler)}).Handler().ServeHTTP(w, r)
		if w.Code != tt.want || !strings.Contains(w.Body.String(), tt.text) || strings.Contains(w.Body.String(), "10.0.0.1") {
			t.Errorf("%s: got %d %q, want %d %q", name, w.Code, w.Body, tt.want, tt.text)
		}
		if want := (prerender.Purge{Path: "/blog/*", Tag: "t", Hard: true}); w.Code == 204 && (p.host != "a.example" || p.got != want) {
			t.Errorf("%s: purged %s %+v, want a.example %+v", name, p.host, p.got, want)
		}
	}
}
