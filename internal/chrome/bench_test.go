package chrome_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
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
