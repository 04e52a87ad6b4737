// Curve measures how long a render takes, and what it costs, at Lambda's shares of processor time:
// the table and the picture of docs/scaling.md. It needs root on Linux, for control groups, and
// bin/stillpage:
//
//	make memory-curve
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stillpage/stillpage/internal/insight"
	"github.com/stillpage/stillpage/internal/sizing"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "curve:", err)
		os.Exit(1)
	}
}

// period is how often Lambda hands out processor time, in microseconds: what is used up is gone
// until the next one.
const period = 20_000

// rounds are gone through one after the other, so that a slow minute of the machine is one of
// each setting's; the median counts.
const rounds = 3

const (
	begin = "<!-- make memory-curve -->\n"
	end   = "<!-- end of the curve -->\n"
)

type measured struct {
	MedianMs, ProcessorMs, MemoryMB, PagesPerSecond float64
}

func run() error {
	all := map[int][]measured{}
	for round := range rounds {
		for _, mb := range sizing.Memories {
			m, err := measure(mb)
			if err != nil {
				return err
			}
			all[mb] = append(all[mb], m)
			fmt.Fprintf(os.Stderr, "round %d of %d, %d MB: %.0f ms\n", round+1, rounds, mb, m.MedianMs)
		}
	}
	var text strings.Builder
	text.WriteString(begin + "| RenderMemory | of a core | a render, ms | estimated, ms | memory, MB | dollars for a million |\n| --- | --- | --- | --- | --- | --- |\n")
	median := func(mb int, of func(measured) float64) float64 {
		var values []float64
		for _, m := range all[mb] {
			values = append(values, of(m))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	took := func(mb int) float64 { return median(mb, func(m measured) float64 { return m.MedianMs }) }
	full := sizing.Memories[len(sizing.Memories)-1]
	base := sizing.Measured{Median: ms(took(full)), Processor: ms(median(full, func(m measured) float64 { return m.ProcessorMs }))}
	var points [][2]float64
	for _, mb := range sizing.Memories {
		dollars := 1e6 * (insight.USEast1.Invocation + took(mb)/1000*float64(mb)/1024*insight.USEast1.GBSecond)
		fmt.Fprintf(&text, "| %d MB | %.2f | %.0f | %.0f | %.0f | %.2f |\n", mb, float64(mb)/sizing.MegabytesPerCore, took(mb),
			base.At(float64(mb)/sizing.MegabytesPerCore).Seconds()*1000, median(mb, func(m measured) float64 { return m.MemoryMB }), dollars)
		points = append(points, [2]float64{took(mb), dollars})
	}
	text.WriteString(end)
	doc, err := os.ReadFile("docs/scaling.md")
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(doc), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return errors.New("docs/scaling.md has no place for the curve")
	}
	return errors.Join(os.WriteFile("docs/scaling.md", []byte(head+text.String()+tail), 0o644), os.WriteFile("docs/memory-curve.svg", []byte(picture(points)), 0o644))
}

func ms(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

// measure runs `stillpage size` in a control group with a share of a core.
func measure(mb int) (m measured, _ error) {
	quota := mb * period / sizing.MegabytesPerCore
	var group string
	var settings [][2]string
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil { // version 2
		group = fmt.Sprintf("/sys/fs/cgroup/stillpage-%d", mb)
		settings = [][2]string{{"cpu.max", fmt.Sprintf("%d %d", quota, period)}}
	} else {
		group = fmt.Sprintf("/sys/fs/cgroup/cpu/stillpage-%d", mb)
		settings = [][2]string{{"cpu.cfs_period_us", fmt.Sprint(period)}, {"cpu.cfs_quota_us", fmt.Sprint(quota)}}
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		return m, fmt.Errorf("control group (are you root?): %w", err)
	}
	defer os.Remove(group)
	for _, s := range settings { // the period first
		if err := os.WriteFile(filepath.Join(group, s[0]), []byte(s[1]), 0o644); err != nil {
			return m, err
		}
	}
	// The shell joins the group, and becomes the program.
	cmd := exec.Command("sh", "-c", `echo $$ >"$1/cgroup.procs" && shift && exec "$@"`, "sh", group, "bin/stillpage", "size", "--demo", "--json", "--concurrency", "1", "--renders", "40")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.Output()
	if err != nil {
		return m, fmt.Errorf("stillpage size at %d MB: %w", mb, err)
	}
	var document struct{ Measured measured }
	err = json.Unmarshal(out, &document)
	return document.Measured, err
}

// picture draws time against price, a point a setting.
func picture(points [][2]float64) string {
	const width, height, left, right, top, bottom = 640, 320, 60, 70, 40, 40
	low, high := points[0], points[0]
	for _, p := range points {
		for i := range p {
			low[i], high[i] = math.Min(low[i], p[i]), math.Max(high[i], p[i])
		}
	}
	scale := func(v float64, i int) float64 { return (v - low[i]) / (high[i] - low[i]) }
	x := func(dollars float64) float64 { return left + 20 + scale(dollars, 1)*(width-left-right-20) }
	y := func(ms float64) float64 { return height - bottom - 20 - scale(ms, 0)*(height-top-bottom-20) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12"><rect width="100%%" height="100%%" fill="white"/>`, width, height)
	fmt.Fprintf(&b, `<path d="M%d %dV%dH%d" fill="none" stroke="#888"/><text x="8" y="16">ms a render (neither axis begins at 0)</text>`, left, top, height-bottom, width-10)
	for _, ms := range []float64{low[0], (low[0] + high[0]) / 2, high[0]} {
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">%.0f</text>`, left-8, y(ms)+4, ms)
	}
	for _, dollars := range []float64{low[1], (low[1] + high[1]) / 2, high[1]} {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">$%.2f a million</text>`, x(dollars), height-bottom+18, dollars)
	}
	path := ""
	for i, p := range points {
		path += fmt.Sprintf("%c%.1f %.1f", "ML"[min(i, 1)], x(p[1]), y(p[0]))
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" fill="#1f6feb"/><text x="%.1f" y="%.1f">%d MB</text>`, x(p[1]), y(p[0]), x(p[1])+7, y(p[0])-5, sizing.Memories[i])
	}
	fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="#1f6feb"/></svg>`+"\n", path)
	return b.String()
}
