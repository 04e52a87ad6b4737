package main

import (
	"encoding/json"
	"fmt"
	"net/http"
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
