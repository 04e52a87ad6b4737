package control_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/boltstore"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

func TestAccess(t *testing.T) {
	t.Parallel()
	access, err := control.ParseAccess("arn:aws:sts::123456789012:assumed-role/ops/*=admin, shop-team=operator@Shop.example+b.example:8443,eve=viewer")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		names []string
		role  control.Role
		host  string
		may   bool
	}{
		{[]string{"arn:aws:sts::123456789012:assumed-role/ops/alice"}, control.Admin, "", true},
		{[]string{"arn:aws:sts::999999999999:assumed-role/ops/alice"}, control.Viewer, "", false},
		{[]string{"shop-team"}, control.Operator, "shop.example", true},
		{[]string{"shop-team"}, control.Operator, "b.example:8443", true},
		{[]string{"shop-team"}, control.Admin, "shop.example", false},
		{[]string{"shop-team"}, control.Viewer, "other.example", false},
		{[]string{"shop-team"}, control.Viewer, "", false},
		{[]string{"shop-team", "eve"}, control.Viewer, "other.example", true},
		{[]string{"shop-team", "eve"}, control.Operator, "other.example", false},
		{[]string{"shop-teams"}, control.Viewer, "shop.example", false},
		{nil, control.Viewer, "", false},
	} {
		if got := access.Principal("x", "x", tt.names...).May(tt.role, tt.host); got != tt.may {
			t.Errorf("%q as %v of %q: got %v", tt.names, tt.role, tt.host, got)
		}
	}
	for _, wrong := range []string{"eve", "=admin", "eve=boss", "eve=admin@", "eve=admin@a b", "eve=admin@a+"} {
		if got, err := control.ParseAccess(wrong); err == nil {
			t.Errorf("%q: got %v, want an error", wrong, got)
		}
	}
}

func FuzzAccess(f *testing.F) {
	f.Add("arn:aws:iam::1:role/*=admin,a=viewer@b.example+c", "a")
	f.Add("*=operator", "[a b]")
	f.Fuzz(func(t *testing.T, text, name string) {
		access, err := control.ParseAccess(text)
		if err != nil {
			return
		}
		// What is bound to sites is never for all of them.
		for _, rule := range access {
			bound := control.Access{rule}.Principal("x", "x", name)
			if len(rule.Sites) > 0 && bound.May(control.Viewer, "") {
				t.Errorf("%q: %+v may look at all sites", text, rule)
			}
		}
		control.ParseClaims("a."+base64.RawURLEncoding.EncodeToString([]byte(text))+".c", name)
	})
}

// Groups are what the token says, whatever is in their names.
func TestClaims(t *testing.T) {
	t.Parallel()
	token := func(claims string) string {
		return "head." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".signature"
	}
	for claims, want := range map[string][]string{
		`{"sub": "me", "groups": ["a", "not stillpage-admin really", "b,c"], "email": "me@a.example"}`: {"a", "not stillpage-admin really", "b,c"},
		`{"sub": "me", "groups": "a b", "email": "me@a.example"}`:                                      {"a b"}, `{"sub": "me", "groups": [1], "email": "me@a.example"}`: nil, `{"sub": "me", "email": "me@a.example"}`: nil,
	} {
		subject, name, values, err := control.ParseClaims(token(claims), "groups")
		if err != nil || subject != "me" || name != "me (me@a.example)" || !slices.Equal(values, want) {
			t.Errorf("%s: got %q, %q, %q, %v", claims, subject, name, values, err)
		}
	}
	for _, wrong := range []string{"", "a.b", "a.!.c", token("[]"), token("{")} {
		if _, _, values, err := control.ParseClaims(wrong, "groups"); err == nil {
			t.Errorf("%q: got %q", wrong, values)
		}
	}
}

