package chrome

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/profiler"
)

// Work is a time in which the page's process was at work, by samples of what it did.
// Start and End count from the render's begin.
type Work struct {
	Start, End time.Duration

	// Script is the address of the script that ran. Empty: the browser's own work, such
	// as parsing, styles and layout, or a script that has no address.
	Script string
}

// watchWork has the page's process sampled, if that is wanted, until the returned function
// is called. What cannot be had is left out: the page matters more.
func (l *load) watchWork(ctx context.Context, wanted bool) (taken func(context.Context) []Work) {
	none := func(context.Context) []Work { return nil }
	if !wanted {
		return none
	}
	if _, err := cdp.Call(ctx, l.tab.target, profiler.Enable, cdp.Empty{}); err != nil {
		return none
	}
	begin := time.Since(l.started)
	if _, err := cdp.Call(ctx, l.tab.target, profiler.Start, cdp.Empty{}); err != nil {
		return none
	}
	return func(ctx context.Context) []Work {
		res, err := cdp.Call(ctx, l.tab.target, profiler.Stop, cdp.Empty{})
		cdp.Call(ctx, l.tab.target, profiler.Disable, cdp.Empty{})
		if err != nil {
			return nil
		}
		return workOf(res.Profile, begin)
	}
}

// workOf makes intervals of samples. A sample says what runs until the next.
func workOf(p *profiler.Profile, begin time.Duration) []Work {
	if p == nil || len(p.Samples) != len(p.TimeDeltas) {
		return nil
	}
	nodes := map[int64]*profiler.ProfileNode{}
	for _, n := range p.Nodes {
		nodes[n.ID] = n
	}
	type sample struct {
		at   time.Duration
		node *profiler.ProfileNode
	}
	var samples []sample
	at := begin
	for i, id := range p.Samples {
		at += time.Duration(p.TimeDeltas[i]) * time.Microsecond
		samples = append(samples, sample{at, nodes[id]})
	}
	slices.SortStableFunc(samples, func(a, b sample) int { return cmp.Compare(a.at, b.at) }) // deltas may be negative
	end := begin + time.Duration(p.EndTime-p.StartTime)*time.Microsecond
	var work []Work
	for i, s := range samples {
		until := max(end, s.at)
		if i+1 < len(samples) {
			until = samples[i+1].at
		}
		if s.node == nil || s.node.CallFrame == nil || s.node.CallFrame.FunctionName == "(idle)" || until == s.at {
			continue
		}
		script := short(s.node.CallFrame.URL)
		if last := len(work) - 1; last >= 0 && work[last].End == s.at && work[last].Script == script {
			work[last].End = until
			continue
		}
		work = append(work, Work{s.at, until, script})
	}
	return work
}
