package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report is what was found.
type report struct {
	plan     *plan
	browser  string // Chromium's version
	machine  string
	at       time.Time
	took     time.Duration
	samples  []sample
	repeated int // turns, whose samples are not among them
	memory   map[place]usage
	hits     []map[string]hit // by round and row
	faults   []string         // what was not measured
}

// place is one in the report.
type place struct {
	row   string
	level int
}

func newReport(p *plan, browser string, at time.Time) *report {
	version, err := exec.Command(browser, "--version").Output()
	if err != nil {
		version = []byte("unknown")
	}
	return &report{plan: p, browser: strings.TrimSpace(string(version)), machine: machine(), at: at, memory: map[place]usage{}}
}

// figure is a value over the rounds.
type figure struct{ median, low, high float64 }

func figureOf[T any](list []T, value func(T) float64) figure {
	var values []float64
	for _, v := range list {
		values = append(values, value(v))
	}
	if len(values) == 0 {
		return figure{}
	}
	slices.Sort(values)
	n := len(values)
	return figure{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}

func (f figure) String() string {
	switch {
	case f.median == 0:
		return "–"
	case f.low == f.high:
		return fmt.Sprintf("%.2f", f.median)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", f.median, f.low, f.high)
}

// spread is the distance between the rounds, as a share of the median.
func (f figure) spread() float64 {
	if f.median == 0 {
		return 0
	}
	return (f.high - f.low) / f.median
}

// result is all rounds of one row, on one page, at one level.
type result struct {
	pages, failed  int
	bare           int
	p50, p95       float64 // over all pages of all rounds, in ms
	p50s           figure  // of the rounds, in ms
	perSecond, cpu figure
	failure        string
}

func (r *report) result(row, page string, level int) (result, bool) {
	var res result
	var own, answered []sample
	var walls []time.Duration
	for _, s := range r.samples {
		if s.row != row || s.page != page || s.level != level {
			continue
		}
		own = append(own, s)
		if len(s.walls) > 0 {
			answered = append(answered, s)
		}
		walls = append(walls, s.walls...)
		res.failed += len(s.failures)
		if len(s.failures) > 0 {
			res.failure = s.failures[len(s.failures)-1]
		}
		res.bare += s.bare
	}
	res.pages = len(walls)
	res.p50, res.p95 = figureOf(walls, milliseconds).median, milliseconds(percentile(walls, 95))
	res.p50s = figureOf(answered, sample.p50)
	res.perSecond, res.cpu = figureOf(own, sample.perSecond), figureOf(own, sample.cpuAPage)
	return res, res.pages > 0
}

// ratio is that of two rows within the same round, over all rounds in which both
// have completed a page; between rounds the machine's own speed may change.
func (r *report) ratio(row, base, page string, level int, value func(sample) float64) figure {
	turns := func(name string) map[int]sample {
		found := map[int]sample{}
		for _, s := range r.samples {
			if s.row == name && s.page == page && s.level == level && len(s.walls) > 0 && value(s) > 0 {
				found[s.round] = s
			}
		}
		return found
	}
	var ratios []float64
	bases := turns(base)
	for round, s := range turns(row) {
		if b, ok := bases[round]; ok {
			ratios = append(ratios, value(s)/value(b))
		}
	}
	return figureOf(ratios, func(v float64) float64 { return v })
}

// best is the row at the level where it does most pages a second.
func (r *report) best(row string) (best result, level int) {
	for _, l := range levels {
		if res, ok := r.result(row, "/items", l); ok && (level == 0 || res.perSecond.median > best.perSecond.median) {
			best, level = res, l
		}
	}
	return best, level
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func megabytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

const ownName = "stillpage"

// peers are the rows that goals are set against; oracle and bare are none.
var peers = []string{"prerender", "rendertron"}

// goal is one of the project's, held against what was found.
type goal struct {
	what, want, got string
	met             bool
}

// goals are those that could be measured.
func (r *report) goals() []goal {
	own, ok := r.result(ownName, "/items", 1)
	if !ok {
		return r.hitGoals()
	}
	var list []goal
	add := func(met bool, what, want, got string, args ...any) {
		list = append(list, goal{what, want, fmt.Sprintf(got, args...), met})
	}
	if times := r.ratio(ownName, "oracle", "/items", 1, sample.p50); times.median > 0 {
		oracle, _ := r.result("oracle", "/items", 1)
		add(times.median <= 1.1, "Wall time, p50 at 1 at a time, against the oracle", "at most 1.1 times",
			"%s times (%.0f and %.0f ms)", times, own.p50, oracle.p50)
	}
	for _, peer := range peers {
		if times := r.ratio(peer, ownName, "/items", 1, sample.p50); times.median > 0 {
			res, _ := r.result(peer, "/items", 1)
			add(times.median > 8, "Wall time, p50 at 1 at a time, against "+peer, "under one eighth",
				"1/%s (%.0f and %.0f ms)", times, own.p50, res.p50)
		}
	}
	if times, between := r.throughput(); times.median > 0 {
		add(times.median >= 5, "Pages a second at saturation, against the better of prerender and rendertron", "at least 5 times",
			"%s times (%s)", times, between)
	}
	best, level := r.best(ownName)
	add(best.cpu.median <= 0.075, "CPU-seconds a page at saturation", "at most 0.075", "%.3f (%s)", best.cpu.median, r.otherCPU(level))
	if share, peer := r.cpuShare(level); share.median > 0 {
		add(share.median*peerCPU <= 0.075, fmt.Sprintf("The same, if what the more frugal of prerender and rendertron needs at that level were %v", peerCPU),
			"at most 0.075 where they need 0.30 to 0.40", "%.3f (%s of what %s needs at %d at a time)", share.median*peerCPU, share, peer, level)
	}
	if timer, ok := r.result(ownName, "/timer", 1); ok {
		add(timer.p50 < 150 && timer.failed == 0, "Content behind a timer of 4 s complete, p50", "under 150 ms",
			"%.0f ms, %d of %d complete", timer.p50, timer.pages, timer.pages+timer.failed)
	}
	if eight, ok := r.memory[place{ownName, 8}]; ok {
		add(megabytes(eight.all) < 400, "Peak memory at 8 at a time", "under 400 MB", "%.0f MB (%.0f without files)", megabytes(eight.all), megabytes(eight.own))
	}
	return append(list, r.hitGoals()...)
}

// throughput compares pages a second with the peer that comes closest, each row
// at the level that suits it best. Where that is the same one, turns of the same
// round are compared; where it is not, there are only medians.
func (r *report) throughput() (times figure, between string) {
	own, level := r.best(ownName)
	for _, peer := range peers {
		best, at := r.best(peer)
		if best.perSecond.median == 0 {
			continue
		}
		median := own.perSecond.median / best.perSecond.median
		pair, how := figure{median, median, median}, "by medians of different levels"
		if at == level {
			pair, how = r.ratio(ownName, peer, "/items", level, sample.perSecond), "within rounds"
		}
		if between == "" || pair.median < times.median {
			times = pair
			between = fmt.Sprintf("%.1f/s at %d at a time, and %.1f/s at %d, %s; %s", own.perSecond.median, level, best.perSecond.median, at, peer, how)
		}
	}
	return times, between
}

// peerCPU is the middle of what the goal for CPU time supposes that peers need: seconds
// are those of the machine and its hour, which the peers' tell.
const peerCPU = 0.35

// cpuShare is what part it needs of the CPU time of the peer that needs least, within
// rounds. Zero if not all peers were measured.
func (r *report) cpuShare(level int) (most figure, of string) {
	for _, peer := range peers {
		share := r.ratio(ownName, peer, "/items", level, sample.cpuAPage)
		if share.median == 0 {
			return figure{}, ""
		}
		if share.median > most.median {
			most, of = share, peer
		}
	}
	return most, of
}

// otherCPU is what other rows spend: the oracle at this level, by the turns of a
// round, peers at their own best.
func (r *report) otherCPU(level int) string {
	var list []string
	if times := r.ratio(ownName, "oracle", "/items", level, sample.cpuAPage); times.median > 0 {
		list = append(list, fmt.Sprintf("%s times the oracle's", times))
	}
	for _, peer := range peers {
		if res, at := r.best(peer); at > 0 {
			list = append(list, fmt.Sprintf("%s %.3f", peer, res.cpu.median))
		}
	}
	return cmp.Or(strings.Join(list, ", "), "no other row was measured")
}

// table is rows of cells, the first of which is the header.
type table [][]string

// results is the table of one level.
func (r *report) results(level int) table {
	t := table{{"renderer", "pages/s", "p50, ms", "p95, ms", "CPU-s a page", "peak, MB", "p50 ×", "pages/s ÷", "CPU ×", "complete", "styles"}}
	for _, row := range rows {
		res, ok := r.result(row.name, "/items", level)
		if !ok {
			continue
		}
		styles := "kept"
		if res.bare == res.pages {
			styles = "lost"
		} else if res.bare > 0 {
			styles = fmt.Sprintf("lost in %d", res.bare)
		}
		memory := "–"
		if peak, ok := r.memory[place{row.name, level}]; ok {
			memory = fmt.Sprintf("%.0f (%.0f)", megabytes(peak.all), megabytes(peak.own))
		}
		t = append(t, []string{
			row.name,
			fmt.Sprintf("%.1f (%.1f–%.1f)", res.perSecond.median, res.perSecond.low, res.perSecond.high),
			fmt.Sprintf("%.0f (%.0f–%.0f)", res.p50, res.p50s.low, res.p50s.high),
			fmt.Sprintf("%.0f", res.p95),
			fmt.Sprintf("%.3f (%.3f–%.3f)", res.cpu.median, res.cpu.low, res.cpu.high),
			memory,
			r.ratio(row.name, ownName, "/items", level, sample.p50).String(),
			r.ratio(ownName, row.name, "/items", level, sample.perSecond).String(),
			r.ratio(row.name, ownName, "/items", level, sample.cpuAPage).String(),
			fmt.Sprintf("%d of %d", res.pages, res.pages+res.failed),
			styles,
		})
	}
	return t
}

func (r *report) otherPages() table {
	t := table{{"page", "renderer", "p50, ms", "p95, ms", "CPU-s a page", "p50 ×", "complete"}}
	for _, page := range []string{"/static", "/timer"} {
		for _, row := range rows {
			if res, ok := r.result(row.name, page, 1); ok {
				t = append(t, []string{
					page, row.name, fmt.Sprintf("%.0f (%.0f–%.0f)", res.p50, res.p50s.low, res.p50s.high),
					fmt.Sprintf("%.0f", res.p95), fmt.Sprintf("%.3f", res.cpu.median),
					r.ratio(row.name, ownName, page, 1, sample.p50).String(),
					fmt.Sprintf("%d of %d", res.pages, res.pages+res.failed),
				})
			}
		}
	}
	return t
}

func (r *report) verdicts() table {
	t := table{{"goal", "wanted", "found", ""}}
	for _, g := range r.goals() {
		met := "**not met**"
		if g.met {
			met = "met"
		}
		t = append(t, []string{g.what, g.want, g.got, met})
	}
	return t
}

// noise says how far the rounds are apart, at the worst and in the middle, what
// of that is left in the ratios, and how busy others have kept the machine.
func (r *report) noise() string {
	var walls, rates, cpus, ratios []float64
	for _, row := range rows {
		for _, level := range levels {
			res, ok := r.result(row.name, "/items", level)
			if !ok {
				continue
			}
			walls = append(walls, res.p50s.spread())
			rates = append(rates, res.perSecond.spread())
			cpus = append(cpus, res.cpu.spread())
			if row.name != ownName {
				ratios = append(ratios, r.ratio(row.name, ownName, "/items", level, sample.p50).spread())
			}
		}
	}
	disturbed := 0
	for _, s := range r.samples {
		if s.disturbed() {
			disturbed++
		}
	}
	known := figureOf(r.samples, func(s sample) float64 { return 100 * s.known })
	foreign := figureOf(r.samples, func(s sample) float64 { return 100 * s.foreign })
	stolen := figureOf(r.samples, func(s sample) float64 { return 100 * s.stolen })
	return fmt.Sprintf("Between the turns of one row at one level, p50 moved by %s of its median, pages a second by %s, CPU a page by %s; "+
		"its ratio to stillpage's p50 of the same round moved by %s. "+
		"The site, the load and the measuring itself used %.0f %% of the machine during the median turn. "+
		"Others, the idle rows among them, used %.0f %% during the median turn and %.0f %% during the worst; "+
		"the hypervisor stole %.0f %% during the median turn and %.0f %% during the worst. "+
		"In %d of %d turns both together were more than %.0f %%; %d more were, and were repeated.",
		percents(walls), percents(rates), percents(cpus), percents(ratios), known.median,
		foreign.median, foreign.high, stolen.median, stolen.high, disturbed, len(r.samples), 100*disturbance, r.repeated)
}

func percents(shares []float64) string {
	if len(shares) == 0 {
		return "an unknown share"
	}
	slices.Sort(shares)
	return fmt.Sprintf("%.0f %% (median; at most %.0f %%)", 100*shares[len(shares)/2], 100*shares[len(shares)-1])
}

// notesMarker ends the generated part of docs/benchmarks.md.
const notesMarker = "<!-- below this line nothing is generated -->"

// write replaces the report in dir, and keeps what was written below its marker.
func (r *report) write(dir string) error {
	path := filepath.Join(dir, "benchmarks.md")
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(path, []byte(r.markdown()+notes(string(old))), 0o666); err != nil {
		return err
	}
	picture := filepath.Join(dir, "benchmarks.svg")
	if err := os.WriteFile(picture, []byte(r.svg()), 0o666); err != nil {
		return err
	}
	fmt.Println("wrote", path, "and", picture)
	return nil
}

// notes are what stands below the marker of a report, the marker included.
func notes(old string) string {
	_, below, found := strings.Cut(old, notesMarker)
	if !found {
		return notesMarker + "\n\n## Notes\n"
	}
	return notesMarker + below
}
