package config_test

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/prerender"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	got, err := config.ParseServe(
		[]string{"--site", "https://A.example", "-site=http://b.example:81", "--token", "flag", "--concurrency=3"},
		env("STILLPAGE_TOKEN", "variable", "STILLPAGE_EGRESS_ALLOW", "10.1.2.3/8, 127.0.0.1/32", "STILLPAGE_DATA", "/d", "STILLPAGE_FRESH", "12h", "STILLPAGE_SITE", "https://unused.example"))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Serve{
		Sites:  []prerender.Origin{{Scheme: "https", Host: "a.example"}, {Scheme: "http", Host: "b.example:81"}},
		Listen: "127.0.0.1:8080", RouterListen: "127.0.0.1:8082", AdminListen: "127.0.0.1:8081", Data: "/d", Token: "flag", LogFormat: "text",
		Success: prerender.Lifetime{Fresh: 12 * time.Hour, Stale: 7 * 24 * time.Hour, IfError: 14 * 24 * time.Hour},
		Chrome:  config.Chrome{Concurrency: 3, EgressAllow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRenderTakesFlagsOnBothSides(t *testing.T) {
	t.Parallel()
	got, err := config.ParseRender([]string{"--json", "https://a.example/x", "--screenshot", "f.png", "--timeout=9s"}, env())
	if err != nil {
		t.Fatal(err)
	}
	want := config.Render{URL: "https://a.example/x", JSON: true, Screenshot: "f.png", Timeout: 9 * time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Every fault is one sentence that says what would be right.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		env  func(string) string
		want []string // all of them, in one error
	}{
		{nil, env(), []string{"--site URL", "--origin URL", "--demo"}},
		{[]string{"--demo", "--origin", "http://127.0.0.1:1"}, env(), []string{"give one of them"}},
		{[]string{"--demo", "x"}, env(), []string{`flags only, not "x"`}},
		{[]string{"--demo", "--site", "a.example", "--listen", "8080", "--concurrency", "0", "--egress-allow", "10.0.0.1"}, env(),
			[]string{"must start with http", "127.0.0.1:8080", "1 to 256", "10.0.0.0/8"}},
		{[]string{"--origin", "http://127.0.0.1:8080"}, env(), []string{"this program itself"}},
		{[]string{"--demo", "--listen", "0.0.0.0:80"}, env(), []string{"give --site URL"}},
		{[]string{"--demo", "--router-listen", "0.0.0.0:80"}, env(), []string{"give --token"}},
		{[]string{"--demo", "--token", "a", "--token", "b"}, env(), []string{"give it once"}},
		{[]string{"--demo", "--nonsense"}, env(), []string{"-nonsense", "--help"}},
		{[]string{"--demo=perhaps"}, env(), []string{"true or false"}},
		{[]string{"--origin", "127.0.0.1:3000"}, env(), []string{"URL like http://127.0.0.1:3000"}},
		{nil, env("STILLPAGE_DEMO", "1", "STILLPAGE_LISTEN", "x"), []string{"STILLPAGE_LISTEN", "127.0.0.1:8080"}},
	} {
		_, err := config.ParseServe(tt.args, tt.env)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: got %v, want it to say %q", tt.args, err, want)
			}
		}
	}
	for _, args := range [][]string{{}, {"a", "b"}, {"https://a.example", "--timeout", "1s"}} {
		if _, err := config.ParseRender(args, env()); err == nil {
			t.Errorf("render %q: got no error", args)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	if _, err := config.ParseServe([]string{"--demo", "-h"}, env()); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v, want flag.ErrHelp", err)
	}
}

// docs/configuration.md shows the options as they are.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string][]config.Option{
		"serve":   new(config.Serve).ServeOptions(),
		"render":  new(config.Render).RenderOptions(),
		"warm":    new(config.Warm).WarmOptions(),
		"load":    new(config.Load).LoadOptions(),
		"size":    new(config.Size).SizeOptions(),
		"record":  new(config.Record).RecordOptions(),
		"mock":    new(config.Mock).MockOptions(),
		"operate": new(config.Operate).AllOptions(),
	} {
		var table strings.Builder
		config.Markdown(&table, options)
		if !strings.Contains(string(doc), table.String()) {
			t.Errorf("docs/configuration.md lacks the table of %s; it is to read:\n\n%s", name, table.String())
		}
	}
}

func TestWarm(t *testing.T) {
	t.Parallel()
	got, err := config.ParseWarm([]string{"--sitemap=https://a.example/s.xml", "--rate", "0.5", "--again=2d"}, env("STILLPAGE_LIST", "a.txt,b.txt"))
	want := config.Warm{Sitemaps: []string{"https://a.example/s.xml"}, Lists: []string{"a.txt", "b.txt"}, Rate: 0.5, Again: 48 * time.Hour}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("(-want +got):\n%s%v", diff, err)
	}
	for _, args := range [][]string{{}, {"--sitemap=a.xml"}, {"--list=a", "--rate=0"}, {"--list=a", "--rate=NaN"}, {"--list=a", "--parallel=0"}, {"--list=a", "--again=0s"}, {"--list=a", "--again=soon"}, {"--list=a", "https://a.example/"}} {
		if got, err := config.ParseWarm(args, env()); err == nil {
			t.Errorf("%q: got %+v, want an error", args, got)
		}
	}
}

func FuzzServe(f *testing.F) {
	f.Add("--site=https://a.example", "--egress-allow=10.0.0.0/8", "127.0.0.1:1")
	f.Add("--origin=http://x", "--demo", "[::1]:8")
	f.Fuzz(func(t *testing.T, a, b, listen string) {
		c, err := config.ParseServe([]string{a, b}, env("STILLPAGE_LISTEN", listen))
		if err == nil && !c.HasEdge() && len(c.Sites) == 0 {
			t.Errorf("%q %q: accepted with nothing to render", a, b)
		}
	})
}
