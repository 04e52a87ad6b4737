package useragent_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stillpage/stillpage/internal/useragent"
)

func TestLookup(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                        "Googlebot",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com)": "GPTBot",
		"Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)":                               "ClaudeBot",
		"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)":                                      "Slackbot",
		"facebookexternalhit/1.1":                 "facebookexternalhit",
		"Mozilla/5.0 PerplexityBot/1.0":           "PerplexityBot",
		"Perplexity-User/1.0":                     "Perplexity-User",
		"Claude-User (claude-user@anthropic.com)": "Claude-User",
		"cohere-training-data-crawler":            "cohere-training",
		"TWITTERBOT":                              "Twitterbot",
	} {
		if got, ok := useragent.Lookup(header); !ok || got.Name != want {
			t.Errorf("Lookup(%q): got %q, want %q", header, got.Name, want)
		}
	}
	for _, person := range []string{
		"",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
		"curl/8.5.0",
		// Apps and in-app browsers whose names are also those of bots.
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21E236 [Pinterest/iOS]",
		"Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36 YJApp-ANDROID jp.co.yahoo.android.yjtop/3.150",
		"Mozilla/5.0 (Linux; Android 13) AppleWebKit/537.36 Chrome/120.0 YaBrowser/24.1 Yandex Mobile Safari/537.36",
		"Mozilla/5.0 (Linux; Android 12) AppleWebKit/537.36 Chrome/94.0 Mobile Safari/537.36 SogouMobileBrowser/7.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Flipboard/4.3",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 [FBAN/FBIOS;FBAV/450.0]",
		"Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Mobile Safari/537.36 Instagram 320.0 Android",
	} {
		if got, ok := useragent.Lookup(person); ok {
			t.Errorf("Lookup(%q): got %q, want no bot", person, got.Name)
		}
	}
}

func TestListIsSound(t *testing.T) {
	t.Parallel()
	purposes := []useragent.Purpose{useragent.Search, useragent.Training, useragent.UserFetch, useragent.Preview,
		useragent.SEO, useragent.Archive, useragent.Monitoring}
	for i, a := range useragent.Agents {
		if a.Name == "" || a.Token == "" || a.Token != strings.ToLower(a.Token) || !slices.Contains(purposes, a.Purpose) {
			t.Errorf("%+v is incomplete", a)
		}
		for _, earlier := range useragent.Agents[:i] {
			if strings.Contains(a.Token, earlier.Token) {
				t.Errorf("%q is never found, because %q stands before it", a.Token, earlier.Token)
			}
		}
		for _, own := range useragent.OwnTokens {
			if strings.Contains(a.Token, own) {
				t.Errorf("%q would be taken for Stillpage's own browser", a.Token)
			}
		}
	}
}

func TestIsMobileAndIsOwn(t *testing.T) {
	t.Parallel()
	smartphone := "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) Mobile Safari/537.36 (compatible; Googlebot/2.1)"
	if !useragent.IsMobile(smartphone) || useragent.IsMobile("Googlebot/2.1") {
		t.Error("IsMobile: want true for Googlebot Smartphone only")
	}
	if !useragent.IsOwn("… Safari/537.36 Prerender (Stillpage; +https://x)") || useragent.IsOwn(smartphone) {
		t.Error("IsOwn: want true for Stillpage's browser only")
	}
}

// The function at the edge knows the agents that this package knows.
func TestEdgeFunctionIsGenerated(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../../infra/edge/viewer-request.js")
	if err != nil {
		t.Fatal(err)
	}
	want, err := useragent.WriteEdgeLists(string(source))
	if err != nil {
		t.Fatal(err)
	}
	if string(source) != want {
		t.Error("infra/edge/viewer-request.js differs from the lists of this package; run `make generate`")
	}
	if maps, err := os.ReadFile("../../infra/nginx/stillpage-bots.conf"); err != nil || string(maps) != useragent.NginxMaps() {
		t.Error("infra/nginx/stillpage-bots.conf differs from the lists of this package; run `make generate`")
	}
	if _, err := useragent.WriteEdgeLists("no markers"); err == nil {
		t.Error("a source without markers: got no error")
	}
}
