package load

import (
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// A plot's measures, in its own units.
const (
	width, height            = 640, 220
	left, right, top, bottom = 56, 8, 30, 26
	mostPoints               = 320 // of a line; more are put together by their highest
)

var colours = []string{"#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a"}

// plot draws lines over the time. A value that is none leaves a gap.
func plot(title string, whole time.Duration, logarithmic bool, lines map[string][]float64) template.HTML {
	x := func(i, n int) float64 { return float64(i+1) / float64(n) }
	return draw(title, logarithmic, lines, x, []string{"0", clock(whole / 2), clock(whole)})
}

func clock(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

// percentilePlot draws the time over the share of requests, as HDR histograms are drawn: each
// tenth of what is left is as wide as the one before.
func (r *Result) percentilePlot() template.HTML {
	const nines = 4
	steps := 40 * nines
	values := make([]float64, steps+1)
	for i := range values {
		share := 1 - math.Pow(10, -float64(i)/40)
		values[i] = float64(r.Percentile(100*share)) / float64(time.Millisecond)
	}
	x := func(i, n int) float64 { return float64(i) / float64(n-1) }
	return draw("Time by share of requests, ms", true, map[string][]float64{"all": values}, x, []string{"0 %", "90 %", "99 %", "99.9 %", "99.99 %"})
}

func draw(title string, logarithmic bool, lines map[string][]float64, x func(i, n int) float64, marks []string) template.HTML {
	low, high := math.Inf(1), 0.0
	for name, line := range lines {
		lines[name] = thin(line)
		for _, v := range line {
			if !math.IsNaN(v) && v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if high == 0 {
		low, high = 0.1, 1
	}
	scale := func(v float64) float64 { return v / high }
	ticks := []float64{0, high / 2, high}
	if logarithmic {
		low = math.Pow(10, math.Floor(math.Log10(low)))
		high = math.Pow(10, math.Ceil(math.Log10(high)+1e-9))
		scale = func(v float64) float64 { return math.Log(max(v, low)/low) / math.Log(high/low) }
		ticks = nil
		for v := low; v <= high*1.001; v *= 10 {
			ticks = append(ticks, v)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s"><text x="%d" y="16" class="t">%s</text>`, width, height, template.HTMLEscapeString(title), left, template.HTMLEscapeString(title))
	px := func(share float64) float64 { return left + share*(width-left-right) }
	py := func(v float64) float64 { return height - bottom - scale(v)*(height-top-bottom) }
	for _, v := range ticks {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" class="g"/><text x="%d" y="%.1f" class="y">%s</text>`, left, py(v), width-right, left-6, py(v)+4, short(v))
	}
	for i, mark := range marks {
		anchor := "middle"
		switch i {
		case 0:
			anchor = "start"
		case len(marks) - 1:
			anchor = "end"
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" class="x" text-anchor="%s">%s</text>`, px(float64(i)/float64(len(marks)-1)), height-8, anchor, mark)
	}
	at := width - right
	for i, name := range slices.Backward(slices.Sorted(maps.Keys(lines))) {
		colour := colours[i%len(colours)]
		if name == "failed" {
			colour = "#d1242f"
		} else if colour == "#d1242f" && lines["failed"] != nil {
			colour = "#1a7f37"
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.4"/>`, path(lines[name], x, px, py), colour)
		fmt.Fprintf(&b, `<text x="%d" y="16" class="l" fill="%s">%s</text>`, at, colour, template.HTMLEscapeString(name))
		at -= 14 + 7*len(name)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

func path(line []float64, x func(i, n int) float64, px, py func(float64) float64) string {
	var b strings.Builder
	move := true
	for i, v := range line {
		if math.IsNaN(v) {
			move = true
			continue
		}
		letter := 'L'
		if move {
			letter = 'M'
		}
		move = false
		fmt.Fprintf(&b, "%c%.1f %.1f", letter, px(x(i, len(line))), py(v))
	}
	return b.String()
}

// thin puts neighbours together.
func thin(line []float64) []float64 {
	if len(line) <= mostPoints {
		return line
	}
	out := make([]float64, mostPoints)
	for i := range out {
		out[i] = math.NaN()
		for _, v := range line[i*len(line)/mostPoints : (i+1)*len(line)/mostPoints] {
			if math.IsNaN(out[i]) || v > out[i] {
				out[i] = v
			}
		}
	}
	return out
}

func short(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 1000:
		return fmt.Sprintf("%.3gk", v/1000)
	}
	return fmt.Sprintf("%.3g", v)
}
