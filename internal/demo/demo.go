// Package demo is a small shop whose pages exist only after JavaScript has run:
// the app that `stillpage serve --demo` puts behind the edge, and that tests
// render. Its HTML is an empty shell; items come from a JSON API.
package demo

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

//go:embed app
var files embed.FS

// Item is a thing that the shop sells.
type Item struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Price   float64  `json:"price"` // euros
	Text    string   `json:"text"`
	Related []string `json:"related,omitempty"`
}

var items = []Item{
	{"brass-kettle", "Brass Kettle", 74.00, "Spun from one sheet, tinned inside, and loud when it boils.", []string{"tea-tin", "enamel-mug"}},
	{"enamel-mug", "Enamel Mug", 14.50, "White outside, blue rim, chips honestly.", []string{"brass-kettle"}},
	{"tea-tin", "Tea Tin", 22.00, "Keeps 250 grams dry behind two lids.", []string{"enamel-mug", "linen-towel"}},
	{"linen-towel", "Linen Towel", 18.00, "Washed once, so it dries from the first day.", []string{"tea-tin"}},
	{"oak-board", "Oak Board", 39.00, "End grain, oiled, with a groove for what runs.", nil},
}

// latency is what an API call takes: a database and a network, in little.
const latency = 30 * time.Millisecond

// Handler serves the shop:
//
//	/, /items/{id}, /about      the shell; the app shows the page
//	/old/{id}                   301 to /items/{id}
//	/api/items, /api/items/{id} JSON
//	/sitemap.xml                its pages
//	/app.js, /shell.html        files
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/items", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, items) })
	mux.HandleFunc("GET /api/items/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, item := range items {
			if item.ID == r.PathValue("id") {
				writeJSON(w, item)
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
		writeJSON(w, map[string]string{"error": "no such item"})
	})
	mux.HandleFunc("GET /old/{id}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/items/"+r.PathValue("id"), http.StatusMovedPermanently)
	})
	mux.HandleFunc("GET /sitemap.xml", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, `<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">`)
		for _, path := range []string{"/", "/about"} {
			fmt.Fprintf(w, "<url><loc>http://%s%s</loc></url>", r.Host, path)
		}
		for _, item := range items {
			fmt.Fprintf(w, "<url><loc>http://%s/items/%s</loc></url>", r.Host, item.ID)
		}
		fmt.Fprint(w, "</urlset>")
	})
	mux.HandleFunc("GET /{path...}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("path")
		if !strings.Contains(name, ".") {
			name = "shell.html" // every route of the app has the same shell
		}
		http.ServeFileFS(w, r, files, "app/"+name)
	})
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	time.Sleep(latency)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v)
}