// The schema of a site has the fields of its types, each explained, and their defaults.
func TestSiteSchema(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	if err := json.Unmarshal(control.SiteSchema, &schema); err != nil {
		t.Fatal(err)
	}
	resolve := func(part map[string]any) map[string]any {
		for part["$ref"] != nil {
			var at any = schema
			for name := range strings.SplitSeq(strings.TrimPrefix(part["$ref"].(string), "#/"), "/") {
				at = at.(map[string]any)[name]
			}
			part = at.(map[string]any)
		}
		return part
	}
	var compare func(at string, part map[string]any, of reflect.Type)
	compare = func(at string, part map[string]any, of reflect.Type) {
		if part["title"] == nil && at != "" && part["$ref"] == nil || resolve(part)["description"] == nil && part["description"] == nil {
			t.Errorf("%s is not explained", at)
		}
		part = resolve(part)
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if shaper, ok := reflect.New(of).Interface().(interface{ JSONShape() any }); ok {
			of = reflect.TypeOf(shaper.JSONShape())
		}
		properties, _ := part["properties"].(map[string]any)
		if of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct {
			item := part["items"].(map[string]any)
			properties, of = item["properties"].(map[string]any), of.Elem()
		}
		if of.Kind() != reflect.Struct || properties == nil {
			return
		}
		fields := fieldsOf(of)
		for name := range properties {
			field, ok := fields[name]
			if !ok {
				t.Errorf("%s/%s is in the schema and not in %v", at, name, of)
				continue
			}
			compare(at+"/"+name, properties[name].(map[string]any), field)
			delete(fields, name)
		}
		for name := range fields {
			if !slices.Contains([]string{"purges", "version"}, name) && !(strings.Contains(at, "/paths") && name == "limits") {
				t.Errorf("%s/%s of %v is not in the schema", at, name, of)
			}
		}
	}
	compare("", schema, reflect.TypeFor[prerender.Site]())
	text := string(control.SiteSchema)
	for _, want := range []string{
		fmt.Sprintf(`"default": %v`, prerender.DefaultTextShare), fmt.Sprintf(`"default": %v`, prerender.DefaultLinkShare),
		fmt.Sprintf(`"default": %q`, prerender.DefaultLanguage), fmt.Sprintf(`"perMinute": %d`, prerender.DefaultSiteRate.PerMinute), fmt.Sprintf(`"burst": %d`, prerender.DefaultTokenRate.Burst),
		fmt.Sprintf(`"perMinute": %d`, prerender.DefaultNotFoundRate.PerMinute), fmt.Sprintf(`"perMinute": %d`, prerender.DefaultRequestRate.PerMinute),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the schema lacks %s", want)
		}
	}
	var site prerender.Site
	document := `{"origin": "https://a.example", "lifetimes": {"success": {"fresh": "1d", "stale": "7d", "ifError": "14d"}}}`
	if err := json.Unmarshal([]byte(document), &site); err != nil || *site.Lifetimes.Success != prerender.DefaultSuccess || !strings.Contains(text, `"fresh": "1d"`) {
		t.Errorf("the default of pages is %+v, %v", site.Lifetimes.Success, err)
	}
}

func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			for inner, of := range fieldsOf(f.Type) {
				fields[inner] = of
			}
			continue
		}
		fields[name] = f.Type
	}
	return fields
}

func planeAt(t *testing.T, clock *time.Time) *control.Plane {
	store, err := boltstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return &control.Plane{Pages: store, Ledger: &control.Ledger{Records: store.Records(), Now: func() time.Time { return *clock }, Log: slog.New(slog.DiscardHandler)}}
}

