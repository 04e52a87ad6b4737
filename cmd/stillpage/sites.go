package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/stillpage/stillpage/internal/adminclient"
	"github.com/stillpage/stillpage/internal/control"
)

func siteList(o *operator) error {
	var rows [][]string
	err := o.pages("/v1/sites", values("q", o.Search), func(body []byte) (int, string, error) {
		var list struct {
			Sites []struct {
				Origin  string
				Version int64
			}
			Next string
		}
		err := json.Unmarshal(body, &list)
		for _, s := range list.Sites {
			rows = append(rows, []string{s.Origin, map[bool]string{true: "configured", false: "as flags or the template say"}[s.Version != 0]})
		}
		return len(list.Sites), list.Next, err
	})
	if err != nil || o.JSON {
		return err
	}
	o.table("SITE | SETTINGS", rows)
	return nil
}

func sitePath(site string) string { return "/v1/sites/" + url.PathEscape(hostOf(site)) }

func siteGet(o *operator) error {
	answer, err := o.client.Ask(o.ctx, http.MethodGet, sitePath(o.Args[0]), nil, nil, nil)
	if err != nil {
		return err
	}
	if o.JSON {
		_, err = o.stdout.Write(answer.Body)
		return err
	}
	var site any
	if err := json.Unmarshal(answer.Body, &site); err != nil {
		return err
	}
	text, err := yaml.Marshal(map[string]any{"sites": []any{site}})
	if err == nil {
		_, err = o.stdout.Write(text)
	}
	return err
}

// mostFile bounds a file of sites, in bytes.
const mostFile = 16 << 20

const sitesExample = "it must be like\nsites:\n  - origin: https://www.example.com"

// readSites reads a file like
//
//	sites:
//	  - origin: https://www.example.com
//	    vary: {mobile: true}
//
// in YAML, of which JSON is a part.
func readSites(o *operator) ([]json.RawMessage, error) {
	if o.File == "" {
		return nil, usageError{errors.New("give --file FILE, or --file - for standard input")}
	}
	in := o.stdin
	if o.File != "-" {
		file, err := os.Open(o.File)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, mostFile))
	if err != nil {
		return nil, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var tree map[string]any
	if err := decoder.Decode(&tree); err == io.EOF {
		return nil, fmt.Errorf("%s is empty; %s", o.File, sitesExample)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w; %s", o.File, err, sitesExample)
	}
	if err := decoder.Decode(new(any)); err != io.EOF {
		return nil, fmt.Errorf("%s has more than one document; write all sites into one list", o.File)
	}
	sites, isList := tree["sites"].([]any)
	for name := range tree {
		if name != "sites" {
			return nil, fmt.Errorf("%s: /%s: is not known; %s", o.File, name, sitesExample)
		}
	}
	if !isList || len(sites) == 0 {
		return nil, fmt.Errorf("%s names no sites; %s", o.File, sitesExample)
	}
	documents := make([]json.RawMessage, len(sites))
	for i, site := range sites {
		if documents[i], err = json.Marshal(site); err != nil {
			return nil, fmt.Errorf("%s: /sites/%d: %w", o.File, i, err)
		}
	}
	return documents, nil
}

// change is a site that a file changes.
type change struct {
	host     string
	etag     string
	document json.RawMessage
	changes  []control.Change
}

