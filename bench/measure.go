package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// warmUp is for caches, compiled code and tabs, for every row alike; each
	// place renders two pages at least.
	warmUp = 2 * time.Second

	// memoryInterval is how often memory is looked at.
	memoryInterval = 250 * time.Millisecond

	// disturbance is the share of the machine that others must not use.
	disturbance = 0.1

	// measureTimeout ends a measurement whose renderer has stopped to answer.
	measureTimeout = 90 * time.Second
)

// sample is one measurement.
type sample struct {
	row      string
	page     string // "/items", "/static" or "/timer"
	level    int
	took     time.Duration   // of the window
	walls    []time.Duration // of the complete pages, in order of their ends
	failures []string
	bare     int           // complete pages that lack the styles that a person sees
	cpu      time.Duration // of all processes
	memory   usage         // the peaks
	known    float64       // share of the machine that the site, the load and the measuring have used
	foreign  float64       // share that all others have used, beside the row
}

func (s sample) perSecond() float64 { return float64(len(s.walls)) / s.took.Seconds() }

// cpuAPage counts failed pages as work, and not as pages.
func (s sample) cpuAPage() float64 { return s.cpu.Seconds() / float64(max(1, len(s.walls))) }

func (s sample) String() string {
	text := fmt.Sprintf("%-10s %-8s at %d: %3d pages, %5.1f/s, p50 %4d ms, %.3f CPU-s a page, %3d MB, others %2.0f %%",
		s.row, s.page, s.level, len(s.walls), s.perSecond(), percentile(s.walls, 50).Milliseconds(), s.cpuAPage(), s.memory.all>>20, 100*s.foreign)
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

// measure starts a renderer, measures it on items, and at one at a time on the
// row's other pages too.
func (p *plan) measure(ctx context.Context, env *environment, r row, level int) ([]sample, error) {
	h, c, err := r.start(ctx, env, level)
	if err != nil {
		return nil, err
	}
	defer h.stop()
	s, err := p.sample(ctx, env, h, c, level, "/items", p.window)
	if err != nil {
		return nil, err
	}
	samples := []sample{s}
	if level == 1 {
		for _, page := range r.extras {
			s, err := p.sample(ctx, env, h, c, 1, page, p.window/3)
			if err != nil {
				return samples, fmt.Errorf("%s: %w", page, err)
			}
			samples = append(samples, s)
		}
	}
	for i := range samples {
		samples[i].row = r.name
	}
	return samples, nil
}

// outcome is one page that was asked for.
type outcome struct {
	took   time.Duration
	err    error
	styled bool
}

// sample keeps a renderer under load, and measures from the end of one page to
// the end of another, so that what is under way at both ends evens out.
func (p *plan) sample(ctx context.Context, env *environment, h *held, c *client, level int, page string, window time.Duration) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	outcomes := make(chan outcome)
	var turn atomic.Int64
	for range level {
		go func() {
			for ctx.Err() == nil {
				o := ask(ctx, c, page, int(turn.Add(1)))
				select {
				case outcomes <- o:
				case <-ctx.Done():
				}
			}
		}()
	}
	next := func() (outcome, error) {
		select {
		case o := <-outcomes:
			return o, nil
		case <-ctx.Done():
			return outcome{}, errors.New("it does not answer")
		}
	}

	s := sample{page: page, level: level}
	began := time.Now()
	for n := 0; n < 2*level || time.Since(began) < warmUp; n++ {
		if _, err := next(); err != nil {
			return s, err
		}
	}
	peak := watchMemory(ctx, h.cmd.Process.Pid)
	before := env.expenses(h)
	// Whole rounds of the places: services that poll answer all of them at once.
	for n := 0; n < p.pages || n%level != 0 || time.Since(before.at) < window; n++ {
		o, err := next()
		if err != nil {
			return s, err
		}
		if o.err != nil {
			s.failures = append(s.failures, o.err.Error())
			continue
		}
		s.walls = append(s.walls, o.took)
		if page == "/items" && !o.styled {
			s.bare++
		}
	}
	after := env.expenses(h)
	cancel()
	s.memory = <-peak
	s.took = after.at.Sub(before.at)
	s.cpu = after.row - before.row
	others := after.machine - before.machine - s.cpu - (after.known - before.known)
	s.foreign = max(0, share(others, s.took)) // clocks of different make
	s.known = share(after.known-before.known, s.took)
	return s, nil
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
	at                  time.Time
	row, known, machine time.Duration
}

func (e *environment) expenses(h *held) expenses {
	var own syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	known := time.Duration(own.Utime.Nano()+own.Stime.Nano()) + cpuTime(e.site.cmd.Process.Pid)
	return expenses{time.Now(), cpuTime(h.cmd.Process.Pid), known, machineTime()}
}

// share is a part of what all cores can do in a time.
func share(part, of time.Duration) float64 {
	return part.Seconds() / (of.Seconds() * float64(runtime.NumCPU()))
}

// awaitQuiet waits until others leave the machine alone, as long as patience
// lasts, and returns what is left of it.
func awaitQuiet(ctx context.Context, patience time.Duration) time.Duration {
	const look = 300 * time.Millisecond
	for patience > 0 && ctx.Err() == nil {
		before := machineTime()
		time.Sleep(look)
		if share(machineTime()-before, look) < disturbance {
			return patience
		}
		patience -= look
	}
	return 0
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
