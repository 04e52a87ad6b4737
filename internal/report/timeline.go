package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// timeline is the picture of a render, in pixels: the phases, when the browser
// was at work with no request under way, and every request.
type timeline struct {
	Width, Height int
	Phases        []bar
	Work          []bar
	Requests      []bar
	Ticks         []tick
	Hidden        int // requests that are not drawn
}

type bar struct {
	X, Y, W     int
	Label, Hint string
	Class       string
}

type tick struct {
	X     int
	Label string
}

const (
	chartLeft  = 260 // for the requests' names
	chartWidth = 640
	rowHeight  = 18
	mostRows   = 60
)

func newTimeline(r Report) timeline {
	// Getting a tab is not the page's doing.
	var opening time.Duration
	if len(r.Phases) > 0 && r.Phases[0].Name == "tab" {
		opening = r.Phases[0].Duration
		r.Phases = r.Phases[1:]
	}
	total := time.Millisecond
	for _, p := range r.Phases {
		total += p.Duration
	}
	x := func(d time.Duration) int { return chartLeft + int(int64(min(d, total))*chartWidth/int64(total)) }
	span := func(start, end time.Duration) (int, int) { return x(start), max(2, x(end)-x(start)) }
	t := timeline{Width: chartLeft + chartWidth + 80}

	at := time.Duration(0)
	ready := [2]time.Duration{}
	for i, p := range r.Phases {
		left, width := span(at, at+p.Duration)
		t.Phases = append(t.Phases, bar{left, rowHeight, width, p.Name, fmt.Sprintf("%s: %v", p.Name, p.Duration.Round(100*time.Microsecond)), fmt.Sprint("phase", i%2)})
		if p.Name == "ready" {
			ready = [2]time.Duration{at, at + p.Duration}
		}
		at += p.Duration
	}

	requests := slices.Clone(r.Requests)
	slices.SortStableFunc(requests, func(a, b Request) int { return cmp.Compare(a.Start, b.Start) })
	for i := range requests {
		q := &requests[i]
		q.Start = max(0, q.Start-opening)
		if q.End == 0 {
			q.End = total
		} else {
			q.End -= opening
		}
	}
	// The page's own work is what is left of the time to ready when no request is
	// under way: with virtual time, nobody waits for a timer.
	from := ready[0]
	for _, q := range requests {
		if q.Start > from && q.Start <= ready[1] {
			left, width := span(from, q.Start)
			t.Work = append(t.Work, bar{left, 2 * rowHeight, width, "", "scripts and layout, no request under way", "work"})
		}
		from = max(from, q.End)
	}
	if from < ready[1] {
		left, width := span(from, ready[1])
		t.Work = append(t.Work, bar{left, 2 * rowHeight, width, "", "scripts and layout, no request under way", "work"})
	}

	for i, q := range requests {
		if i == mostRows {
			t.Hidden = len(requests) - mostRows
			break
		}
		left, width := span(q.Start, q.End)
		class := "request"
		hint := fmt.Sprintf("%s %s: %d, %d bytes, %v to %v", q.Kind, q.URL, q.Status, q.Bytes, q.Start.Round(time.Millisecond), q.End.Round(time.Millisecond))
		if q.Failed != "" {
			class, hint = "failed", hint+", "+q.Failed
		}
		t.Requests = append(t.Requests, bar{left, (3 + i) * rowHeight, width, label(q), hint, class})
	}
	t.Height = (4 + len(t.Requests)) * rowHeight
	for i := range 5 {
		d := total * time.Duration(i) / 4
		t.Ticks = append(t.Ticks, tick{x(d), fmt.Sprintf("%d ms", d.Milliseconds())})
	}
	return t
}

// label is the end of an address, which tells more than its begin.
func label(q Request) string {
	const most = 36
	url := []rune(q.URL)
	if len(url) > most {
		url = append([]rune("…"), url[len(url)-most:]...)
	}
	return string(url)
}