// siteApply shows what a file changes, and asks before it does. Whatever is wrong with it
// is said first; then nothing is changed. Sites that it does not name stay as they are.
func siteApply(o *operator) error {
	documents, err := readSites(o)
	if err != nil {
		return err
	}
	var faults []error
	var plan []change
	hosts := map[string]int{}
	for i, document := range documents {
		c, err := o.plan(document, fmt.Sprintf("%s: /sites/%d", o.File, i))
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if first, known := hosts[c.host]; known {
			faults = append(faults, fmt.Errorf("%s: /sites/%d/origin: is the same site as /sites/%d", o.File, i, first))
			continue
		}
		hosts[c.host] = i
		if len(c.changes) > 0 {
			plan = append(plan, c)
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	o.show(plan)
	if len(plan) == 0 || o.DryRun {
		return nil
	}
	if err := o.confirm(fmt.Sprintf("Change %d of %d sites?", len(plan), len(documents))); err != nil {
		return err
	}
	for done, c := range plan {
		if _, err := o.client.Ask(o.ctx, http.MethodPut, sitePath(c.host), nil, http.Header{"If-Match": {c.etag}}, c.document); err != nil {
			return fmt.Errorf("%s: %w (%d of %d sites were changed)", c.host, err, done, len(plan))
		}
		fmt.Fprintln(o.stderr, "changed", c.host)
	}
	return nil
}

// plan reads what is stored, and asks what the document would change. What is wrong with
// it is said with its place.
func (o *operator) plan(document json.RawMessage, place string) (change, error) {
	site, faults := control.ParseSite(document)
	if len(faults) > 0 {
		var errs []error
		for _, f := range faults {
			errs = append(errs, fmt.Errorf("%s%s: %s", place, f.Pointer, f.Detail))
		}
		return change{}, errors.Join(errs...)
	}
	c := change{host: site.Origin.Host, etag: `"0"`, document: document}
	answer, err := o.client.Ask(o.ctx, http.MethodGet, sitePath(c.host), nil, nil, nil)
	if err == nil {
		c.etag = answer.Header.Get("ETag")
	} else if !isMissing(err) {
		return c, fmt.Errorf("%s: %w", place, err)
	}
	answer, err = o.client.Ask(o.ctx, http.MethodPost, sitePath(c.host)+"/validation", nil, nil, document)
	if err != nil {
		return c, fmt.Errorf("%s: %w", place, err)
	}
	var verdict struct{ Changes []control.Change }
	err = json.Unmarshal(answer.Body, &verdict)
	c.changes = verdict.Changes
	return c, err
}

// isMissing says whether the API has answered 404.
func isMissing(err error) bool {
	var problem *adminclient.Problem
	return errors.As(err, &problem) && problem.Status == http.StatusNotFound
}

func (o *operator) show(plan []change) {
	if o.JSON {
		out := []any{}
		for _, c := range plan {
			out = append(out, map[string]any{"site": c.host, "changes": c.changes})
		}
		json.NewEncoder(o.stdout).Encode(map[string]any{"sites": out})
		return
	}
	if len(plan) == 0 {
		fmt.Fprintln(o.stdout, "Nothing to change.")
	}
	for _, c := range plan {
		fmt.Fprintln(o.stdout, c.host)
		for _, change := range c.changes {
			before, after := text(change.Before), text(change.After)
			fmt.Fprintf(o.stdout, "  %s: %s → %s\n", change.Pointer, before, after)
		}
	}
}

func text(value any) string {
	if value == nil {
		return "not set"
	}
	document, _ := json.Marshal(value) // it came from JSON
	return string(document)
}

func siteDelete(o *operator) error {
	answer, err := o.client.Ask(o.ctx, http.MethodGet, sitePath(o.Args[0]), nil, nil, nil)
	if err != nil {
		return err
	}
	header := http.Header{"If-Match": {answer.Header.Get("ETag")}}
	if answer, err = o.client.Ask(o.ctx, http.MethodDelete, sitePath(o.Args[0]), values("dryRun", "true"), header, nil); err != nil {
		return err
	}
	var verdict struct{ Changes []control.Change }
	if err := json.Unmarshal(answer.Body, &verdict); err != nil {
		return err
	}
	o.show([]change{{host: o.Args[0], changes: verdict.Changes}})
	if o.DryRun {
		return nil
	}
	if err := o.confirm("Delete what is stored of " + o.Args[0] + "?"); err != nil {
		return err
	}
	_, err = o.client.Ask(o.ctx, http.MethodDelete, sitePath(o.Args[0]), nil, header, nil)
	return err
}

// siteSchema prints a schema of the file, in which that of a site is a resource of its own.
func siteSchema(o *operator) error {
	var site map[string]any
	if err := json.Unmarshal(control.SiteSchema, &site); err != nil {
		return err
	}
	site["$id"] = "site.schema.json"
	encoder := json.NewEncoder(o.stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Sites of Stillpage, for `stillpage site apply`",
		"type": "object", "required": []string{"sites"}, "additionalProperties": false,
		"properties": map[string]any{"sites": map[string]any{"type": "array", "items": map[string]any{"$ref": "site.schema.json"}}},
		"$defs":      map[string]any{"site": site},
	})
}
