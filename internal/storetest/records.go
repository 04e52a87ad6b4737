package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

// RunRecords tests the stores of records that open makes, whose clock is now. Each call of
// open returns an empty one.
func RunRecords(t *testing.T, open func(t *testing.T, now func() time.Time) control.Store) {
	for name, test := range map[string]func(*testing.T, control.Store){
		"records come back":                recordsComeBack,
		"a lost update is refused":         recordVersions,
		"writes are done all or none":      recordsAreAtomic,
		"one of many changes wins":         recordRaces,
		"ranges":                           recordRanges,
		"many records":                     manyRecords,
		"events form a chain":              chainOfEvents,
		"no event without its change":      eventsAndChanges,
		"sites come back":                  sitesComeBack,
		"purges keep the order of changes": purgesOfSites,
	} {
		t.Run("records: "+name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t, time.Now))
		})
	}
	t.Run("records: expiry", func(t *testing.T) {
		t.Parallel()
		clock := time.Now()
		s := open(t, func() time.Time { return clock })
		w := write("a", 1, 0)
		w.Expires = clock.Add(time.Minute).Truncate(time.Second)
		mustWrite(t, s, w, write("b", 1, 0))
		clock = clock.Add(2 * time.Minute)
		wantIDs(t, s, control.Range{Kind: control.JobRecord}, "b")
		if _, err := s.Get(t.Context(), control.JobRecord, "a"); !errors.Is(err, prerender.ErrNotFound) {
			t.Errorf("an expired record: got %v, want ErrNotFound", err)
		}
		mustWrite(t, s, write("a", 1, 0)) // there is none
		wantIDs(t, s, control.Range{Kind: control.JobRecord}, "a", "b")
	})
}

func write(id string, version, was int64) control.Write {
	return control.Write{Was: was, Record: control.Record{
		Kind: control.JobRecord, ID: id, Version: version, Document: fmt.Appendf(nil, `{"id":%q,"version":%d}`, id, version),
	}}
}

func mustWrite(t *testing.T, s control.Store, writes ...control.Write) {
	t.Helper()
	if err := s.Write(t.Context(), writes...); err != nil {
		t.Fatalf("Write: %v", err)
	}
}

func wantIDs(t *testing.T, s control.Store, r control.Range, want ...string) {
	t.Helper()
	got := []string{}
	if err := s.List(t.Context(), r, func(record control.Record) bool {
		got = append(got, record.ID)
		return true
	}); err != nil {
		t.Fatalf("List: %v", err)
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("List of %+v (-want +got):\n%s", r, diff)
	}
}

func recordsComeBack(t *testing.T, s control.Store) {
	if _, err := s.Get(t.Context(), control.JobRecord, "a"); !errors.Is(err, prerender.ErrNotFound) {
		t.Errorf("Get of nothing: got %v, want ErrNotFound", err)
	}
	w := write("a/b ü", 7, 0)
	w.Expires = time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	w.Document = []byte(`{"text":"<&> ü \u2028","number":1763825000123456}`)
	mustWrite(t, s, w)
	got, err := s.Get(t.Context(), control.JobRecord, "a/b ü")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w.Record, got); diff != "" {
		t.Errorf("Get (-want +got):\n%s", diff)
	}
	w.Kind = control.TokenRecord // another kind with the same ID
	mustWrite(t, s, w)
	mustWrite(t, s, control.Write{Record: w.Record, Was: 7, Delete: true})
	if _, err := s.Get(t.Context(), control.TokenRecord, w.ID); !errors.Is(err, prerender.ErrNotFound) {
		t.Errorf("after a deletion: got %v, want ErrNotFound", err)
	}
	wantIDs(t, s, control.Range{Kind: control.JobRecord}, w.ID)
}

