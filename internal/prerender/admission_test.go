package prerender_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// rich is a page as it should be.
func rich() prerender.Rendering {
	return prerender.Rendering{
		Status: 200, Header: http.Header{}, Body: []byte("<p>" + strings.Repeat("word ", 200)),
		Content: &prerender.Content{Text: 1000, Links: 20, Images: 5, Data: 1, Title: "Shop", Canonical: "https://a.example/"},
	}
}

// shop renders what it is told to.
type shop struct {
	rendering prerender.Rendering
	err       error
}

func (s *shop) render(context.Context, int) (*prerender.Rendering, error) {
	if s.err != nil {
		return nil, s.err
	}
	r := s.rendering
	return &r, nil
}

// What may take the place of a good page. Each is tried when the stored one is
// there for errors only, so that the answer shows which it is.
func TestAdmission(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*prerender.Rendering)
		rule   prerender.AdmitRule
		want   bool
	}{
		"the same":              {func(r *prerender.Rendering) {}, prerender.AdmitRule{}, true},
		"other text":            {func(r *prerender.Rendering) { r.Body = []byte("new") }, prerender.AdmitRule{}, true},
		"a bit less":            {func(r *prerender.Rendering) { r.Content.Text, r.Content.Links = 600, 8 }, prerender.AdmitRule{}, true},
		"half the text":         {func(r *prerender.Rendering) { r.Content.Text = 499 }, prerender.AdmitRule{}, false},
		"half, which is fine":   {func(r *prerender.Rendering) { r.Content.Text = 499 }, prerender.AdmitRule{TextShare: 0.2}, true},
		"half, gate off":        {func(r *prerender.Rendering) { r.Content.Text = 499 }, prerender.AdmitRule{Off: true}, true},
		"few links":             {func(r *prerender.Rendering) { r.Content.Links = 5 }, prerender.AdmitRule{}, false},
		"few links, fine":       {func(r *prerender.Rendering) { r.Content.Links = 5 }, prerender.AdmitRule{LinkShare: 0.1}, true},
		"a failed call":         {func(r *prerender.Rendering) { r.Content.Failed = 1 }, prerender.AdmitRule{}, false},
		"no title":              {func(r *prerender.Rendering) { r.Content.Title = "" }, prerender.AdmitRule{}, false},
		"other title":           {func(r *prerender.Rendering) { r.Content.Title = "Sale" }, prerender.AdmitRule{}, true},
		"no canonical":          {func(r *prerender.Rendering) { r.Content.Canonical = "" }, prerender.AdmitRule{}, false},
		"no JSON-LD":            {func(r *prerender.Rendering) { r.Content.Data = 0 }, prerender.AdmitRule{}, false},
		"nothing":               {func(r *prerender.Rendering) { r.Content = &prerender.Content{Title: "Shop"} }, prerender.AdmitRule{}, false},
		"partial":               {func(r *prerender.Rendering) { r.Partial = "a timer" }, prerender.AdmitRule{}, false},
		"partial, gate off":     {func(r *prerender.Rendering) { r.Partial = "a timer" }, prerender.AdmitRule{Off: true}, false},
		"error page":            {func(r *prerender.Rendering) { r.Body = []byte("<h1>OOPS, an error</h1>") }, prerender.AdmitRule{ErrorTexts: []string{"", "oops"}}, false},
		"404":                   {func(r *prerender.Rendering) { r.Status = 404 }, prerender.AdmitRule{}, false},
		"404, gate off":         {func(r *prerender.Rendering) { r.Status = 404 }, prerender.AdmitRule{Off: true}, true},
		"403":                   {func(r *prerender.Rendering) { r.Status = 403 }, prerender.AdmitRule{}, false},
		"429":                   {func(r *prerender.Rendering) { r.Status = 429 }, prerender.AdmitRule{Off: true}, false},
		"410 is meant":          {func(r *prerender.Rendering) { r.Status = 410 }, prerender.AdmitRule{}, true},
		"a redirect is meant":   {func(r *prerender.Rendering) { r.Status, r.Content, r.Body = 301, nil, nil }, prerender.AdmitRule{}, true},
		"503":                   {func(r *prerender.Rendering) { r.Status = 503 }, prerender.AdmitRule{}, false},
		"500, gate off":         {func(r *prerender.Rendering) { r.Status = 500 }, prerender.AdmitRule{Off: true}, false},
		"a file in its place":   {func(r *prerender.Rendering) { r.Content = nil }, prerender.AdmitRule{}, true},
		"a small page grows":    {func(r *prerender.Rendering) { r.Content.Text = 100_000 }, prerender.AdmitRule{}, true},
		"agreeing at once":      {func(r *prerender.Rendering) { r.Content.Text = 1 }, prerender.AdmitRule{Agree: 1}, true},
		"nothing, agreeing too": {func(r *prerender.Rendering) { r.Content = &prerender.Content{} }, prerender.AdmitRule{Agree: 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &shop{rendering: rich()}
				service, _, _ := service(&browser{do: s.render})
				p := page(t, "/")
				p.Rule.Admission = tt.rule
				want(t, service, p, prerender.Miss, string(rich().Body))
				time.Sleep(prerender.DefaultSuccess.Fresh + prerender.DefaultSuccess.Stale + time.Second)
				changed := rich()
				tt.change(&changed)
				s.rendering = changed
				a, err := service.Answer(t.Context(), prerender.Request{Page: p})
				if err != nil {
					t.Fatal(err)
				}
				if got := a.Source == prerender.Miss; got != tt.want || errors.Is(a.Instead, prerender.ErrNotAdmitted) == tt.want {
					t.Errorf("got %s, instead of the new one because of %v, want it admitted: %v", a.Source, a.Instead, tt.want)
				}
			})
		})
	}
}

