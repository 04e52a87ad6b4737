package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress shows how far something is: a bar on a terminal, a line now and then
// elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	total    int
	done     int
	began    time.Time
	shown    time.Time
}

// How often it is shown: a terminal as often as one can read it, a log rarely.
const (
	barInterval  = 100 * time.Millisecond
	lineInterval = 10 * time.Second
)

func newProgress(w io.Writer, total int) *progress {
	p := &progress{w: w, total: total, began: time.Now()}
	p.shown = p.began
	p.terminal = isTerminal(w)
	return p
}

// step counts one more.
func (p *progress) step(what string) {
	p.done++
	interval := lineInterval
	if p.terminal {
		interval = barInterval
	}
	if now := time.Now(); now.Sub(p.shown) >= interval {
		p.shown = now
		p.show(what, now)
	}
}

// end shows where it has come to, and leaves the line.
func (p *progress) end(what string) {
	if p.terminal && p.total > 0 {
		p.show(what, time.Now())
		fmt.Fprintln(p.w)
	}
}

func (p *progress) show(what string, now time.Time) {
	line := progressLine(p.done, p.total, now.Sub(p.began), what)
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(p.w, line)
}

// progressLine is like
//
//	[########            ] 40 % of 500, 2.0/s, 2m30s left: 180 rendered, 20 there already
func progressLine(done, total int, took time.Duration, what string) string {
	const width = 20
	full := 0
	if total > 0 {
		full = width * done / total
	}
	rate := float64(done) / max(took.Seconds(), 0.001)
	left := "?"
	if done > 0 {
		left = (time.Duration(float64(total-done)/rate*1000) * time.Millisecond).Round(time.Second).String()
	}
	return fmt.Sprintf("[%s%s] %d %% of %d, %.1f/s, %s left: %s",
		strings.Repeat("#", full), strings.Repeat(" ", width-full), 100*done/max(total, 1), total, rate, left, what)
}
