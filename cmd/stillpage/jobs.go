package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

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
