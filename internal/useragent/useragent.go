// Package useragent knows who asks for a page: which user agents are bots, for
// what purpose they come, and which of them stand for a mobile device.
//
// agents.go is the only list. The edge function, infra/edge/viewer-request.js,
// carries a copy of it that `make generate` writes and a test compares. What to
// do with an agent is not decided here.
package useragent

import (
	"slices"
	"strings"
)

// Purpose is what an agent wants pages for.
type Purpose string

const (
	Search     Purpose = "search"         // a search engine's index
	Training   Purpose = "ai-training"    // a model's training data
	UserFetch  Purpose = "ai-user-fetch"  // an AI answering a person now
	Preview    Purpose = "social-preview" // the card below a shared link
	SEO        Purpose = "seo-tool"       // a marketing tool's crawl
	Archive    Purpose = "archive"        // a public archive
	Monitoring Purpose = "monitoring"     // up-time and quality checks
)

// Purposes are all of them.
var Purposes = []Purpose{Search, Training, UserFetch, Preview, SEO, Archive, Monitoring}

// Agent is a bot that is recognised by a part of its User-Agent header.
type Agent struct {
	Name    string  // as its owner writes it
	Token   string  // lower case; found anywhere in the lower-case header
	Purpose Purpose // what it mostly comes for
}

// Lookup returns the bot behind a User-Agent header. Where several tokens are
// found, the first of the list wins.
func Lookup(header string) (Agent, bool) {
	header = strings.ToLower(header)
	for _, a := range Agents {
		if strings.Contains(header, a.Token) {
			return a, true
		}
	}
	return Agent{}, false
}

// MobileTokens are found, in lower case, in the User-Agent of phones and of
// bots that pose as one (Googlebot Smartphone).
var MobileTokens = []string{"mobile", "android", "iphone"}

// IsMobile says whether the header is of a mobile device.
func IsMobile(header string) bool {
	header = strings.ToLower(header)
	for _, t := range MobileTokens {
		if strings.Contains(header, t) {
			return true
		}
	}
	return false
}

// OwnTokens are found, in lower case, in the User-Agent of browsers that render
// for a service like this one: our own, and the services it takes the place of.
// "prerender" is what prerender's written contract demands.
var OwnTokens = []string{"stillpage", "prerender"}

// IsOwn says whether the header is of a rendering service's own browser, which
// must get the app and never a rendered page.
func IsOwn(header string) bool {
	header = strings.ToLower(header)
	for _, t := range OwnTokens {
		if strings.Contains(header, t) {
			return true
		}
	}
	return false
}

// AssetExtensions end the paths of files, which are never rendered. It is the
// list of prerender's contract and what has come into use since.
var AssetExtensions = []string{
	"js", "mjs", "cjs", "map", "css", "xml", "json", "less", "png", "jpg", "jpeg", "gif", "pdf",
	"doc", "docx", "txt", "ico", "rss", "atom", "zip", "gz", "tar", "7z", "mp3", "rar", "exe", "wmv",
	"avi", "ppt", "pptx", "mpg", "mpeg", "tif", "tiff", "wav", "ogg", "mov", "psd", "ai", "xls", "xlsx",
	"csv", "mp4", "webm", "m4a", "m4v", "swf", "dat", "dmg", "iso", "apk", "flv", "torrent", "ttf", "woff",
	"woff2", "otf", "eot", "svg", "webp", "avif", "webmanifest", "wasm", "md",
}

// IsAsset says whether a path is a file's, by its end: those are never asked of the router.
func IsAsset(path string) bool {
	i := strings.LastIndexByte(path, '.')
	return i >= 0 && slices.Contains(AssetExtensions, strings.ToLower(path[i+1:]))
}
