package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// marker is what a page holds when it is complete.
const marker = `id="done"`

// relatedItems is how many cards a complete item has.
const relatedItems = 24

// apiLatencies are replayed by the site's API, item by item: 30 ms in the
// middle, with the tail that a service behind a load balancer has.
var apiLatencies = []time.Duration{28, 31, 26, 33, 30, 24, 29, 35, 27, 32, 30, 41, 25, 29, 34, 22}

// serveSite is a role: the origin that every renderer loads from.
func serveSite() error {
	scripts, err := filepath.Glob(filepath.Join(os.Getenv("DIST"), "app.*.js"))
	if err != nil || len(scripts) != 1 {
		return fmt.Errorf("no site in %s; scripts/bench-deps.sh builds it", os.Getenv("DIST"))
	}
	script, err := os.ReadFile(scripts[0])
	if err != nil {
		return err
	}
	name := filepath.Base(scripts[0])
	shell := fmt.Sprintf(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Shop</title><link rel="icon" href="data:,">
<script type="module" src="/%s"></script></head><body><div id="root"></div></body></html>`, name)
	still := `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Still</title><link rel="icon" href="data:,"></head>
<body><main id="done">` + filler(50) + `</main></body></html>`
	timer := `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Timer</title><link rel="icon" href="data:,"></head><body><main></main>
<script>setTimeout(() => { document.querySelector('main').id = 'done' }, 4000)</script></body></html>`
	pictures := make([][]byte, 8)
	for i := range pictures {
		pictures[i] = picture(i)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", document(shell))
	mux.HandleFunc("GET /static", document(still))
	mux.HandleFunc("GET /timer", document(timer))
	mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
		answer(w, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable", script)
	})
	mux.HandleFunc("GET /img/{file}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, "image/png", "public, max-age=3600", pictures[number(r.PathValue("file"))%len(pictures)])
	})
	mux.HandleFunc("GET /api/items/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := number(r.PathValue("id"))
		answerJSON(w, id, item(id))
	})
	mux.HandleFunc("GET /api/items/{id}/related", func(w http.ResponseWriter, r *http.Request) {
		id := number(r.PathValue("id"))
		var list []map[string]any
		for i := range relatedItems {
			list = append(list, item(id+i+1))
		}
		answerJSON(w, id+7, list)
	})
	return http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), mux)
}

func document(html string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(w, "text/html; charset=utf-8", "no-cache", []byte(html))
	}
}

func answer(w http.ResponseWriter, kind, cache string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", cache)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

func answerJSON(w http.ResponseWriter, turn int, value any) {
	time.Sleep(apiLatencies[turn%len(apiLatencies)] * time.Millisecond)
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, "application/json", "no-cache", body)
}

func item(id int) map[string]any {
	return map[string]any{
		"id": id, "name": itemName(id), "price": fmt.Sprintf("€%d.%02d", 10+id*7%90, id*13%100),
		"text": "Made by hand, in small numbers, and sent within a day. Number " + strconv.Itoa(id) + " of the catalogue.",
	}
}

func itemName(id int) string {
	things := []string{"Kettle", "Lamp", "Chair", "Bowl", "Clock", "Blanket", "Basket"}
	return fmt.Sprintf("%s no. %d", things[id%len(things)], id)
}

// number reads the digits that a name begins with.
func number(name string) int {
	n := 0
	fmt.Sscan(name, &n)
	return n
}

func filler(paragraphs int) string {
	var b bytes.Buffer
	for i := range paragraphs {
		fmt.Fprintf(&b, "<p>Paragraph %d of a page that has no script.</p>", i)
	}
	return b.String()
}

// picture draws 300 by 200 pixels that do not compress to nothing.
func picture(seed int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, 300, 200))
	for y := range 200 {
		for x := range 300 {
			img.Set(x, y, color.RGBA{uint8(x ^ y*seed), uint8(x * y / 97), uint8((x + 31*seed) ^ (y >> 1)), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // an image in memory
	}
	return b.Bytes()
}
