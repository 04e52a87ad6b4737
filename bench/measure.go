package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// memoryInterval is how often memory is looked at.
	memoryInterval = 250 * time.Millisecond

	// disturbance is the share of the machine that others must not use.
	disturbance = 0.1

	// sampleTimeout ends a sample whose renderer has stopped to answer: not even
	// two pages one after the other can time out.
	sampleTimeout = 2 * pageTimeout

	// failurePause keeps the places of a renderer that has died from spinning.
	failurePause = 100 * time.Millisecond
)

// sample is one turn.
type sample struct {
	row      string
	page     string // "/items", "/static" or "/timer"
	level    int
	round    int
	took     time.Duration   // of the window
	walls    []time.Duration // of the complete pages, in order of their ends
	failures []string
	bare     int           // complete pages that lack the styles that a person sees
	cpu      time.Duration // of all processes
	known    float64       // share of the machine that the site, the load and the measuring have used
	foreign  float64       // share that all others have used, the rows that idle included
	stolen   float64       // share that the hypervisor has given to other machines
}

func (s sample) perSecond() float64 { return float64(len(s.walls)) / s.took.Seconds() }

// cpuAPage counts failed pages as work, and not as pages.
func (s sample) cpuAPage() float64 { return s.cpu.Seconds() / float64(max(1, len(s.walls))) }

// p50 is in ms, and between the two in the middle: a turn may have two pages.
func (s sample) p50() float64 { return figureOf(s.walls, milliseconds).median }

func (s sample) disturbed() bool { return s.foreign+s.stolen > disturbance }

func (s sample) String() string {
	text := fmt.Sprintf("%-10s %-7s at %d: %3d pages, %5.1f/s, p50 %4.0f ms, %.3f CPU-s a page, others %2.0f %%, stolen %2.0f %%",
		s.row, s.page, s.level, len(s.walls), s.perSecond(), s.p50(), s.cpuAPage(), 100*s.foreign, 100*s.stolen)
	if len(s.failures) > 0 {
		text += fmt.Sprintf(", %d FAILED: %.200s", len(s.failures), s.failures[0])
	}
	return text
}

// percentile is the nearest-rank one. Zero without values.
func percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// runner is a row's renderer, started for a level.
type runner struct {
	row     row
	level   int
	held    *held
	client  *client
	asked   int // pages, of which each is asked for once
	givenUp bool
}

// begin starts a renderer and warms it up: of each kind of page, every place
// renders two at least, for caches, compiled code and tabs.
func begin(ctx context.Context, env *environment, r row, level int, pages ...string) (*runner, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h, c, err := r.start(ctx, env, level)
	if err != nil {
		return nil, err
	}
	run := &runner{row: r, level: level, held: h, client: c}
	for _, page := range pages {
		if _, err := run.sample(ctx, env, page, 0); err != nil {
			h.stop()
			return nil, fmt.Errorf("warm-up: %s: %w", page, err)
		}
	}
	return run, nil
}

// outcome is one page that was asked for.
type outcome struct {
	took   time.Duration
	err    error
	styled bool
}

// sample keeps a renderer under load. The first page of each place is not
// counted, and it measures from the end of one page to the end of another: what
// is under way at both ends evens out. When it returns nothing is under way,
// for the next turn is another row's, and services go on with a page that
// nobody waits for any more.
func (r *runner) sample(ctx context.Context, env *environment, page string, window time.Duration) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	l := &load{ctx, r, page, make(chan outcome, r.level)}
	for range r.level - 1 {
		l.ask()
	}
	s := sample{row: r.row.name, page: page, level: r.level}
	for range r.level {
		l.ask()
		if _, err := l.next(); err != nil {
			return s, err
		}
	}
	before := env.expenses(r.held)
	// Whole rounds of the places: services that poll answer all of them at once.
	for n := 0; n == 0 || n%r.level != 0 || time.Since(before.at) < window; n++ {
		l.ask()
		o, err := l.next()
		if err != nil {
			return s, err
		}
		s.add(o)
	}
	s.spent(before, env.expenses(r.held))
	for range r.level - 1 {
		if _, err := l.next(); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *sample) add(o outcome) {
	if o.err != nil {
		s.failures = append(s.failures, o.err.Error())
		return
	}
	s.walls = append(s.walls, o.took)
	if s.page == "/items" && !o.styled {
		s.bare++
	}
}

