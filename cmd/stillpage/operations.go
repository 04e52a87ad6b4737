package main

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

func pageExplain(o *operator) error {
	var e control.Explanation
	shown, err := o.get("/v1/pages/explanation", values("url", o.Args[0], "agent", o.Agent, "language", o.Language), &e)
	if shown || err != nil {
		return err
	}
	fmt.Fprintf(o.stdout, "%s\n", e.Would)
	for _, because := range e.Because {
		fmt.Fprintf(o.stdout, "  %s\n", plain(because))
	}
	return nil
}

func pageList(o *operator) error {
	var rows [][]string
	err := o.pages("/v1/pages", values("site", hostOf(o.Args[0]), "q", o.Search, "state", o.State), func(body []byte) (int, string, error) {
		var list struct {
			Pages []struct {
				prerender.Listed
				URL, Device, Language, State string
			}
			Next string
		}
		err := json.Unmarshal(body, &list)
		for _, p := range list.Pages {
			rows = append(rows, []string{p.URL, strings.TrimSpace(p.Device + " " + p.Language), p.State, strconv.Itoa(p.Status), at(p.RenderedAt), strconv.Itoa(p.Size)})
		}
		return len(list.Pages), list.Next, err
	})
	if err != nil || o.JSON {
		return err
	}
	o.table("PAGE | FOR | STATE | STATUS | RENDERED | BYTES", rows)
	return nil
}

