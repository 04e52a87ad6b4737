package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// timeline is the picture of a render, in pixels: the phases, what the page's process
// did, and every request.
type timeline struct {
	Width, Height int
	Phases        []bar
	Process       []bar
	Legend        []bar
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
	total := time.Duration(0)
	for _, p := range r.Phases {
		total += p.Duration
	}
	total = max(total, time.Millisecond)
	x := func(d time.Duration) int { return chartLeft + int(int64(min(d, total))*chartWidth/int64(total)) }
	span := func(start, end time.Duration) (int, int) { return x(start), max(2, x(end)-x(start)) }
	t := timeline{Width: chartLeft + chartWidth + 80}

	at := time.Duration(0)
	for i, p := range r.Phases {
		left, width := span(at, at+p.Duration)
		t.Phases = append(t.Phases, bar{left, rowHeight, width, p.Name, fmt.Sprintf("%s: %v", p.Name, p.Duration.Round(100*time.Microsecond)), fmt.Sprint("phase", i%2)})
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
	if len(r.Work) > 0 {
		t.Process, t.Legend = process(r.Work, requests, opening, total)
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
		t.Requests = append(t.Requests, bar{left, (4 + i) * rowHeight, width, label(q), hint, class})
	}
	t.Height = (5 + len(t.Requests)) * rowHeight
	for i := range 5 {
		d := total * time.Duration(i) / 4
		t.Ticks = append(t.Ticks, tick{x(d), fmt.Sprintf("%d ms", d.Milliseconds())})
	}
	return t
}

// activity is what the page's process does at a time.
type activity int

const (
	scripts activity = iota
	browser
	network
	waiting
	activities
)

var activityNames = [activities]string{"scripts", "the browser: parsing, styles, layout", "waiting for requests", "waiting for what else takes real time"}

// process draws what the page's process did, a pixel for what it did longest in its
// time, and says what each has come to.
func process(work []Work, requests []Request, opening, total time.Duration) (row, legend []bar) {
	var spent [activities]time.Duration
	var columns [chartWidth][activities]time.Duration
	add := func(a activity, from, to time.Duration) {
		from, to = max(0, from), min(to, total)
		if to <= from {
			return
		}
		spent[a] += to - from
		at := func(column int64) time.Duration { return time.Duration(column * int64(total) / chartWidth) }
		for c := int64(from) * chartWidth / int64(total); c < chartWidth && at(c) < to; c++ {
			columns[c][a] += max(0, min(to, at(c+1))-max(from, at(c)))
		}
	}
	idle := func(from, to time.Duration) { // of it, what requests were under way for
		for _, q := range requests { // by their begin
			if q.End <= from || q.Start >= to {
				continue
			}
			add(waiting, from, q.Start)
			from = max(from, q.Start)
			add(network, from, min(to, q.End))
			from = min(to, q.End)
		}
		add(waiting, from, to)
	}
	from := time.Duration(0)
	for _, w := range work {
		start, end := w.Start-opening, w.End-opening
		idle(from, start)
		if w.Script != "" {
			add(scripts, start, end)
		} else {
			add(browser, start, end)
		}
		from = max(from, end)
	}
	idle(from, total)

	last := -1
	for c := range columns {
		longest := 0
		for a := range columns[c] {
			if columns[c][a] > columns[c][longest] {
				longest = a
			}
		}
		if longest != last {
			row = append(row, bar{chartLeft + c, 2 * rowHeight, 0, "", activityNames[longest], fmt.Sprint("activity", longest)})
			last = longest
		}
		row[len(row)-1].W++
	}
	at := 0
	for a, name := range activityNames {
		label := fmt.Sprintf("%s %d ms", name, spent[a].Milliseconds())
		legend = append(legend, bar{at, 3 * rowHeight, 10, label, "", fmt.Sprint("activity", a)})
		at += 24 + 6*len(label) // 11 px letters are about 6 px wide
	}
	return row, legend
}

// scriptTime is how long a script has run.
type scriptTime struct {
	URL  string
	Time time.Duration
}

// slowest are the scripts that took most of the time.
func slowest(work []Work) []scriptTime {
	const most = 10
	times := map[string]time.Duration{}
	for _, w := range work {
		if w.Script != "" {
			times[w.Script] += w.End - w.Start
		}
	}
	var list []scriptTime
	for url, d := range times {
		list = append(list, scriptTime{url, d})
	}
	slices.SortFunc(list, func(a, b scriptTime) int { return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.URL, b.URL)) })
	return list[:min(len(list), most)]
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
