package report_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/report"
)

// fine is a page with nothing to complain about.
func fine() report.Report {
	text := strings.Repeat("A line of text that is long enough.\n", 5)
	view := report.View{
		Picture: []byte("picture"), Text: text, Meta: [][2]string{{"title", "Fine"}},
		Links: [][2]string{{"canonical", "https://shop.example/a/"}},
	}
	return report.Report{
		URL: "https://shop.example/a", Device: "desktop", At: time.Unix(0, 0), Status: 200, Header: http.Header{},
		Person: view, Bot: view,
		Phases: []report.Phase{{"tab", time.Second}, {"navigate", 10 * time.Millisecond}, {"ready", 90 * time.Millisecond}},
		Requests: []report.Request{
			{URL: "https://shop.example/a", Kind: "Document", Start: time.Second, End: time.Second + 10*time.Millisecond, Status: 200},
			{URL: "https://shop.example/events", Kind: "EventSource", Start: time.Second + 50*time.Millisecond},
		},
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*report.Report){
		"":             func(*report.Report) {},
		"Partial: ":    func(r *report.Report) { r.Partial = "its scripts" },
		"Status 404: ": func(r *report.Report) { r.Status = 404 },
		"Status 302: the bot is sent to /b.": func(r *report.Report) { // and nothing is said of a page
			r.Status, r.Person, r.Bot = 302, report.View{}, report.View{}
			r.Header.Set("Location", "/b")
		},
		"Empty: ":             func(r *report.Report) { r.Bot.Text = "Loading…" },
		"Less text: ":         func(r *report.Report) { r.Bot.Text = r.Bot.Text[:100] },
		"Noindex: ":           func(r *report.Report) { r.Bot.Meta = append(r.Bot.Meta, [2]string{"Robots", "NOINDEX"}) },
		"Noindex: the page ":  func(r *report.Report) { r.Header.Set("X-Robots-Tag", "noindex") },
		"Canonical elsewhere": func(r *report.Report) { r.Bot.Links[0][1] = "https://shop.example/b" },
		"Noindex: the page a": func(r *report.Report) { r.Header.Set("X-Robots-Tag", "max-snippet:-1, googlebot: nofollow none") },
		"Calls that failed: 2, the first of https://api.example/x (status 500).": func(r *report.Report) {
			r.Header.Set("X-Robots-Tag", "max-image-preview:none, noimageindex") // which says nothing of the page
			r.Requests = append(r.Requests, report.Request{URL: "https://api.example/x", Kind: "Fetch", Status: 500},
				report.Request{URL: "https://api.example/y", Kind: "XHR", Failed: "net::ERR_FAILED"}, report.Request{URL: "https://ads.example/", Kind: "Fetch", Failed: "blocked"})
		},
		"No title.":         func(r *report.Report) { r.Bot.Meta = nil },
		"Console errors: 2": func(r *report.Report) { r.Console = []string{"a", "b"} },
		"said the renderer": func(r *report.Report) { r.Warnings = []string{"said the renderer"} },
	} {
		r := fine()
		change(&r)
		got := strings.Join(report.Findings(r), "\n")
		if !strings.HasPrefix(got, want) || (want == "" || strings.HasSuffix(want, ".")) && got != want {
			t.Errorf("got %q, want it to begin with %q", got, want)
		}
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	marks := func(person, bot string) string {
		var b strings.Builder
		for _, l := range report.Diff(person, bot) {
			fmt.Fprintf(&b, "%c%s|", l.Mark, l.Text)
		}
		return b.String()
	}
	for _, tc := range [][3]string{
		{"", "", ""},
		{"a\nb", "a\nb", " a| b|"},
		{"a\nb\nc", "a\nc", " a|-b| c|"},
		{"a", "a\nb", " a|+b|"},
		{"a\nb", "c\nb", "-a|+c| b|"},
		{"", "b", "+b|"},
	} {
		if diff := cmp.Diff(tc[2], marks(tc[0], tc[1])); diff != "" {
			t.Errorf("%q and %q: %s", tc[0], tc[1], diff)
		}
	}
}

// The report stands alone, and nothing in it that a page has written is markup.
func TestWrite(t *testing.T) {
	t.Parallel()
	r := fine()
	const hostile = `</style><script>alert(1)</script>"><img src=x>`
	r.Bot.Text += hostile
	r.Bot.Meta = append(r.Bot.Meta, [2]string{hostile, hostile})
	r.Bot.Structured = []string{hostile}
	r.Console = []string{hostile}
	r.Requests = append(r.Requests, report.Request{URL: hostile, Kind: "Script", Failed: "net::ERR_FAILED"})
	r.Header.Set("X-Robots-Tag", hostile)
	var b strings.Builder
	if err := report.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	html := b.String()
	for _, s := range []string{"<script", "<img src=x", `src="http`, `href=`, "url("} {
		if strings.Contains(html, s) {
			t.Errorf("the report has %q", s)
		}
	}
	for _, s := range []string{"data:image/jpeg;base64,", "&lt;script&gt;alert(1)", "net::ERR_FAILED", `<rect class="failed"`, "navigate", `<tr class="differs"><th>&lt;/style&gt;`} {
		if !strings.Contains(html, s) {
			t.Errorf("the report lacks %q", s)
		}
	}
}

// The picture tells what the page's process did from what it waited for.
func TestWork(t *testing.T) {
	t.Parallel()
	ms := func(n int) time.Duration { return time.Second + time.Duration(n)*time.Millisecond }
	r := fine() // of 100 ms; a request to 10, and one from 50 that has not ended
	r.Work = []report.Work{
		{ms(10), ms(30), "https://shop.example/app.js"},
		{ms(30), ms(35), ""},
		{ms(60), ms(65), "https://shop.example/app.js"},
		{ms(65), ms(66), "https://shop.example/other.js"},
	}
	var b strings.Builder
	if err := report.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		">scripts 26 ms<", "layout 5 ms<", ">waiting for requests 54 ms<", "real time 15 ms<",
		"app.js</td><td>25 ms<", "other.js</td><td>1 ms<",
		`<rect class="activity0" x="324" y="36" width="128"`, // 64 px for 10 ms, and 4 of them before
	} {
		if !strings.Contains(b.String(), s) {
			t.Errorf("the report lacks %q", s)
		}
	}
}