// A token is good for what it is for, until it expires or is revoked, and it is known
// when it was used.
func TestTokens(t *testing.T) {
	t.Parallel()
	clock := time.Now()
	p := planeAt(t, &clock)
	cache := &control.TokenCache{Records: p.Records, Now: func() time.Time { return clock }}
	made, text, err := p.MakeToken(t.Context(), control.By{Actor: "me"}, control.Token{
		Name: "x", Use: control.Integration, Sites: []string{"a.example"}, ExpiresAt: clock.Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := cache.Check(t.Context(), text)
	if err != nil || got.ID != made.ID || !got.MayRender("a.example") || got.MayRender("b.example") || got.Principal().Has(control.Viewer) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, wrong := range []string{"", text + "0", text[:len(text)-1], strings.Replace(text, "_", "-", 1), "sp_", "sp_0123456789_x", "sp_ÄÄÄÄÄ_x"} {
		if got, err := cache.Check(t.Context(), wrong); err == nil {
			t.Errorf("%q is taken for %+v", wrong, got)
		}
	}
	list, err := p.Tokens(t.Context())
	if err != nil || len(list) != 1 || list[0].Hash != "" || list[0].UsedAt.IsZero() {
		t.Errorf("list: got %+v, %v", list, err)
	}
	clock = clock.Add(2 * time.Hour)
	if _, err := cache.Check(t.Context(), text); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("expired: got %v", err)
	}
	_, other, err := p.MakeToken(t.Context(), control.By{Actor: "me"}, control.Token{Name: "y", Use: "viewer"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cache.Check(t.Context(), other); err != nil || !got.Principal().May(control.Viewer, "") || got.MayRender("a.example") {
		t.Errorf("a viewer's: got %+v, %v", got, err)
	}
	list, _ = p.Tokens(t.Context())
	for _, token := range list {
		if err := p.RevokeToken(t.Context(), control.By{Actor: "me"}, token); err != nil {
			t.Error(err)
		}
	}
	clock = clock.Add(11 * time.Second)
	if _, err := cache.Check(t.Context(), other); err == nil {
		t.Error("a revoked token is taken")
	}
}

// hanging is a store that can stop to answer.
type hanging struct {
	control.Store
	hangs bool
}

func (h *hanging) Get(ctx context.Context, kind control.Kind, id string) (control.Record, error) {
	if h.hangs {
		<-ctx.Done()
		return control.Record{}, ctx.Err()
	}
	return h.Store.Get(ctx, kind, id)
}

// While the store hangs, who is known is let in, and does not wait for it each time.
func TestTokensOfAStoreThatHangs(t *testing.T) {
	t.Parallel()
	clock := time.Now()
	p := planeAt(t, &clock)
	_, text, err := p.MakeToken(t.Context(), control.By{Actor: "me"}, control.Token{Name: "x", Use: control.Integration})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		store := &hanging{Store: p.Records}
		cache := &control.TokenCache{Records: store, Now: func() time.Time { return clock }}
		if _, err := cache.Check(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		store.hangs = true
		clock = clock.Add(11 * time.Second)
		start := time.Now()
		for range 10 {
			if _, err := cache.Check(t.Context(), text); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < time.Second || took > 6*time.Second {
			t.Errorf("ten requests have waited %v", took)
		}
	})
}

func FuzzToken(f *testing.F) {
	store, err := boltstore.OpenTemporary()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { store.Close() })
	cache := &control.TokenCache{Records: store.Records()}
	f.Add("sp_0123456789_0123")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := cache.Check(t.Context(), text); err == nil {
			t.Errorf("%q is taken for %+v", text, got)
		}
	})
}

// Each way of tampering with the chain is found.
func TestVerifier(t *testing.T) {
	t.Parallel()
	clock := time.Now()
	p := planeAt(t, &clock)
	for i := range 5 {
		if _, err := p.Commit(t.Context(), control.Event{Actor: "me", Action: fmt.Sprint("act ", i)}); err != nil {
			t.Fatal(err)
		}
	}
	var good []control.Link
	if err := p.Links(t.Context(), 0, false, func(l control.Link, _ control.Event) bool { good = append(good, l); return true }); err != nil {
		t.Fatal(err)
	}
	head, err := p.Head(t.Context())
	if err != nil || head.Number != 5 {
		t.Fatalf("head: %+v, %v", head, err)
	}
	verify := func(links []control.Link) []string {
		v := control.Verifier{Known: head}
		for _, l := range links {
			v.Add(l)
		}
		v.End()
		return v.Faults
	}
	if faults := verify(good); len(faults) > 0 {
		t.Errorf("a good chain: %q", faults)
	}
	// The chain has grown since its end was noted; and somebody has written all of it anew.
	head.Number, head.Hash = 3, good[2].Hash
	if faults := verify(good); len(faults) > 0 {
		t.Errorf("a chain that has grown: %q", faults)
	}
	head.Hash = good[1].Hash
	if faults := verify(good); len(faults) == 0 {
		t.Error("a chain that was written anew: not found")
	}
	head.Number, head.Hash = 5, good[4].Hash
	edited := slices.Clone(good)
	edited[2].Event = json.RawMessage(strings.Replace(string(edited[2].Event), "act 2", "act 9", 1))
	rehashed := slices.Clone(edited)
	rehashed[2].Hash = "0"
	swapped := slices.Clone(good)
	swapped[1], swapped[2] = swapped[2], swapped[1]
	for what, links := range map[string][]control.Link{
		"edited": edited, "edited, and its hash": rehashed, "taken out": slices.Delete(slices.Clone(good), 2, 3), "first taken out": good[1:], "last taken out": good[:4],
		"swapped": swapped, "twice": append(slices.Clone(good[:3]), good[2:]...), "none": nil,
	} {
		if faults := verify(links); len(faults) == 0 {
			t.Errorf("%s: not found", what)
		}
	}
	var backwards []int64
	p.Links(t.Context(), 4, true, func(_ control.Link, e control.Event) bool { backwards = append(backwards, e.Number); return true })
	if diff := cmp.Diff([]int64{3, 2, 1}, backwards); diff != "" {
		t.Errorf("backwards from 4 (-want +got):\n%s", diff)
	}
}
