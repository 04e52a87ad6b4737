package admin

import (
	"embed"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
)

// consoleFiles are the console: a page, its scripts, and its style. They hold no secret:
// whoever asks gets them, and what they show comes from the API.
//
//go:embed console
var consoleFiles embed.FS

// consolePolicy lets the console do what it does and nothing else: no script but its own
// files, no other site but the issuer's, and nobody has it in a frame.
func (l Login) consolePolicy() string {
	connect := "'self'"
	for _, address := range []string{l.Issuer, l.Domain} {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			connect += " " + u.Scheme + "://" + u.Host
		}
	}
	return strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src " + connect, "frame-src 'self'",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; ")
}

// console serves the files: the page at /, and what belongs to it below /console/.
func (a *API) console() http.Handler {
	files := http.FileServerFS(consoleFiles)
	policy := a.Login.consolePolicy()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		if r.URL.Path == "/" {
			http.ServeFileFS(w, r, consoleFiles, "console/index.html")
			return
		}
		if _, err := fs.Stat(consoleFiles, strings.TrimPrefix(r.URL.Path, "/")); err != nil || strings.HasSuffix(r.URL.Path, "/") {
			write(w, problemf(http.StatusNotFound, "the console has no file %s", r.URL.Path))
			return
		}
		w.Header().Set("Cache-Control", "no-cache") // a new version has new files
		files.ServeHTTP(w, r)
	})
}
