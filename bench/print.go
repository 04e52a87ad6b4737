package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// terminal is the report for who waits for it.
func (r *report) terminal() string {
	var b strings.Builder
	for _, level := range levels {
		if t := r.results(level); len(t) > 1 {
			fmt.Fprintf(&b, "%d at a time\n%s\n", level, t.aligned())
		}
	}
	if t := r.otherPages(); len(t) > 1 {
		fmt.Fprintf(&b, "other pages, 1 at a time\n%s\n", t.aligned())
	}
	if t := r.hitTable(); len(t) > 1 {
		fmt.Fprintf(&b, "hits\n%s\n", t.aligned())
	}
	if t := r.verdicts(); len(t) > 1 {
		b.WriteString(strings.ReplaceAll(t.aligned(), "**", "") + "\n")
	}
	for _, f := range r.faults {
		fmt.Fprintln(&b, "not measured:", f)
	}
	fmt.Fprintln(&b, r.noise())
	return b.String()
}

func (t table) aligned() string {
	widths := make([]int, len(t[0]))
	for _, cells := range t {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, cells := range t {
		line := ""
		for i, c := range cells {
			line += "  " + c + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func (t table) markdown() string {
	var b strings.Builder
	for i, cells := range t {
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("| --- ", len(cells)) + "|\n")
		}
	}
	return b.String()
}

// markdown is the generated part of docs/benchmarks.md.
func (r *report) markdown() string {
	var b strings.Builder
	section := func(title, text string) { fmt.Fprintf(&b, "## %s\n\n%s\n", title, text) }
	fmt.Fprintf(&b, "# Benchmarks\n\n"+
		"Written by `make bench` on %s: %d rounds in %.0f minutes, on %s, with %s. "+
		"Run it again on your machine: the figures are of this one, the ratios travel better.\n\n"+
		"![Wall time, pages a second and CPU time a page of each renderer](benchmarks.svg)\n\n",
		r.at.UTC().Format("2006-01-02"), r.plan.rounds, r.took.Minutes(), r.machine, r.browser)

	section("Goals", r.verdicts().markdown())
	section("Results", "Medians over the rounds, with the lowest and highest round in brackets; p50 and p95 are over the pages of all rounds, peak "+
		"memory is of a load of its own, in brackets without files. \"×\" and \"÷\" are ratios to stillpage, each of turns of the same round: how many "+
		"times its p50 and its CPU time a row takes, and how many times a row's pages a second it does. Speed changes between rounds, "+
		"so that these are not the quotients of the medians beside them.\n")
	for _, level := range levels {
		fmt.Fprintf(&b, "### %d at a time\n\n%s\n", level, r.results(level).markdown())
	}
	section("Other pages, 1 at a time", "`/static` has no script; `/timer` shows its content after `setTimeout` of 4 s.\n\n"+r.otherPages().markdown())
	if t := r.hitTable(); len(t) > 1 {
		section("Hits", hitMethod+t.markdown())
	}
	section("The rows", r.rowList())
	section("How it was measured", fmt.Sprintf(method, turnWindow(1).Seconds(), turnWindow(2).Seconds(), r.plan.window.Seconds()))
	section("Noise", r.noise()+"\n")
	if len(r.faults) > 0 {
		section("Not measured", "- "+strings.Join(r.faults, "\n- ")+"\n")
	}
	return b.String()
}

func (r *report) rowList() string {
	var b strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&b, "- **%s**: %s.\n", row.name, row.what)
		for _, level := range levels {
			if res, ok := r.result(row.name, "/items", level); ok && res.failed > 0 {
				fmt.Fprintf(&b, "  At %d at a time %d pages failed; the last of them: %.200s\n", level, res.failed, strings.ReplaceAll(res.failure, "\n", " "))
			}
		}
	}
	return b.String()
}

// method is prose about this program; who changes the one changes the other. Its
// verbs are for a turn at one and at more at a time, and for the load of memory.
const method = `- **The site** is ` + "`bench/site`" + `, a React 19 app with React Router and styled-components, built by esbuild for production. A page
  fetches an item and then its 24 related items from an API that replays a table of latencies around 30 ms, and shows one
  image of its own. It is complete when the answer to the second call is on screen; only then does it count. "Styles" says whether
  the HTML has the rules that styled-components makes in memory.
- **Turns**: at each level, the renderers of all rows are started anew and warmed up by at least two pages a place. Then
  every row gets one turn a round, in another order each time, while the others idle. The turns of a round are seconds apart, so
  that what changes the machine's speed for longer is the same for all: ratios are taken within rounds, and their median counts.
- **A turn** is a load of N at a time: each place asks for the next page when the last is there, and every page is asked for once.
  The first N pages are thrown away. Then whole multiples of N count until %.1f s are over at 1 at a time, %.1f s at more. It begins and ends
  with the end of a page, so that what is under way at both ends evens out, and the next turn waits until nothing is.
  Nothing is cached but what Chromium caches by itself.
- **Disturbance**: a turn during which other processes, the idle rows among them, used more than a tenth of the machine, together
  with what its hypervisor gave to others (steal), is repeated at once, as long as ` + "`-patience`" + ` lasts.
- **Wall time** is from the request to the last byte of the HTML, over HTTP on loopback, for all rows alike.
- **CPU-seconds a page**: user and system time of all processes of the renderer, Node.js or Go and the proxy included, by the
  complete pages. Processes that ended meanwhile count, too (cutime and cstime). The site and the load are processes of their
  own and do not count, but take their share of the machine.
- **Saturation** is the level at which a row does most pages a second, by the median. Where that is the same level for stillpage and
  a peer, their ratio is taken within rounds; where it is not, it is that of the medians, and the machine's speed is in it. "The
  oracle's" CPU is that of its turns at stillpage's level.
- **Memory** is measured apart, before the turns of 4 and of 8 at a time: each row is started alone and loaded at that level for
  %.0f s after its first pages, and its times are thrown away. It is the sum of the proportional set sizes (PSS) of the same processes, every 250 ms, so that
  memory that is shared counts once. Chromium's program file is a part of it, and would be a smaller one if other browsers ran on
  the machine; the figure without files does not depend on them.
- **Chromium** is the same binary for all, each with its renderer's own flags; the peers get in addition flags that keep it from the
  network (` + "`--disable-background-networking`" + ` and the like).
`
