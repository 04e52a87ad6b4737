package prerender_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/prerender"
)

func TestParseDuration(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"": 0, "0s": 0, "90s": 90 * time.Second, "1d": day, "7d": 7 * day, "1d12h": 36 * time.Hour, "1d1h1m1.5s": 25*time.Hour + 61500*time.Millisecond, "36500d": 36500 * day,
	} {
		if got, err := prerender.ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"1", "d", "-1d", "+1d", "1d-1h", "-5m", "1w", "1d2d", "36501d", "99999999999999999999d", "1.5d", "9999999h"} {
		if got, err := prerender.ParseDuration(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestLifetimeJSON(t *testing.T) {
	t.Parallel()
	for want, l := range map[string]prerender.Lifetime{
		`{"fresh":"1d","stale":"7d","ifError":"14d"}`:       prerender.DefaultSuccess,
		`{"fresh":"1h","stale":"0s","ifError":"0s"}`:        prerender.DefaultGone,
		`{"fresh":"1d1h1m","stale":"1m30s","ifError":"0s"}`: {Fresh: 25*time.Hour + time.Minute, Stale: 90 * time.Second},
		`{"fresh":"1h0m1s","stale":"10m","ifError":"0s"}`:   {Fresh: time.Hour + time.Second, Stale: 10 * time.Minute},
	} {
		got, err := json.Marshal(l)
		var back prerender.Lifetime
		if err != nil || string(got) != want || json.Unmarshal(got, &back) != nil || back != l {
			t.Errorf("%v: got %s, %v, and back %v, want %s", l, got, err, back, want)
		}
	}
	var l prerender.Lifetime
	if err := json.Unmarshal([]byte(`{"fresh":"soon"}`), &l); err == nil {
		t.Errorf("got %v, want an error", l)
	}
}

// What is left out of a lifetime has its default, and what is said to be zero is.
func TestLifetimesFromJSON(t *testing.T) {
	t.Parallel()
	var got prerender.Lifetimes
	document := `{"success": {"fresh": "10m"}, "notFound": {"stale": "5m"}, "gone": {"fresh": "0s"}, "failure": {"fresh": "1m"}}`
	if err := json.Unmarshal([]byte(document), &got); err != nil {
		t.Fatal(err)
	}
	d := prerender.DefaultSuccess
	want := prerender.Lifetimes{
		Success:  &prerender.Lifetime{Fresh: 10 * time.Minute, Stale: d.Stale, IfError: d.IfError},
		NotFound: &prerender.Lifetime{Fresh: prerender.DefaultGone.Fresh, Stale: 5 * time.Minute},
		Gone:     &prerender.Lifetime{}, Failure: &prerender.Lifetime{Fresh: time.Minute},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text, err := json.Marshal(want)
	var again prerender.Lifetimes
	if err != nil || json.Unmarshal(text, &again) != nil || !cmp.Equal(want, again) {
		t.Errorf("%s is not read as it was written: %+v, %v", text, again, err)
	}
}
