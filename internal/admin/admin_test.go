package admin_test

import (
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/stillpage/stillpage/internal/admin"
)

func TestHealthFollowsFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status admin.Status
		code   int
		body   string
	}{
		{admin.Status{Healthy: true}, 200, "ok\n"},
		{admin.Status{Faults: []string{"Chromium is not running"}}, 503, "Chromium is not running\n"},
	} {
		h := (&admin.API{Status: func() admin.Status { return tt.status }}).Handler()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
		if w.Code != tt.code || w.Body.String() != tt.body {
			t.Errorf("got %d %q, want %d %q", w.Code, w.Body, tt.code, tt.body)
		}
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/v1/status", nil))
		var got admin.Status
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Healthy != tt.status.Healthy {
			t.Errorf("status: got %+v, %v", got, err)
		}
	}
	w := httptest.NewRecorder()
	(&admin.API{Status: func() admin.Status { return admin.Status{} }}).Handler().ServeHTTP(w, httptest.NewRequest("POST", "/v1/status", nil))
	if w.Code != 405 {
		t.Errorf("POST: got %d, want 405", w.Code)
	}
}