func (s *sample) spent(before, after expenses) {
	s.took = after.at.Sub(before.at)
	s.cpu = after.row - before.row
	known := after.known - before.known
	others := after.worked - before.worked - s.cpu - known
	s.foreign = max(0, share(others, s.took)) // clocks of different make
	s.known = share(known, s.took)
	s.stolen = share(after.stolen-before.stolen, s.took)
}

// load is what a renderer is under.
type load struct {
	ctx      context.Context
	runner   *runner
	page     string
	outcomes chan outcome
}

func (l *load) ask() {
	l.runner.asked++
	turn := l.runner.asked
	go func() {
		o := ask(l.ctx, l.runner.client, l.page, turn)
		if o.err != nil {
			time.Sleep(failurePause)
		}
		l.outcomes <- o
	}()
}

func (l *load) next() (outcome, error) {
	select {
	case o := <-l.outcomes:
		return o, nil
	case <-l.ctx.Done():
		return outcome{}, errors.New("it does not answer")
	}
}

func ask(ctx context.Context, c *client, page string, turn int) outcome {
	path := page + fmt.Sprintf("?turn=%d", turn)
	if page == "/items" {
		path = fmt.Sprintf("/items/%d", turn)
	}
	began := time.Now()
	html, err := c.Render(ctx, path)
	o := outcome{took: time.Since(began), err: err}
	if err == nil {
		o.styled, o.err = inspect(html, page, turn)
	}
	return o
}

// inspect says whether a page is complete, and whether it has the rules that
// styled-components has written into it by script.
func inspect(html, page string, turn int) (styled bool, err error) {
	if !strings.Contains(html, marker) {
		return false, errors.New("not complete: the marker is missing")
	}
	if page != "/items" {
		return false, nil
	}
	for _, id := range []int{turn, turn + relatedItems} {
		if !strings.Contains(html, itemName(id)+"<") {
			return false, fmt.Errorf("not complete: item %d is missing", id)
		}
	}
	return strings.Contains(html, "padding:13px") || strings.Contains(html, "padding: 13px"), nil
}

// expenses are readings of CPU time: the renderer's, the site's and the load's
// own together, and the machine's.
type expenses struct {
	at                         time.Time
	row, known, worked, stolen time.Duration
}

func (e *environment) expenses(h *held) expenses {
	var own syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	known := time.Duration(own.Utime.Nano()+own.Stime.Nano()) + cpuTime(e.site.cmd.Process.Pid)
	now := time.Now()
	row := cpuTime(h.cmd.Process.Pid)
	worked, stolen := machineTime()
	return expenses{now, row, known, worked, stolen}
}

// share is a part of what all cores can do in a time.
func share(part, of time.Duration) float64 {
	return part.Seconds() / (of.Seconds() * float64(runtime.NumCPU()))
}

// awaitQuiet waits until others, the row before among them, leave the machine
// alone, as long as patience lasts, and returns what is left of it. It looks
// once without any: the row before has something to clear away.
func awaitQuiet(ctx context.Context, patience time.Duration) time.Duration {
	const look = 300 * time.Millisecond
	for ctx.Err() == nil {
		worked, stolen := machineTime()
		time.Sleep(look)
		workedNow, stolenNow := machineTime()
		if patience <= 0 || share(workedNow-worked+stolenNow-stolen, look) < disturbance {
			break
		}
		patience -= look
	}
	return patience
}

// watchMemory gives the peak when ctx has ended.
func watchMemory(ctx context.Context, pid int) <-chan usage {
	peak := make(chan usage, 1)
	go func() {
		var highest usage
		for ctx.Err() == nil {
			highest = highest.max(memory(pid))
			select {
			case <-time.After(memoryInterval):
			case <-ctx.Done():
			}
		}
		peak <- highest
	}()
	return peak
}

// machine describes where it was measured, in one line.
func machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	info, _ := os.ReadFile("/proc/cpuinfo")
	model := "unknown processor"
	if _, rest, ok := strings.Cut(string(info), "model name"); ok {
		line, _, _ := strings.Cut(rest, "\n")
		model = strings.TrimLeft(line, " \t:")
	}
	meminfo, _ := os.ReadFile("/proc/meminfo")
	kilobytes := kilobytesOf(string(meminfo), "MemTotal:")
	return fmt.Sprintf("%d cores (%s), %d GB, Linux %s", runtime.NumCPU(), model, (kilobytes+1<<19)>>20, strings.TrimSpace(string(kernel)))
}
