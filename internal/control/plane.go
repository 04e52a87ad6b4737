package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Plane is what can be done. Whatever changes something is in the audit.
type Plane struct {
	*Ledger
	Pages prerender.Store
	Fixed prerender.SiteList // sites of flags or the template
}

// ErrConflict: what is to be changed was changed by somebody else meanwhile.
var ErrConflict = errors.New("changed by somebody else meanwhile")

// Is says that a ConflictError is an ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Sites implements prerender.SiteStore on records.
type Sites struct {
	Records Store

	// Log gets sites that cannot be read. Nil means slog.Default().
	Log *slog.Logger
}

// Sites implements prerender.SiteStore.
func (s *Sites) Sites(ctx context.Context) ([]prerender.Site, error) {
	var all []prerender.Site
	err := s.Records.List(ctx, Range{Kind: SiteRecord, Eventually: true}, func(record Record) bool {
		site, err := decodeSite(record)
		if err != nil { // one that somebody has written by hand must not take the others along
			cmp.Or(s.Log, slog.Default()).ErrorContext(ctx, "site left out: its record cannot be read", "host", record.ID, "err", err)
			return true
		}
		all = append(all, site)
		return true
	})
	return all, err
}

func decodeSite(record Record) (site prerender.Site, err error) {
	err = json.Unmarshal(record.Document, &site)
	site.Version = record.Version
	return site, err
}

// Site returns a site as it is stored, or ErrSiteUnknown.
func (p *Plane) Site(ctx context.Context, host string) (prerender.Site, error) {
	record, err := p.Records.Get(ctx, SiteRecord, host)
	if errors.Is(err, prerender.ErrNotFound) {
		return prerender.Site{}, fmt.Errorf("host %q: %w", host, prerender.ErrSiteUnknown)
	}
	if err != nil {
		return prerender.Site{}, err
	}
	return decodeSite(record)
}

// SiteOrFixed returns a stored site, or of one that flags or the template know a new one
// without settings, so that it goes on following those.
func (p *Plane) SiteOrFixed(ctx context.Context, host string) (prerender.Site, error) {
	site, err := p.Site(ctx, host)
	if !errors.Is(err, prerender.ErrSiteUnknown) {
		return site, err
	}
	fixed, err := p.Fixed.Site(ctx, host)
	return prerender.Site{Origin: fixed.Origin}, err
}

// InEffect returns a site with all that holds for it.
func (p *Plane) InEffect(ctx context.Context, host string) (prerender.Site, error) {
	site, err := p.SiteOrFixed(ctx, host)
	return p.Fixed.Complete(site), err
}

// PutSite stores a site in the place of old, whose version is 0 if none is stored, and
// returns it with its new version.
func (p *Plane) PutSite(ctx context.Context, by By, action string, old, site prerender.Site) (prerender.Site, error) {
	var before any
	if old.Version != 0 {
		before = bare(old)
	}
	changes, err := Diff(before, bare(site))
	if err != nil {
		return site, err
	}
	site.Version = NextVersion(old.Version, p.now())
	e := Event{Actor: by.Actor, From: by.From, Action: action, Site: site.Origin.Host, Changes: changes}
	_, err = p.Commit(ctx, e, put(SiteRecord, site.Origin.Host, site.Version, old.Version, site))
	return site, err
}

// DeleteSite removes what is stored of a site.
func (p *Plane) DeleteSite(ctx context.Context, by By, old prerender.Site) error {
	changes, err := Diff(bare(old), nil)
	if err != nil {
		return err
	}
	host := old.Origin.Host
	e := Event{Actor: by.Actor, From: by.From, Action: "site.delete", Site: host, Changes: changes}
	_, err = p.Commit(ctx, e, Write{Record: Record{Kind: SiteRecord, ID: host}, Was: old.Version, Delete: true})
	return err
}

// bare is a site without what nobody writes.
func bare(site prerender.Site) any {
	site.Version = 0
	return site
}

// Purges of one site at the same moment are tried again, as events are.
const purgeAttempts = commitAttempts

// mostPurged bounds the paths and tags of a site's purges together, in bytes: DynamoDB's
// items have 400 kB, and the site's settings are in the same.
const mostPurged = 128 << 10

// Purge has pages of a site made again when they are asked for; see prerender.Purge.
// Instances notice within prerender.DefaultSiteAge. With again, they are made again
// unasked; the job is how far that has come.
func (p *Plane) Purge(ctx context.Context, by By, host string, order PurgeOrder) (Job, error) {
	var err error
	if order.Again {
		if err := p.mayOrder(ctx, host); err != nil {
			return Job{}, err
		}
	}
	for attempt := range purgeAttempts {
		if err = pause(ctx, attempt); err != nil {
			return Job{}, err
		}
		var old, site prerender.Site
		if old, err = p.SiteOrFixed(ctx, host); err != nil {
			return Job{}, err
		}
		purge := prerender.Purge{Path: order.Path, Tag: order.Tag, Hard: order.Hard}
		if site, err = old.WithPurge(purge, p.now()); err != nil {
			return Job{}, err
		}
		site.Purges = foldPurges(site.Purges)
		order.Path = site.Purges[len(site.Purges)-1].Path // in normal form
		job := p.newJob(by, PurgeJob, host)
		job.Purge = &order
		if !order.Again {
			job.end(Done, p.now())
		}
		writes := []Write{putJob(&job, 0)}
		if order.Again {
			writes = append(writes, openJob(job))
		}
		site.Version = NextVersion(old.Version, p.now())
		site.Purges[len(site.Purges)-1].Version = site.Version
		e := p.jobEvent(by, job, "purge", order)
		_, err = p.Commit(ctx, e, append(writes, put(SiteRecord, host, site.Version, old.Version, site))...)
		if !conflicts(err, SiteRecord) {
			return job, err
		}
	}
	return Job{}, err
}

// foldPurges makes one purge of the whole site of the oldest, if they are too long together.
func foldPurges(purges []prerender.Purge) []prerender.Purge {
	long := 0
	for i := len(purges) - 1; i >= 0; i-- {
		if long += len(purges[i].Path) + len(purges[i].Tag); long <= mostPurged {
			continue
		}
		all := prerender.Purge{Version: purges[i].Version, At: purges[i].At}
		for _, old := range purges[:i+1] {
			all.Hard = all.Hard || old.Hard
		}
		return append([]prerender.Purge{all}, purges[i+1:]...)
	}
	return purges
}

// CountPurge says how many stored pages a purge would hit now. When the context ends
// before all were looked at, it is how many of those, and the context's error.
func (p *Plane) CountPurge(ctx context.Context, host string, order PurgeOrder) (int, error) {
	site, err := p.SiteOrFixed(ctx, host)
	if err != nil {
		return 0, err
	}
	if site, err = site.WithPurge(prerender.Purge{Path: order.Path, Tag: order.Tag}, p.now()); err != nil {
		return 0, err
	}
	site.Purges = site.Purges[len(site.Purges)-1:]
	n := 0
	err = p.Pages.List(ctx, site.Origin, "", func(l prerender.Listed) bool {
		if site.IsPurged(l) {
			n++
		}
		return true
	})
	return n, err
}
