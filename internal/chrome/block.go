package chrome

import "github.com/chromedp/cdproto/network"

// DefaultBlocked are the requests that a page's content never depends on:
// analytics, tag managers, advertising, session recording and chat. A render
// that sent them would count as a visit, and waits for them. The syntax is that
// of the URLPattern standard.
var DefaultBlocked = hosts(
	"*.google-analytics.com", "google-analytics.com", "*.analytics.google.com", "*.googletagmanager.com",
	"*.googleadservices.com", "*.googlesyndication.com", "*.doubleclick.net", "*.googletagservices.com",
	"connect.facebook.net", "*.hotjar.com", "*.hotjar.io", "*.clarity.ms", "bat.bing.com",
	"*.segment.com", "*.segment.io", "*.mixpanel.com", "*.amplitude.com", "*.heapanalytics.com",
	"*.fullstory.com", "*.mouseflow.com", "*.crazyegg.com", "*.luckyorange.com", "*.quantserve.com",
	"*.scorecardresearch.com", "*.chartbeat.com", "*.chartbeat.net", "*.newrelic.com", "*.nr-data.net",
	"browser-intake-datadoghq.com", "*.browser-intake-datadoghq.com", "*.sentry.io", "*.bugsnag.com",
	"*.intercom.io", "*.intercomcdn.com", "*.drift.com", "*.hs-analytics.net", "*.hs-scripts.com",
	"*.matomo.cloud", "mc.yandex.ru", "*.plausible.io", "plausible.io", "cdn.usefathom.com",
	"*.criteo.com", "*.criteo.net", "*.adnxs.com", "*.taboola.com", "*.outbrain.com", "*.optimizely.com",
	"snap.licdn.com", "px.ads.linkedin.com", "analytics.tiktok.com", "ct.pinterest.com", "static.ads-twitter.com",
	"cdn.cookielaw.org", "consent.cookiebot.com",
)

func hosts(list ...string) []string {
	patterns := make([]string, len(list))
	for i, host := range list {
		patterns[i] = "*://" + host + "/*"
	}
	return patterns
}

func blockParams(patterns []string) network.SetBlockedURLsParams {
	var p network.SetBlockedURLsParams
	for _, pattern := range patterns {
		p.URLPatterns = append(p.URLPatterns, &network.BlockPattern{URLPattern: pattern, Block: true})
	}
	return p
}