func recordVersions(t *testing.T, s control.Store) {
	refused := func(what string, w control.Write) {
		t.Helper()
		err := s.Write(t.Context(), w)
		var conflict *control.ConflictError
		if !errors.As(err, &conflict) || conflict.Kind != w.Kind || conflict.ID != w.ID || !errors.Is(err, control.ErrConflict) {
			t.Errorf("%s: got %v, want a ConflictError of it", what, err)
		}
	}
	refused("a change of nothing", write("a", 2, 1))
	mustWrite(t, s, write("a", 1, 0))
	refused("a new one in the place of another", write("a", 1, 0))
	mustWrite(t, s, write("a", 2, 1))
	refused("a change of what has changed", write("a", 2, 1))
	deletion := write("a", 0, 1)
	deletion.Delete = true
	refused("a deletion of what has changed", deletion)
	any := write("a", 9, 0)
	any.Any = true
	mustWrite(t, s, any)
	mustWrite(t, s, write("a", 10, 9))
	if err := s.Note(t.Context(), any.Record); err != nil {
		t.Errorf("Note: %v", err)
	}
	mustWrite(t, s, write("a", 10, 9))
	any.Delete = true
	mustWrite(t, s, any)
	mustWrite(t, s, any) // of nothing
	wantIDs(t, s, control.Range{Kind: control.JobRecord})
}

func recordsAreAtomic(t *testing.T, s control.Store) {
	mustWrite(t, s, write("b", 5, 0))
	err := s.Write(t.Context(), write("a", 1, 0), write("b", 6, 4), write("c", 1, 0))
	var conflict *control.ConflictError
	if !errors.As(err, &conflict) || conflict.ID != "b" {
		t.Errorf("got %v, want a conflict of b", err)
	}
	wantIDs(t, s, control.Range{Kind: control.JobRecord}, "b")
	var writes []control.Write
	for i := range control.MostWrites {
		writes = append(writes, write(fmt.Sprintf("many-%03d", i), 1, 0))
	}
	mustWrite(t, s, writes...)
	wantIDs(t, s, control.Range{Kind: control.JobRecord, After: "many-097"}, "many-098", "many-099")
}

func recordRaces(t *testing.T, s control.Store) {
	mustWrite(t, s, write("a", 1, 0))
	var won atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			err := s.Write(context.Background(), write("a", 2, 1))
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, control.ErrConflict) {
				t.Errorf("Write: %v", err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 20 changes of one version were stored, want 1", won.Load())
	}
}

func recordRanges(t *testing.T, s control.Store) {
	for _, id := range []string{"a", "b", "b/1", "c", "d"} {
		mustWrite(t, s, write(id, 1, 0))
	}
	mustWrite(t, s, control.Write{Record: control.Record{Kind: control.AnswerRecord, ID: "x", Version: 1, Document: []byte("1")}})
	mustWrite(t, s, control.Write{Record: control.Record{Kind: control.TokenRecord, ID: "x", Version: 1, Document: []byte("1")}})
	of := func(after, before string, backwards bool) control.Range {
		return control.Range{Kind: control.JobRecord, After: after, Before: before, Backwards: backwards}
	}
	wantIDs(t, s, of("", "", false), "a", "b", "b/1", "c", "d")
	wantIDs(t, s, of("", "", true), "d", "c", "b/1", "b", "a")
	wantIDs(t, s, of("b", "", false), "b/1", "c", "d")
	wantIDs(t, s, of("b", "d", false), "b/1", "c")
	wantIDs(t, s, of("b", "d", true), "c", "b/1")
	wantIDs(t, s, of("", "b", true), "a")
	wantIDs(t, s, of("", "b/0", true), "b", "a")
	wantIDs(t, s, of("0", "zz", true), "d", "c", "b/1", "b", "a")
	wantIDs(t, s, of("d", "", false))
	wantIDs(t, s, of("c", "b", false))
	wantIDs(t, s, of("c", "c", false))
	first := ""
	err := s.List(t.Context(), control.Range{Kind: control.JobRecord, AtOnce: 1}, func(r control.Record) bool {
		first += r.ID
		return false
	})
	if err != nil || first != "a" {
		t.Errorf("List that was stopped: got %q, %v", first, err)
	}
}

func manyRecords(t *testing.T, s control.Store) {
	var want []string
	for i := 0; i < 1200; i += 100 {
		var writes []control.Write
		for n := i; n < i+100; n++ {
			want = append(want, fmt.Sprintf("%04d", n))
			w := write(want[n], 1, 0)
			w.Document, _ = json.Marshal(strings.Repeat("x", 2000)) // more than DynamoDB reads at once
			writes = append(writes, w)
		}
		mustWrite(t, s, writes...)
	}
	wantIDs(t, s, control.Range{Kind: control.JobRecord}, want...)
	slices.Reverse(want)
	wantIDs(t, s, control.Range{Kind: control.JobRecord, Backwards: true}, want...)
}