func at(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func pageHTML(o *operator) error {
	answer, err := o.client.Ask(o.ctx, http.MethodGet, "/v1/pages/html", values("url", o.Args[0], "device", o.Device, "language", o.Language), nil, nil)
	if err == nil {
		_, err = o.stdout.Write(answer.Body)
	}
	return err
}

func pageCompare(o *operator) error {
	var c struct {
		Status    int
		Ended     string
		Findings  []string
		Text      []struct{ Mark, Text string }
		Stored    []struct{ Mark, Text string }
		Same      bool
		HTMLBytes int
	}
	shown, err := o.ask(http.MethodPost, "/v1/comparisons", nil, map[string]string{"url": o.Args[0], "device": o.Device, "language": o.Language}, &c)
	if shown || err != nil {
		return err
	}
	fmt.Fprintf(o.stdout, "Status %d, %d bytes of HTML. The page was taken because %s.\n", c.Status, c.HTMLBytes, plain(c.Ended))
	for _, finding := range c.Findings {
		fmt.Fprintf(o.stdout, "  ! %s\n", plain(finding))
	}
	fmt.Fprintln(o.stdout, "\nThe text: - only a person sees it, + only the bot gets it")
	differs := false
	for _, l := range c.Text {
		if l.Mark != " " {
			differs = true
			fmt.Fprintf(o.stdout, "  %s %s\n", l.Mark, plain(l.Text))
		}
	}
	if !differs {
		fmt.Fprintln(o.stdout, "  the same")
	}
	if c.Same {
		fmt.Fprintln(o.stdout, "\nThe stored page has the same bytes as the new render.")
	} else if len(c.Stored) > 0 {
		fmt.Fprintln(o.stdout, "\nThe HTML: - only in the stored page, + only in the new render")
		for _, l := range c.Stored {
			fmt.Fprintf(o.stdout, "  %s %s\n", l.Mark, plain(l.Text))
		}
	}
	return nil
}

func pageRender(o *operator) error {
	return o.order(http.MethodPost, "/v1/renders", nil, control.PageOrder{URL: o.Args[0]})
}

func pageDelete(o *operator) error {
	return o.order(http.MethodDelete, "/v1/pages", values("url", o.Args[0]), nil)
}

// order gives an order and says what has become of its job. A job that has failed is an
// error.
func (o *operator) order(method, path string, query url.Values, body any) error {
	var job control.Job
	shown, err := o.ask(method, path, query, body, &job)
	if shown || err != nil {
		return err
	}
	fmt.Fprintln(o.stdout, describe(job))
	if job.State == control.Failed {
		return errors.New(strings.Join(job.Progress.Faults, "; "))
	}
	return nil
}

// warmths are what has become of pages, in words.
var warmths = map[prerender.Warmth]string{
	prerender.Queued: "queued to be rendered", prerender.Warm: "fresh already", prerender.Idle: "left alone, because nobody asks for them", prerender.Foreign: "not the site's", prerender.Made: "rendered",
}

func describe(job control.Job) string {
	text := fmt.Sprintf("job %s: %s, %s", job.ID, job.Kind, job.State)
	for _, name := range slices.Sorted(maps.Keys(job.Progress.Pages)) {
		text += fmt.Sprintf(", %d %s", job.Progress.Pages[name], cmp.Or(warmths[name], string(name)))
	}
	return text
}

// findOrigin replaces a host, as the first argument, by the origin of its site.
func (o *operator) findOrigin() error {
	if strings.Contains(o.Args[0], "://") {
		return nil
	}
	answer, err := o.client.Ask(o.ctx, http.MethodGet, sitePath(o.Args[0]), nil, nil, nil)
	if err != nil {
		return err
	}
	var site struct{ Origin string }
	err = json.Unmarshal(answer.Body, &site)
	o.Args[0] = site.Origin
	return err
}

// hostOf takes a host or an origin.
func hostOf(argument string) string {
	if _, host, ok := strings.Cut(argument, "://"); ok {
		return strings.TrimSuffix(host, "/")
	}
	return argument
}

func purge(o *operator) error {
	if err := o.findOrigin(); err != nil {
		return err
	}
	order := map[string]any{"site": o.Args[0], "path": o.Path, "tag": o.Tag, "hard": o.Hard, "again": o.Again, "dryRun": o.DryRun}
	if o.DryRun {
		var count struct {
			Pages    int
			Complete bool
		}
		shown, err := o.ask(http.MethodPost, "/v1/purges", nil, order, &count)
		if err == nil && !shown {
			fmt.Fprintf(o.stdout, "%d stored pages would be purged%s\n", count.Pages, map[bool]string{false: ", or more: there was no time to look at all"}[count.Complete])
		}
		return err
	}
	if o.Path == "" && o.Tag == "" {
		if err := o.confirm("Purge all pages of " + o.Args[0] + "?"); err != nil {
			return err
		}
	}
	return o.follow(http.MethodPost, "/v1/purges", order)
}

// warmSite is `stillpage warm ORIGIN [URL…]`: it has an installation render pages unasked.
func warmSite(o *operator) error {
	if err := o.findOrigin(); err != nil {
		return err
	}
	order := map[string]any{"site": o.Args[0]}
	if urls := o.Args[1:]; len(urls) > 0 {
		order["urls"] = urls
	}
	if len(o.Sitemaps) > 0 {
		order["sitemaps"] = o.Sitemaps
	}
	return o.follow(http.MethodPost, "/v1/warmings", order)
}

// followEvery is how often a job is looked at.
const followEvery = time.Second

// follow gives an order and shows how far its job is until it is over. Who stops looking
// does not stop the job.
func (o *operator) follow(method, path string, body any) error {
	answer, err := o.client.Ask(o.ctx, method, path, nil, nil, body)
	if err != nil {
		return err
	}
	var job control.Job
	if err := json.Unmarshal(answer.Body, &job); err != nil {
		return err
	}
	last, faults := "", 0
	for !job.State.Over() {
		if text := describe(job); text != last {
			fmt.Fprintln(o.stderr, text)
			last = text
		}
		for ; faults < len(job.Progress.Faults); faults++ {
			fmt.Fprintln(o.stderr, "  "+plain(job.Progress.Faults[faults]))
		}
		select {
		case <-time.After(followEvery):
		case <-o.ctx.Done():
			return fmt.Errorf("not followed any more; `stillpage job get %s` says how far it is", job.ID)
		}
		if answer, err = o.client.Ask(o.ctx, http.MethodGet, "/v1/jobs/"+job.ID, nil, nil, nil); err != nil {
			return err
		}
		if err := json.Unmarshal(answer.Body, &job); err != nil {
			return err
		}
	}
	if o.JSON {
		o.stdout.Write(answer.Body)
	} else {
		fmt.Fprintln(o.stdout, describe(job))
	}
	if job.State != control.Done {
		return fmt.Errorf("the job is %s: %s", job.State, strings.Join(job.Progress.Faults, "; "))
	}
	return nil
}

func jobList(o *operator) error {
	var rows [][]string
	err := o.pages("/v1/jobs", values("site", hostOf(o.Site)), func(body []byte) (int, string, error) {
		var list struct {
			Jobs []control.Job
			Next string
		}
		err := json.Unmarshal(body, &list)
		for _, j := range list.Jobs {
			rows = append(rows, []string{j.ID, string(j.Kind), j.Site, string(j.State), at(j.CreatedAt), j.Actor})
		}
		return len(list.Jobs), list.Next, err
	})
	if err != nil || o.JSON {
		return err
	}
	o.table("JOB | KIND | SITE | STATE | ORDERED | BY", rows)
	return nil
}

func jobGet(o *operator) error {
	return o.order(http.MethodGet, "/v1/jobs/"+url.PathEscape(o.Args[0]), nil, nil)
}

func jobCancel(o *operator) error {
	return o.order(http.MethodDelete, "/v1/jobs/"+url.PathEscape(o.Args[0]), nil, nil)
}

func tokenList(o *operator) error {
	var list struct{ Tokens []control.Token }
	shown, err := o.get("/v1/tokens", nil, &list)
	if shown || err != nil {
		return err
	}
	var rows [][]string
	for _, t := range list.Tokens {
		rows = append(rows, []string{t.ID, t.Name, string(t.Use), cmp.Or(strings.Join(t.Sites, ","), "all"), at(t.UsedAt), at(t.ExpiresAt)})
	}
	o.table("ID | NAME | USE | SITES | USED LAST | EXPIRES", rows)
	return nil
}

func tokenMake(o *operator) error {
	order := map[string]any{"name": o.Args[0], "use": o.Use}
	if len(o.Sites) > 0 {
		for i := range o.Sites {
			o.Sites[i] = hostOf(o.Sites[i])
		}
		order["sites"] = o.Sites
	}
	if o.ExpiresIn > 0 {
		order["expiresAt"] = time.Now().Add(o.ExpiresIn).UTC().Truncate(time.Second)
	}
	var made struct{ ID, Token string }
	shown, err := o.ask(http.MethodPost, "/v1/tokens", nil, order, &made)
	if shown || err != nil {
		return err
	}
	fmt.Fprintf(o.stderr, "Token %s, which is shown this once:\n", made.ID)
	fmt.Fprintln(o.stdout, made.Token)
	return nil
}

func tokenRevoke(o *operator) error {
	if err := o.confirm("Revoke token " + o.Args[0] + "?"); err != nil {
		return err
	}
	_, err := o.ask(http.MethodDelete, "/v1/tokens/"+url.PathEscape(o.Args[0]), nil, nil, nil)
	if err == nil && o.JSON {
		fmt.Fprintln(o.stdout, "{}")
	} else if err == nil {
		fmt.Fprintln(o.stdout, "revoked; instances notice within ten seconds")
	}
	return err
}

func auditList(o *operator) error {
	var rows [][]string
	query := values("site", hostOf(o.Site), "actor", o.Actor, "action", o.Action, "since", o.Since, "until", o.Until)
	err := o.pages("/v1/events", query, func(body []byte) (int, string, error) {
		var list struct {
			Events []control.Event
			Next   string
		}
		err := json.Unmarshal(body, &list)
		for _, e := range list.Events {
			rows = append(rows, []string{strconv.FormatInt(e.Number, 10), at(e.At), e.Actor, e.From, e.Action, e.Site, changesOf(e.Changes)})
		}
		return len(list.Events), list.Next, err
	})
	if err != nil || o.JSON {
		return err
	}
	o.table("EVENT | AT | ACTOR | FROM | ACTION | SITE | CHANGED", rows)
	return nil
}

// changesOf names what was changed, in a line.
func changesOf(changes []control.Change) string {
	var names []string
	for _, c := range changes {
		if c.Pointer == "" {
			text, _ := json.Marshal(cmp.Or[any](c.After, c.Before)) // it came from JSON
			names = append(names, string(text))
			continue
		}
		names = append(names, c.Pointer)
	}
	return strings.Join(names, " ")
}

// export reads the chain of an installation, part by part.
func (o *operator) export(found func(control.Link)) (head string, _ error) {
	query := url.Values{}
	for {
		answer, err := o.client.Ask(o.ctx, http.MethodGet, "/v1/events/export", query, nil, nil)
		if err != nil {
			return "", err
		}
		if err := eachLink(strings.NewReader(string(answer.Body)), found); err != nil {
			return "", err
		}
		next := answer.Header.Get("X-Next-Cursor")
		if next == "" {
			return answer.Header.Get("X-Audit-Head"), nil
		}
		query.Set("cursor", next)
	}
}

func eachLink(r io.Reader, found func(control.Link)) error {
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if len(strings.TrimSpace(string(line))) > 0 {
			var link control.Link
			if err := json.Unmarshal(line, &link); err != nil {
				return fmt.Errorf("line %d is no event: %w", n, err)
			}
			found(link)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func auditExport(o *operator) error {
	encoder := json.NewEncoder(o.stdout)
	_, err := o.export(func(link control.Link) { encoder.Encode(link) })
	return err
}

// auditVerify looks at every event itself: an installation that was tampered with is not
// believed.
func auditVerify(o *operator) error {
	var v control.Verifier
	if o.Head != "" {
		number, hash, ok := strings.Cut(o.Head, ":")
		n, err := strconv.ParseInt(number, 10, 64)
		if raw, hexErr := hex.DecodeString(hash); err != nil || !ok || hexErr != nil || len(raw) != sha256.Size {
			return usageError{fmt.Errorf("--head %q must be a number, a colon and a hash of 64 hexadecimal digits, as `stillpage audit verify` prints it", o.Head)}
		}
		v.Known = control.Head{Number: n, Hash: hash}
	}
	var err error
	if o.File != "" {
		var file *os.File
		if file, err = os.Open(o.File); err == nil {
			err = eachLink(file, v.Add)
			file.Close()
		}
	} else {
		var known string
		known, err = o.export(v.Add)
		if end := fmt.Sprintf("%d %s", v.Head.Number, v.Head.Hash); err == nil && known != end && v.Head.Number > 0 {
			err = fmt.Errorf("the chain is broken: it ends with %s, and the installation says with %s", end, known)
		}
	}
	if err != nil {
		return err
	}
	v.End()
	if o.File != "" && v.Head.Number == 0 {
		return fmt.Errorf("%s has no events", o.File)
	}
	if o.JSON {
		json.NewEncoder(o.stdout).Encode(map[string]any{"good": len(v.Faults) == 0, "head": v.Head, "faults": append([]string{}, v.Faults...)})
	} else if len(v.Faults) == 0 {
		fmt.Fprintf(o.stdout, "%d events are as they were written. Note the end of the chain, for --head next time: it shows that nothing before it was written anew.\n%d:%s\n", v.Head.Number, v.Head.Number, v.Head.Hash)
	}
	if len(v.Faults) > 0 {
		return errors.New("the chain is broken:\n  " + strings.Join(v.Faults, "\n  "))
	}
	return nil
}

func stats(o *operator) error {
	step, length := "hour", time.Hour
	if o.Days > 8 {
		step, length = "day", 24*time.Hour
	}
	now := time.Now().UTC()
	var s struct {
		Total struct {
			Requests, Renders  int64
			Refusals, Outcomes map[string]int64
			Agents             map[string]struct {
				Requests int64
				HitRatio float64
				Latency  struct{ P95 float64 }
			}
			HitRatio            float64
			Latency, RenderTime struct{ P50, P95, P99 float64 }
			Money               struct{ Spent, Saved float64 }
			Slow, Failing       []struct {
				URL, Reason string
				Count, MS   int64
			}
		}
	}
	query := values("site", hostOf(o.Site), "step", step, "from", now.Add(-time.Duration(o.Days)*24*time.Hour).Add(length/2).Format(time.RFC3339), "to", now.Format(time.RFC3339))
	shown, err := o.get("/v1/stats", query, &s)
	if shown || err != nil {
		return err
	}
	t := s.Total
	if t.Requests == 0 {
		fmt.Fprintln(o.stderr, "Nothing was counted in this time. What is asked for is counted every ten seconds.")
	}
	o.table("OF THE LAST | "+map[bool]string{true: "day", false: strconv.Itoa(o.Days) + " days"}[o.Days == 1], [][]string{
		{"requests", strconv.FormatInt(t.Requests, 10)}, {"from the store", fmt.Sprintf("%.1f %%", 100*t.HitRatio)},
		{"answered within", fmt.Sprintf("p50 %.0f ms, p95 %.0f ms, p99 %.0f ms", t.Latency.P50, t.Latency.P95, t.Latency.P99)},
		{"renders", fmt.Sprintf("%d, p50 %.0f ms, p95 %.0f ms", t.Renders, t.RenderTime.P50, t.RenderTime.P95)},
		{"spent, by AWS prices", fmt.Sprintf("$%.4f", t.Money.Spent)}, {"saved by the store", fmt.Sprintf("$%.4f", t.Money.Saved)},
	})
	agents := map[string]int64{}
	for name, a := range t.Agents {
		agents[name] = a.Requests
	}
	if rows := ranked(agents); len(rows) > 0 {
		fmt.Fprintln(o.stdout)
		for i, name := range slices.SortedFunc(maps.Keys(agents), func(a, b string) int { return cmp.Or(cmp.Compare(agents[b], agents[a]), strings.Compare(a, b)) }) {
			rows[i] = append(rows[i], fmt.Sprintf("%.1f %%", 100*t.Agents[name].HitRatio), fmt.Sprintf("%.0f ms", t.Agents[name].Latency.P95))
		}
		o.table("AGENT | REQUESTS | FROM THE STORE | P95", rows)
	}
	for _, part := range []struct {
		name   string
		counts map[string]int64
	}{{"OUTCOME OF RENDERS", t.Outcomes}, {"REFUSED BECAUSE", t.Refusals}} {
		if len(part.counts) > 0 {
			fmt.Fprintln(o.stdout)
			o.table(part.name+" | TIMES", ranked(part.counts))
		}
	}
	var worst [][]string
	for _, p := range t.Failing {
		worst = append(worst, []string{p.URL, p.Reason, strconv.FormatInt(p.Count, 10)})
	}
	if len(worst) > 0 {
		fmt.Fprintln(o.stdout)
		o.table("FAILING PAGE | WHY | TIMES", worst)
	}
	return nil
}

func ranked(counts map[string]int64) [][]string {
	var rows [][]string
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b)) })
	for _, name := range names {
		rows = append(rows, []string{cmp.Or(name, "none of the known ones"), strconv.FormatInt(counts[name], 10)})
	}
	return rows
}