// Sites do change: a page that has lost its content three times in a row is the
// page. One that looks different each time is not.
func TestAgreeingRendersAreAdmitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shop{rendering: rich()}
		service, _, _ := service(&browser{do: s.render})
		p := page(t, "/")
		want(t, service, p, prerender.Miss, string(rich().Body))
		time.Sleep(prerender.DefaultSuccess.Fresh + prerender.DefaultSuccess.Stale + time.Second)
		lesser := func(text int, title string) {
			s.rendering = rich()
			s.rendering.Body, s.rendering.Content.Text, s.rendering.Content.Title = []byte(title), text, title
		}
		for i, tt := range []struct {
			text     int
			title    string
			admitted bool
		}{
			{100, "A", false}, {110, "A", false}, {100, "B", false}, {100, "A", false}, {300, "A", false}, {300, "A", false}, {310, "A", true},
		} {
			lesser(tt.text, tt.title)
			time.Sleep(time.Minute) // what was refused is not tried again at once
			a, err := service.Answer(t.Context(), prerender.Request{Page: p})
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Source == prerender.Miss; got != tt.admitted {
				t.Errorf("render %d: admitted is %v, want %v", i, got, tt.admitted)
			}
		}
		want(t, service, p, prerender.Hit, "A")
	})
}

// A first page is compared with nothing, and still kept only if it is one.
func TestFirstPage(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*prerender.Rendering)
		kept   bool
	}{
		"good":    {func(r *prerender.Rendering) {}, true},
		"empty":   {func(r *prerender.Rendering) { r.Content = &prerender.Content{} }, false},
		"partial": {func(r *prerender.Rendering) { r.Partial = "a timer" }, false},
		"error":   {func(r *prerender.Rendering) { r.Body = []byte("Something went wrong") }, false},
		"404":     {func(r *prerender.Rendering) { r.Status = 404 }, true},
		"500":     {func(r *prerender.Rendering) { r.Status = 500 }, false},
		"503":     {func(r *prerender.Rendering) { r.Status = 503 }, false},
	} {
		s := &shop{rendering: rich()}
		tt.change(&s.rendering)
		service, memory, _ := service(&browser{do: s.render})
		p := page(t, "/")
		p.Rule.Admission.ErrorTexts = []string{"something went wrong"}
		want(t, service, p, prerender.Miss, string(s.rendering.Body))
		if got := len(memory.pages) == 1; got != tt.kept {
			t.Errorf("%s: kept is %v, want %v", name, got, tt.kept)
		}
	}
	// A site may want its failures kept for a while, to be spared.
	s := &shop{rendering: rich()}
	s.rendering.Status = 503
	service, memory, _ := service(&browser{do: s.render})
	p := page(t, "/")
	p.Rule.Lifetimes.Failure = &prerender.Lifetime{Fresh: time.Minute}
	want(t, service, p, prerender.Miss, string(s.rendering.Body))
	if len(memory.pages) != 1 {
		t.Error("a failure was not kept although its lifetime says so")
	}
	want(t, service, p, prerender.Hit, string(s.rendering.Body))
}

