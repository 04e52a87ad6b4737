package chrome

import (
	"fmt"
	"os"
	"os/exec"
	"slices"

	"github.com/chromedp/chromedp"
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

// flags returns Chromium's command line. proxy is the egress proxy's host:port.
func flags(dir, proxy string) []chromedp.ExecAllocatorOption {
	switches := []string{
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
		"disable-features":                "Translate,MediaRouter,DialMediaRouteProvider,OptimizationHints,AutofillServerCommunication,IsolateOrigins,site-per-process,BackForwardCache,ProactivelySwapBrowsingInstance,SpareRendererForSitePerProcess,RenderDocument",
		// A page that wants more memory ends its own process. Large apps take 100 MB.
		"js-flags": "--max-old-space-size=512",
		// Images and frames below the fold are part of the page, and there are no
		// frames in which they would come into view.
		"blink-settings":      "lazyLoadEnabled=false",
		"force-color-profile": "srgb",
		"lang":                "en-US",
		"password-store":      "basic",
		"window-size":         fmt.Sprintf("%d,%d", desktopViewport.width, desktopViewport.height),
	}
	options := []chromedp.ExecAllocatorOption{chromedp.UserDataDir(dir), chromedp.NoInheritEnv, chromedp.Env(environment(dir)...)}
	for _, name := range switches {
		options = append(options, chromedp.Flag(name, true))
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		options = append(options, chromedp.Flag(name, values[name]))
	}
	if os.Getuid() == 0 {
		// The sandbox refuses to run as root.
		options = append(options, chromedp.Flag("no-sandbox", true))
	}
	return options
}
