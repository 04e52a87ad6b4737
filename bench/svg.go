package main

import (
	"fmt"
	"strings"
)

// Measures of the picture, in its own units.
const (
	pictureWidth = 760
	nameWidth    = 96
	barWidth     = 540
	barHeight    = 16
	barStep      = 24
)

// panel is one bar chart of the picture.
type panel struct {
	title  string
	format string
	value  func(row string) (float64, bool)
}

func (r *report) panels() []panel {
	return []panel{
		{"Wall time of a page, p50 at 1 at a time, in ms: less is better", "%.0f ms", func(row string) (float64, bool) {
			res, ok := r.result(row, "/items", 1)
			return res.p50, ok
		}},
		{"Pages a second at saturation: more is better", "%.1f/s", func(row string) (float64, bool) {
			res, level := r.best(row)
			return res.perSecond.median, level > 0
		}},
		{"CPU-seconds a page at saturation: less is better", "%.3f s", func(row string) (float64, bool) {
			res, level := r.best(row)
			return res.cpu.median, level > 0
		}},
	}
}

// svg draws the report, on light and dark ground.
func (r *report) svg() string {
	var b strings.Builder
	y := 24
	for _, p := range r.panels() {
		fmt.Fprintf(&b, "<text class=\"title\" x=\"16\" y=\"%d\">%s</text>\n", y, p.title)
		y += 14
		most := 0.0
		for _, row := range rows {
			if v, ok := p.value(row.name); ok {
				most = max(most, v)
			}
		}
		for _, row := range rows {
			v, ok := p.value(row.name)
			if !ok {
				continue
			}
			class := "other"
			if row.name == ownName {
				class = "own"
			}
			width := max(1, v/most*barWidth)
			fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>", nameWidth, y+barHeight-4, row.name)
			fmt.Fprintf(&b, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>", class, nameWidth+8, y, width, barHeight)
			fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%d\">"+p.format+"</text>\n", nameWidth+14+width, y+barHeight-4, v)
			y += barStep
		}
		y += 30
	}
	fmt.Fprintf(&b, "<text class=\"note\" x=\"16\" y=\"%d\">make bench, %s. The oracle knows when this page is complete; no service can.</text>\n",
		y-8, r.at.UTC().Format("2006-01-02"))
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-label="Comparison of renderers">
<style>
text { font: 13px system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; fill: #24292f }
.title { font-weight: 600 }
.note { font-size: 12px; fill: #57606a }
.own { fill: #1f7a5c }
.other { fill: #a8b0b9 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note { fill: #9198a1 }
  .own { fill: #3fb68b }
  .other { fill: #6e7681 }
}
</style>
%[3]s</svg>
`, pictureWidth, y+8, b.String())
}