// The last good page is answered when there can be no new one, up to its limit.
func TestStaleIfError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shop{rendering: rich()}
		b := &browser{do: s.render}
		service, _, queue := service(b)
		p := page(t, "/")
		want(t, service, p, prerender.Miss, string(rich().Body))
		life := prerender.DefaultSuccess
		time.Sleep(life.Fresh + life.Stale + time.Second)
		for _, err := range []error{prerender.ErrOriginUnreachable, prerender.ErrOriginTimeout, prerender.ErrRenderTimeout, prerender.ErrBusy, prerender.ErrRendererDown} {
			s.err = err
			time.Sleep(time.Minute)
			a := want(t, service, p, prerender.StaleHit, string(rich().Body))
			if !errors.Is(a.Instead, err) {
				t.Errorf("%v: the answer says %v", err, a.Instead)
			}
		}
		renders := b.renders.Load()
		s.err = prerender.ErrOriginTimeout
		time.Sleep(time.Minute)
		for range 10 { // one of them waits for a render
			want(t, service, p, prerender.StaleHit, string(rich().Body))
		}
		if n := b.renders.Load() - renders; n != 1 {
			t.Errorf("a page that cannot be made was tried %d times in a moment, want once", n)
		}
		if len(queue.pages) != 0 {
			t.Errorf("got %d pages queued, want none: they were rendered at once", len(queue.pages))
		}
		time.Sleep(life.IfError)
		if _, err := service.Answer(t.Context(), prerender.Request{Page: p}); !errors.Is(err, prerender.ErrOriginTimeout) {
			t.Errorf("after its last day: got %v, want the error", err)
		}
	})
}

// Who does not wait gets what there is, and the render goes on for the next one.
func TestPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, n int) (*prerender.Rendering, error) {
			time.Sleep(10 * time.Second)
			return ok(ctx, n)
		}
		service, _, _ := service(&browser{do: slow})
		p := page(t, "/")
		start := time.Now()
		if _, err := service.Answer(t.Context(), prerender.Request{Page: p, Patience: 4 * time.Second}); !errors.Is(err, prerender.ErrUnfinished) || time.Since(start) != 4*time.Second {
			t.Errorf("got %v after %v, want ErrUnfinished after 4 s", err, time.Since(start))
		}
		want(t, service, p, prerender.Coalesced, "render 1")
		time.Sleep(prerender.DefaultSuccess.Fresh + prerender.DefaultSuccess.Stale + time.Second)
		start = time.Now()
		a, err := service.Answer(t.Context(), prerender.Request{Page: p, Patience: 4 * time.Second})
		if err != nil || a.Source != prerender.StaleHit || !errors.Is(a.Instead, prerender.ErrUnfinished) || time.Since(start) != 4*time.Second {
			t.Errorf("got %+v, %v after %v, want the old page after 4 s", a, err, time.Since(start))
		}
		synctest.Wait()
		time.Sleep(10 * time.Second)
		want(t, service, p, prerender.Hit, "render 2")
	})
}

// A render that is refused does not undo what another has stored meanwhile.
func TestRefusedRenderLosesNothing(t *testing.T) {
	t.Parallel()
	memory := &memory{pages: map[prerender.Key]*prerender.Snapshot{}}
	s := &shop{rendering: rich()}
	studio := &prerender.Studio{Renderer: &browser{do: s.render}, Store: memory, Log: quiet}
	p := page(t, "/")
	if _, _, err := studio.Make(t.Context(), p, 4); err != nil {
		t.Fatal(err)
	}
	// The holder of lease 6 reads the stored page and is slow; that of 5 stores a new one.
	late := &between{memory: memory, then: func() {
		other := &shop{rendering: rich()}
		other.rendering.Body = []byte("new")
		if _, _, err := (&prerender.Studio{Renderer: &browser{do: other.render}, Store: memory, Log: quiet}).Make(t.Context(), p, 5); err != nil {
			t.Error(err)
		}
	}}
	s.rendering.Content = &prerender.Content{Text: 1, Title: "Shop"}
	slow := &prerender.Studio{Renderer: &browser{do: s.render}, Store: late, Log: quiet}
	if _, _, err := slow.Make(t.Context(), p, 6); !errors.Is(err, prerender.ErrNotAdmitted) {
		t.Fatalf("got %v, want ErrNotAdmitted", err)
	}
	if body, err := memory.pages[p.Key].Body(); err != nil || string(body) != "new" {
		t.Errorf("stored is %s, %v, want the new page", body, err)
	}
	// And it counts without leases too.
	for i := range 2 {
		if _, _, err := (&prerender.Studio{Renderer: &browser{do: s.render}, Store: memory, Log: quiet}).Make(t.Context(), p, 0); !errors.Is(err, prerender.ErrNotAdmitted) {
			t.Fatalf("got %v, want ErrNotAdmitted", err)
		}
		if rival := memory.pages[p.Key].Rival; rival == nil || rival.Seen != i+1 {
			t.Errorf("after %d refusals: got %+v", i+1, rival)
		}
	}
}

// between does something after each read.
type between struct {
	*memory
	then func()
}

func (b *between) Get(ctx context.Context, key prerender.Key) (*prerender.Snapshot, error) {
	snap, err := b.memory.Get(ctx, key)
	b.then()
	return snap, err
}
