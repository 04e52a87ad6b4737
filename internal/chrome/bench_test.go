package chrome_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/prerender"
)

// One page after the other in warm tabs. cpu-s/op is what all processes of
// Chromium spent, MB what they hold at the end (proportional set size).
//
//	go test -run '^$' -bench Render -benchtime 100x ./internal/chrome
func BenchmarkRender(b *testing.B) {
	for _, page := range []string{"static", "timer of 4 s", "fetch chain"} {
		b.Run(page, func(b *testing.B) {
			body, ok := fidelityPages["timing/"+page]
			if !ok {
				body = strings.Repeat("<p>done</p>", 50)
			}
			r, tmp := own(b, loopback, 4)
			url := fidelitySite(b, body)
			render := func(i int) {
				c, err := captureWith(b, r, fmt.Sprint(url, "/?", i), prerender.DefaultTimeout, chrome.Options{})
				if err != nil || !bytes.Contains(c.Body, []byte("done")) {
					b.Fatalf("got %v, %v", c, err)
				}
			}
			for i := range 20 {
				render(i) // tabs open, caches fill
			}
			before := cpuSeconds(b, tmp)
			i := 20
			for b.Loop() {
				render(i)
				i++
			}
			b.ReportMetric((cpuSeconds(b, tmp)-before)/float64(b.N), "cpu-s/op")
			b.ReportMetric(megabytes(b, tmp), "MB")
		})
	}
}

// Ten thousand pages, four at a time, of an app that makes two thousand objects
// and elements a page. It prints what all processes of Chromium hold after each
// tenth of them (Logf drops lines), and reports the most and the least of that.
//
//	go test -run '^$' -bench Memory -benchtime 10000x ./internal/chrome
func BenchmarkMemory(b *testing.B) {
	const places = 4
	r, tmp := own(b, loopback, places)
	url := fidelitySite(b, `<ul id=u></ul><script>window.kept = []; for (let i = 0; i < 2000; i++) { const e = document.createElement("li"); e.textContent = "line " + i; u.append(e); kept.push({ e, text: "x".repeat(100) + i }) }
fetch("/api/done").then((r) => r.text()).then((t) => p.append(t))</script>`)
	var least, most float64
	for part := range 10 {
		var next atomic.Int64
		var all sync.WaitGroup
		for range places {
			all.Go(func() {
				for n := next.Add(1); n <= int64(b.N/10); n = next.Add(1) {
					c, err := captureWith(b, r, fmt.Sprintf("%s/?%d-%d", url, part, n), prerender.DefaultTimeout, chrome.Options{})
					if err != nil || !bytes.Contains(c.Body, []byte("<p id=\"p\">done</p>")) {
						b.Errorf("got %v, %v", c, err)
					}
				}
			})
		}
		all.Wait()
		now := megabytes(b, tmp)
		fmt.Printf("after %d pages: %.0f MB, %d Chromium started\n", (part+1)*(b.N/10), now, r.Stats().Starts)
		if part == 0 {
			least = now
		}
		least, most = min(least, now), max(most, now)
	}
	b.ReportMetric(least, "least-MB")
	b.ReportMetric(most, "most-MB")
}

// cpuSeconds adds up utime and stime of a renderer's processes, which the
// kernel counts in hundredths of a second.
func cpuSeconds(tb testing.TB, dir string) float64 {
	ticks := 0
	for pid := range processes(tb, dir) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		ticks += user + system
	}
	return float64(ticks) / 100
}

func megabytes(tb testing.TB, dir string) float64 {
	total := 0.0
	for pid := range processes(tb, dir) {
		rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		_, rest, _ := strings.Cut(string(rollup), "\nPss:")
		kilobytes := 0.0
		fmt.Sscan(rest, &kilobytes)
		total += kilobytes / 1024
	}
	return total
}