// chainOfEvents: whoever writes at the same time, there is one chain, without gaps.
func chainOfEvents(t *testing.T, s control.Store) {
	ledger := &control.Ledger{Records: s, Log: quiet}
	const writers, each = 8, 5
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range each {
				_, err := ledger.Commit(context.Background(), control.Event{Actor: fmt.Sprint("writer ", i), Action: "test"}, write(fmt.Sprintf("%d-%d", i, n), 1, 0))
				if err != nil {
					t.Errorf("Commit: %v", err)
				}
			}
		})
	}
	all.Wait()
	head, err := ledger.Head(t.Context())
	v := control.Verifier{Known: head}
	if err := ledger.Links(t.Context(), 0, false, func(l control.Link, _ control.Event) bool {
		v.Add(l)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	v.End()
	if err != nil || len(v.Faults) > 0 || head.Number != writers*each {
		t.Errorf("got %+v, %v, %q, want %d events in a chain", head, err, v.Faults, writers*each)
	}
}

// eventsAndChanges: when a change is refused, there is no event either, and the other way
// round.
func eventsAndChanges(t *testing.T, s control.Store) {
	ledger := &control.Ledger{Records: s, Log: quiet}
	if _, err := ledger.Commit(t.Context(), control.Event{Action: "first"}, write("a", 1, 0)); err != nil {
		t.Fatal(err)
	}
	_, err := ledger.Commit(t.Context(), control.Event{Action: "refused"}, write("b", 1, 0), write("a", 1, 0))
	if !errors.Is(err, control.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	wantIDs(t, s, control.Range{Kind: control.JobRecord}, "a")
	wantIDs(t, s, control.Range{Kind: control.EventRecord}, "0000000000000001")
}

var quiet = slog.New(slog.DiscardHandler)

func sitesComeBack(t *testing.T, s control.Store) {
	plane, sites := planeOf(s), &control.Sites{Records: s, Log: quiet}
	var want []prerender.Site
	for i := range 30 {
		site, err := plane.PutSite(t.Context(), control.By{Actor: "t"}, "site.create", prerender.Site{}, FullSite(fmt.Sprintf("site-%02d.example", i)))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, site)
	}
	mustWrite(t, s, control.Write{Record: control.Record{Kind: control.SiteRecord, ID: "broken.example", Version: 1, Document: []byte(`{"origin": 1}`)}})
	if err := plane.DeleteSite(t.Context(), control.By{Actor: "t"}, want[0]); err != nil {
		t.Fatal(err)
	}
	back, err := plane.PutSite(t.Context(), control.By{Actor: "t"}, "site.create", prerender.Site{}, FullSite("site-00.example"))
	if err != nil || back.Version <= want[0].Version { // pages remember it
		t.Errorf("a site that came back: got version %d after %d, %v", back.Version, want[0].Version, err)
	}
	want[0] = back
	got, err := sites.Sites(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Sites (-want +got):\n%s", diff)
	}
}

// purgesOfSites: purges of many at once are all there, each with the version that it made.
func purgesOfSites(t *testing.T, s control.Store) {
	plane := planeOf(s)
	if _, err := plane.PutSite(t.Context(), control.By{}, "site.create", prerender.Site{}, FullSite("a.example")); err != nil {
		t.Fatal(err)
	}
	const purgers = 20
	var all sync.WaitGroup
	for i := range purgers {
		all.Go(func() {
			_, err := plane.Purge(context.Background(), control.By{Actor: "t"}, "a.example", control.PurgeOrder{Path: fmt.Sprintf("/%d", i)})
			if err != nil {
				t.Errorf("Purge: %v", err)
			}
		})
	}
	all.Wait()
	site, err := plane.Site(t.Context(), "a.example")
	if err != nil {
		t.Fatal(err)
	}
	purges := site.Purges[len(site.Purges)-purgers:]
	for i, purge := range purges {
		if purge.Version != site.Version-int64(purgers-1-i) {
			t.Errorf("purges: got %+v of a site with version %d, want them to count up to it", purges, site.Version)
		}
	}
}

func planeOf(s control.Store) *control.Plane {
	return &control.Plane{Ledger: &control.Ledger{Records: s, Log: quiet}}
}
