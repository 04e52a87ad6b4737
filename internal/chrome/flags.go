package chrome

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// binaries are the names under which Chromium is looked for, the smallest
// first: the headless shell needs no display libraries.
var binaries = []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// FindBinary returns the path of an installed Chromium.
func FindBinary() (string, error) {
	for _, name := range binaries {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Chromium found (looked for %v in PATH); "+
		"install one with `apt-get install chromium-headless-shell`, or name it with --chromium", binaries)
}

// environment is all that Chromium sees of the world's variables: none of this
// process's, which may hold credentials.
func environment(dir string) []string {
	return []string{
		"HOME=" + dir,
		"TMPDIR=" + dir, // its temporary files go when the directory goes
		"PATH=/usr/bin:/bin",
		"LANG=en_US.UTF-8",
		"TZ=UTC",
	}
}

// without are the features of Chromium that are switched off.
var without = []string{
	// A person's conveniences.
	"Translate", "MediaRouter", "DialMediaRouteProvider", "OptimizationHints", "AutofillServerCommunication",

	// A page's frames stay in its process, see disable-site-isolation-trials.
	"IsolateOrigins", "site-per-process",

	// A tab keeps its process and its frame from page to page.
	"BackForwardCache", "ProactivelySwapBrowsingInstance", "SpareRendererForSitePerProcess", "RenderDocument",

	// One more thread on the way of each request: 8 % of a page's CPU time.
	"BackgroundResourceFetch",

	// Compiles scripts in a thread that the page's clock does not wait for: it ran
	// out between an import's arrival and its first line.
	"ScriptStreaming",

	// Advertising, reporting and shared dictionaries, for which every page opens
	// interfaces to the browser: 3 %.
	"AcceptCHFrame", "AttributionReportingCrossAppWeb", "BrowsingTopics", "CompressionDictionaryTransport",
	"CompressionDictionaryTransportBackend", "DIPS", "DeviceBoundSessions", "FetchLaterAPI", "FledgeInterestGroups",
	"InterestGroupStorage", "KeepAliveInBrowserMigration", "NetworkErrorLogging", "Reporting", "SharedStorageAPI",
}

// flags returns Chromium's command line. proxy is the egress proxy's host:port,
// and extra is added as it is.
func flags(dir, proxy string, extra []string) []string {
	switches := []string{
		"remote-debugging-pipe",
		"headless",
		"disable-gpu",
		"hide-scrollbars",
		"mute-audio",
		"no-first-run",
		"no-default-browser-check",

		// /dev/shm is 64 MB in a container and missing on Lambda; TMPDIR is ours.
		"disable-dev-shm-usage",

		// A page that opens others would have them rendered at its side.
		"block-new-web-contents",

		// Nothing but the page uses the network.
		"disable-background-networking",
		"disable-component-update",
		"disable-client-side-phishing-detection",
		"disable-default-apps",
		"disable-domain-reliability",
		"disable-extensions",
		"disable-sync",
		"metrics-recording-only",

		// Its crash handler would outlive it.
		"disable-breakpad",
		"disable-crash-reporter",

		// No tab is in front, and all are to run at full speed.
		"disable-background-timer-throttling",
		"disable-backgrounding-occluded-windows",
		"disable-renderer-backgrounding",
		"disable-hang-monitor", // deadlines are this program's work

		// QUIC goes past proxies.
		"disable-quic",

		// A page's frames stay in its process: there is nothing in this browser
		// that one site could steal from another, and a process a frame costs
		// 30 MB. Different pages still run in different processes.
		"disable-site-isolation-trials",
	}
	values := map[string]string{
		"proxy-server": "http://" + proxy,
		// Without this, Chromium goes to loopback and link-local directly.
		"proxy-bypass-list": "<-loopback>",
		// The proxy resolves names. Chromium itself must not: a look-up is a
		// message to whoever runs the name server.
		"host-resolver-rules":             "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
		"force-webrtc-ip-handling-policy": "disable_non_proxied_udp",
		"disable-features":                strings.Join(without, ","),
		// A page that wants more memory ends its own process. Large apps take 100 MB.
		"js-flags": "--max-old-space-size=512",
		// Images and frames below the fold are part of the page, and there are no
		// frames in which they would come into view.
		"blink-settings":      "lazyLoadEnabled=false",
		"force-color-profile": "srgb",
		"lang":                "en-US",
		"password-store":      "basic",
		"user-data-dir":       dir,
		"window-size":         fmt.Sprintf("%d,%d", desktopViewport.width, desktopViewport.height),
	}
	if os.Getuid() == 0 {
		switches = append(switches, "no-sandbox") // the sandbox refuses to run as root
	}
	var line []string
	for _, name := range switches {
		line = append(line, "--"+name)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		line = append(line, "--"+name+"="+values[name])
	}
	return append(append(line, extra...), "about:blank")
}
