// Package report writes the page with which a team finds out why its page looks
// wrong to bots: what a person sees beside what the bot gets, and what happened
// on the way. It draws; what is in it was found out by package chrome. The page
// needs no network and no script.
package report

import (
	"cmp"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Report is what is known of a page.
type Report struct {
	URL, Device string
	At          time.Time
	Status      int
	Header      http.Header
	Partial     string // what the page was waiting for; empty: it is complete
	Ended       string // why the page was taken when it was
	HTML        []byte
	Person, Bot View
	Phases      []Phase
	Requests    []Request
	Work        []Work
	Console     []string
	Warnings    []string // of the renderer, beside those that this package finds
}

// View is what a browser shows.
type View struct {
	Picture    []byte // JPEG
	Text       string // a line a block
	Meta       [][2]string
	Links      [][2]string
	Structured []string
}

// Phase is a part of the render's time.
type Phase struct {
	Name     string
	Duration time.Duration
}

// Work is a time in which the page's process was at work. Script is the address of what
// ran; empty: the browser's own work.
type Work struct {
	Start, End time.Duration
	Script     string
}

// Request is one of the page's. An End of zero: it had not ended.
type Request struct {
	URL, Kind  string
	Start, End time.Duration
	Status     int
	Bytes      int64
	Failed     string
}

//go:embed report.html
var page string

var tmpl = template.Must(template.New("report").Funcs(template.FuncMap{
	"picture": func(b []byte) template.URL {
		return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(b))
	},
	"ms": func(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond)) },
}).Parse(page))

// Write writes the report as one HTML page.
func Write(w io.Writer, r Report) error {
	data := struct {
		Report
		Findings []string
		Diff     []Line
		Timeline timeline
		Scripts  []scriptTime
		Head     []headLine
		Failures []Request
	}{r, Findings(r), Diff(r.Person.Text, r.Bot.Text), newTimeline(r), slowest(r.Work), head(r.Person, r.Bot), nil}
	for _, q := range r.Requests {
		if q.hasFailed() {
			data.Failures = append(data.Failures, q)
		}
	}
	if err := tmpl.Execute(w, data); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// hasFailed says whether a part of the page did not come.
func (q Request) hasFailed() bool { return q.Failed != "" || q.Kind != "Document" && q.Status >= 400 }

// headLine is what two views say of the same.
type headLine struct {
	Name        string
	Person, Bot []string
	Differs     bool
}

// head lays meta and links of two views side by side.
func head(person, bot View) []headLine {
	var lines []headLine
	at := map[string]int{}
	line := func(name string) *headLine {
		if _, ok := at[name]; !ok {
			at[name] = len(lines)
			lines = append(lines, headLine{Name: name})
		}
		return &lines[at[name]]
	}
	for _, pair := range slices.Concat(bot.Meta, bot.Links) {
		l := line(pair[0])
		l.Bot = append(l.Bot, pair[1])
	}
	for _, pair := range slices.Concat(person.Meta, person.Links) {
		l := line(pair[0])
		l.Person = append(l.Person, pair[1])
	}
	for i := range lines {
		lines[i].Differs = !slices.Equal(lines[i].Person, lines[i].Bot)
	}
	return lines
}

// Findings are what the team should know first.
func Findings(r Report) []string {
	var f []string
	found := func(format string, args ...any) { f = append(f, fmt.Sprintf(format, args...)) }
	if r.Partial != "" {
		found("Partial: the page did not finish. It was waiting for %s.", r.Partial)
	}
	if r.Status >= 400 {
		found("Status %d: search engines drop such a page.", r.Status)
	}
	if r.Status >= 300 && r.Status < 400 {
		found("Status %d: the bot is sent to %s.", r.Status, r.Header.Get("Location"))
		return append(f, r.Warnings...) // there is no page
	}
	person, bot := len(r.Person.Text), len(r.Bot.Text)
	switch {
	case bot < 50:
		found("Empty: the bot gets %d characters of text.", bot)
	case person > 0 && bot*10 < person*9:
		found("Less text: the bot gets %d characters, a person %d.", bot, person)
	}
	robots := r.Header.Values("X-Robots-Tag")
	for _, m := range r.Bot.Meta {
		if slices.Contains([]string{"robots", "googlebot", "bingbot"}, strings.ToLower(m[0])) {
			robots = append(robots, m[1])
		}
	}
	if slices.ContainsFunc(robots, isNoindex) {
		found("Noindex: the page asks not to be found (%s).", strings.Join(robots, ", "))
	}
	for _, l := range r.Bot.Links {
		if strings.EqualFold(l[0], "canonical") && !samePage(l[1], r.URL) {
			found("Canonical elsewhere: the page says that it is %s.", l[1])
		}
	}
	if title := value(r.Bot.Meta, "title"); title == "" {
		found("No title.")
	}
	calls, first := 0, Request{}
	for _, q := range r.Requests {
		if (q.Kind == "Fetch" || q.Kind == "XHR") && q.hasFailed() && q.Failed != "blocked" {
			if calls++; calls == 1 {
				first = q
			}
		}
	}
	if calls > 0 {
		found("Calls that failed: %d, the first of %s (%s).", calls, first.URL, cmp.Or(first.Failed, fmt.Sprint("status ", first.Status)))
	}
	if n := len(r.Console); n > 0 {
		found("Console errors: %d, listed below.", n)
	}
	return append(f, r.Warnings...)
}

// isNoindex reads the value of a robots meta or of X-Robots-Tag: directives, some with a
// value behind a colon, where the header may have a crawler's name before one.
func isNoindex(robots string) bool {
	withValue := regexp.MustCompile(`(max-[a-z-]+|unavailable_after)\s*:[^,]*`)
	words := strings.FieldsFunc(withValue.ReplaceAllString(strings.ToLower(robots), ""), func(r rune) bool { return strings.ContainsRune(", :\t", r) })
	return slices.Contains(words, "noindex") || slices.Contains(words, "none")
}

func value(pairs [][2]string, name string) string {
	for _, p := range pairs {
		if strings.EqualFold(p[0], name) {
			return strings.TrimSpace(p[1])
		}
	}
	return ""
}

// samePage compares addresses but for the fragment and a slash at the end.
func samePage(a, b string) bool {
	norm := func(s string) string {
		u, err := url.Parse(s)
		if err != nil {
			return s
		}
		u.Fragment = ""
		u.Path = strings.TrimSuffix(u.Path, "/")
		return strings.ToLower(u.Scheme+"://"+u.Host) + u.EscapedPath() + "?" + u.RawQuery
	}
	return norm(a) == norm(b)
}
