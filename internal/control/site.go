// Package control is what operators may do: it reads and judges what they write.
package control

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/strictjson"
	"github.com/stillpage/stillpage/internal/useragent"
)

// ParseSite reads a site as an owner writes it (docs/serving.md) and says everything
// that is wrong with it. Its purges and its version are not the owner's to write.
func ParseSite(document []byte) (prerender.Site, []strictjson.Fault) {
	var site prerender.Site
	j := &judge{wrong: strictjson.Decode(document, &site)}
	if site.Origin.Host == "" {
		j.fault("/origin", "is missing; it is the site's address, like https://www.example.com")
	}
	if len(site.Purges) > 0 {
		j.fault("/purges", "is written by purges only; leave it out")
	}
	if site.Version != 0 {
		j.fault("/version", "is counted by Stillpage; leave it out, and send it as If-Match")
	}
	j.settings("", site.Settings)
	j.limits("/limits", site.Limits)
	j.paths(site.Paths)
	j.warming(site)
	if j.faults = append(j.faults, j.wrong...); len(j.faults) > 0 {
		slices.SortStableFunc(j.faults, func(a, b strictjson.Fault) int { return strings.Compare(a.Pointer, b.Pointer) })
		return prerender.Site{}, j.faults
	}
	return site, nil
}

// judge collects what makes no sense in a document.
type judge struct {
	wrong  []strictjson.Fault // what is of the wrong kind, and not looked at
	faults []strictjson.Fault
}

func (j *judge) fault(at, format string, args ...any) {
	if slices.ContainsFunc(j.wrong, func(f strictjson.Fault) bool {
		return strictjson.Within(at, f.Pointer) || strictjson.Within(f.Pointer, at)
	}) {
		return // it has been said
	}
	j.faults = append(j.faults, strictjson.Fault{Pointer: at, Detail: fmt.Sprintf(format, args...)})
}

// Bounds of what a site may have, so that its record stays small and a rule is found
// fast.
const (
	mostPaths       = 100
	mostNames       = 100 // in a list
	mostConcurrency = 1000
	mostAgree       = 100
	leastWarmEvery  = 5 * time.Minute // the schedule's
)

func (j *judge) settings(at string, s prerender.Settings) {
	for name, life := range map[string]*prerender.Lifetime{
		"success": s.Lifetimes.Success, "redirect": s.Lifetimes.Redirect, "notFound": s.Lifetimes.NotFound, "gone": s.Lifetimes.Gone, "failure": s.Lifetimes.Failure,
	} {
		if life != nil && (life.Fresh > prerender.MostLifetime || life.Stale > prerender.MostLifetime || life.IfError > prerender.MostLifetime || life.Whole() > prerender.MostLifetime) {
			j.fault(at+"/lifetimes/"+name, "fresh, stale and ifError are more than %d days together, for which a page is kept at most", prerender.MostLifetime/(24*time.Hour))
		}
	}
	if c := s.CacheControl; c != nil && c.Most > 0 && c.Least > c.Most {
		j.fault(at+"/cacheControl/least", "is longer than most")
	}
	if q := s.Query; q != nil {
		if len(q.Keep) > 0 && len(q.Drop) > 0 {
			j.fault(at+"/query/drop", "is not looked at when keep is given; leave one of them out")
		}
		j.names(at+"/query/keep", q.Keep)
		j.names(at+"/query/drop", q.Drop)
	}
	if v := s.Vary; v != nil {
		j.languages(at+"/vary/languages", v.Languages)
	}
	if a := s.Admission; a != nil {
		for name, share := range map[string]float64{"textShare": a.TextShare, "linkShare": a.LinkShare} {
			if !(share >= 0 && share <= 1) {
				j.fault(at+"/admission/"+name, "must be a share from 0 to 1, not %v", share)
			}
		}
		if a.Agree < 0 || a.Agree > mostAgree {
			j.fault(at+"/admission/agree", "must be a number from 0 to %d, not %d", mostAgree, a.Agree)
		}
		j.names(at+"/admission/errorTexts", a.ErrorTexts)
	}
	for purpose := range s.Agents {
		if !slices.Contains(useragent.Purposes, useragent.Purpose(purpose)) {
			j.fault(at+"/agents/"+strictjson.Escape(purpose), "is no purpose of agents; there are %v", useragent.Purposes)
		}
	}
}

func (j *judge) names(at string, list []string) {
	if len(list) > mostNames {
		j.fault(at, "has %d entries; at most %d are looked at fast enough", len(list), mostNames)
	}
	for i, name := range list {
		if strings.TrimSpace(name) == "" {
			j.fault(at+"/"+strconv.Itoa(i), "is empty")
		}
	}
}

// languageTag is the form of RFC 5646, without its registry.
var languageTag = regexp.MustCompile(`^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*$`)

func (j *judge) languages(at string, list []string) {
	j.names(at, list)
	for i, language := range list {
		switch {
		case !languageTag.MatchString(language):
			j.fault(at+"/"+strconv.Itoa(i), "%q must be a language like en or de-CH", language)
		case slices.Contains(list[:i], language):
			j.fault(at+"/"+strconv.Itoa(i), "%q is there already", language)
		}
	}
}

func (j *judge) limits(at string, l *prerender.LimitRule) {
	if l == nil {
		return
	}
	for name, rate := range map[string]prerender.Rate{"site": l.Site, "client": l.Client, "token": l.Token, "notFound": l.NotFound, "requests": l.Requests} {
		if rate.PerMinute < 0 || rate.Burst < 0 {
			j.fault(at+"/"+name, "perMinute and burst must not be below zero; what is left out has its default")
		}
	}
	if l.Concurrency < 0 || l.Concurrency > mostConcurrency {
		j.fault(at+"/concurrency", "must be a number from 0, which is no limit, to %d, not %d", mostConcurrency, l.Concurrency)
	}
}

func (j *judge) paths(list []prerender.PathSettings) {
	if len(list) > mostPaths {
		j.fault("/paths", "has %d entries; at most %d are looked at fast enough", len(list), mostPaths)
	}
	for i, p := range list {
		at := "/paths/" + strconv.Itoa(i)
		if !strings.HasPrefix(p.Path, "/") || strings.ContainsAny(p.Path, "?# ") {
			j.fault(at+"/path", "%q must be a path like /blog/*, without query", p.Path)
		}
		if first := slices.IndexFunc(list[:i], func(other prerender.PathSettings) bool { return other.Path == p.Path }); first >= 0 {
			j.fault(at+"/path", "%q is never looked at: /paths/%d has it already, and the first that matches counts", p.Path, first)
		}
		if p.Limits != nil {
			j.fault(at+"/limits", "limits are the whole site's; write them there")
		}
		j.settings(at, p.Settings)
	}
}

// IsSitemap says whether an address is one that may be read: without a password, which
// would be in the audit.
func IsSitemap(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

func (j *judge) warming(site prerender.Site) {
	w := site.Warming
	if w == nil {
		return
	}
	for i, address := range w.Sitemaps {
		if !IsSitemap(address) {
			j.fault("/warming/sitemaps/"+strconv.Itoa(i), "%q must be a URL like https://www.example.com/sitemap.xml, without a password", address)
		}
	}
	j.names("/warming/sitemaps", w.Sitemaps)
	if every := time.Duration(w.Every); every != 0 && every < leastWarmEvery {
		j.fault("/warming/every", "must be %v at least", leastWarmEvery)
	}
	if w.PerMinute < 0 {
		j.fault("/warming/perMinute", "must not be below zero; 0 is the default")
	}
}
