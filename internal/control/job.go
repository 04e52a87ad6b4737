package control

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// JobKind is what a job does.
type JobKind string

// The kinds of jobs.
const (
	PurgeJob  JobKind = "purge"
	WarmJob   JobKind = "warm"
	RenderJob JobKind = "render"
	DeleteJob JobKind = "delete"
)

// JobState is how far a job is.
type JobState string

// The states of jobs. Those after Running do not change any more.
const (
	Queued    JobState = "queued"
	Running   JobState = "running"
	Done      JobState = "done"
	Failed    JobState = "failed"
	Cancelled JobState = "cancelled"
)

// Over says whether nothing more will happen.
func (s JobState) Over() bool { return s != Queued && s != Running }

// PurgeOrder is what to purge; see prerender.Purge.
type PurgeOrder struct {
	Path string `json:"path,omitempty"`
	Tag  string `json:"tag,omitempty"`
	Hard bool   `json:"hard,omitempty"`

	// Again has the pages made again unasked, except those that nobody asks for.
	Again bool `json:"again,omitempty"`
}

// Hits says whether a purge like this has hit a page, if any has.
func (o PurgeOrder) Hits(l prerender.Listed) bool {
	return (o.Path == "" || prerender.MatchPattern(o.Path, l.Key.Path())) && (o.Tag == "" || slices.Contains(l.Tags, o.Tag))
}

// WarmOrder is which pages to make unasked. When it names none, those of the site's
// own sitemaps.
type WarmOrder struct {
	Sitemaps []string `json:"sitemaps,omitempty"`
	URLs     []string `json:"urls,omitempty"`

	// More URLs are there than a list of jobs shows. It is not for orders.
	More int `json:"more,omitempty"`
}

// PageOrder is a page to be rendered or deleted now, in all its variants.
type PageOrder struct {
	URL string `json:"url"`
}

// Job is something that was ordered, and what has become of it.
type Job struct {
	ID        string    `json:"id"` // in the order of time
	Kind      JobKind   `json:"kind"`
	Site      string    `json:"site"` // its host
	Actor     string    `json:"actor"`
	CreatedAt time.Time `json:"createdAt"`

	// One of them, by Kind.
	Purge *PurgeOrder `json:"purge,omitempty"`
	Warm  *WarmOrder  `json:"warm,omitempty"`
	Page  *PageOrder  `json:"page,omitempty"`

	State   JobState  `json:"state"`
	EndedAt time.Time `json:"endedAt,omitzero"`

	// Progress of those that take long.
	Progress prerender.WarmRun `json:"progress,omitzero"`

	// Last is the last page that was looked at, where a job goes on that was cut off.
	Last prerender.Key `json:"last,omitempty"`

	version int64
}

// jobLife is for how long a job is remembered.
const jobLife = 30 * 24 * time.Hour

func (p *Plane) newJob(by By, kind JobKind, host string) Job {
	now := p.now().UTC().Truncate(time.Millisecond)
	random := make([]byte, 4)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	return Job{
		ID:   fmt.Sprintf("%013d-%s", now.UnixMilli(), hex.EncodeToString(random)),
		Kind: kind, Site: host, Actor: by.Actor, CreatedAt: now, State: Queued,
	}
}

func (j *Job) end(state JobState, now time.Time) {
	j.State, j.EndedAt = state, now.UTC().Truncate(time.Millisecond)
}

// putJob writes a job in the place of one with the version was.
func putJob(j *Job, was int64) Write {
	j.version = was + 1
	w := put(JobRecord, j.ID, j.version, was, j)
	w.Expires = j.CreatedAt.Add(jobLife)
	return w
}

// openJob notes that a job is not done.
func openJob(j Job) Write {
	w := put(OpenRecord, j.ID, 1, 0, j.Site)
	w.Expires = j.CreatedAt.Add(jobLife)
	return w
}

func (p *Plane) jobEvent(by By, j Job, action string, order any) Event {
	return Event{Actor: by.Actor, From: by.From, Action: action, Site: j.Site, Subject: j.ID, Changes: []Change{{After: order}}}
}

// Warm orders pages to be made.
func (p *Plane) Warm(ctx context.Context, by By, host string, order WarmOrder) (Job, error) {
	if err := p.mayOrder(ctx, host); err != nil {
		return Job{}, err
	}
	j := p.newJob(by, WarmJob, host)
	j.Warm = &order
	_, err := p.Commit(ctx, p.jobEvent(by, j, "warm", order), putJob(&j, 0), openJob(j))
	return j, err
}

// mostOpen is how many jobs of a site may be open: they are done one after the other.
const mostOpen = 20

// ErrManyJobs: a site has as many open jobs as it may.
var ErrManyJobs = errors.New("too many jobs are not done yet")

func (p *Plane) mayOrder(ctx context.Context, host string) error {
	open, err := p.openJobs(ctx, host)
	n := 0
	for _, j := range open {
		if j.Page == nil {
			n++
		}
	}
	if err == nil && n >= mostOpen {
		err = fmt.Errorf("%s: %w: %d; wait, or cancel some", host, ErrManyJobs, n)
	}
	return err
}

// OrderPage orders a page to be rendered, or to be deleted.
func (p *Plane) OrderPage(ctx context.Context, by By, kind JobKind, host string, order PageOrder) (Job, error) {
	j := p.newJob(by, kind, host)
	j.Page = &order
	_, err := p.Commit(ctx, p.jobEvent(by, j, "page."+string(kind), order), putJob(&j, 0), openJob(j))
	return j, err
}

// CancelJob ends a job that is not over. What it has done stays. One that is over is
// ErrConflict.
func (p *Plane) CancelJob(ctx context.Context, by By, id string) (Job, error) {
	for {
		j, err := p.Job(ctx, id)
		if err != nil {
			return j, err
		}
		if j.State.Over() {
			return j, &overError{id, j.State}
		}
		j.end(Cancelled, p.now())
		_, err = p.Commit(ctx, p.jobEvent(by, j, "job.cancel", nil), putJob(&j, j.version), closeJob(j))
		if !conflicts(err, JobRecord) {
			return j, err
		}
	}
}

// overError is an ErrConflict.
type overError struct {
	id    string
	state JobState
}

func (e *overError) Error() string { return fmt.Sprintf("job %s is %s already", e.id, e.state) }

// Is says that it is an ErrConflict.
func (e *overError) Is(target error) bool { return target == ErrConflict }

func closeJob(j Job) Write {
	return Write{Record: Record{Kind: OpenRecord, ID: j.ID}, Any: true, Delete: true}
}

// Job returns a job, or prerender.ErrNotFound.
func (p *Plane) Job(ctx context.Context, id string) (Job, error) {
	record, err := p.Records.Get(ctx, JobRecord, id)
	if err != nil {
		return Job{}, err
	}
	return decodeJob(record)
}

func decodeJob(record Record) (j Job, err error) {
	err = json.Unmarshal(record.Document, &j)
	j.version = record.Version
	return j, err
}

// Jobs calls found for the jobs before one, the last first, until it returns false.
func (p *Plane) Jobs(ctx context.Context, before string, found func(Job) bool) error {
	var broken error
	err := p.Records.List(ctx, Range{Kind: JobRecord, Before: before, Backwards: true}, func(record Record) bool {
		var j Job
		if j, broken = decodeJob(record); broken != nil {
			return false
		}
		return found(j)
	})
	return errors.Join(err, broken)
}

// OpenJobs returns the jobs that are not over, the first first.
func (p *Plane) OpenJobs(ctx context.Context) ([]Job, error) { return p.openJobs(ctx, "") }

// openJobs are those of a site, or with an empty host all; others are not read.
func (p *Plane) openJobs(ctx context.Context, host string) ([]Job, error) {
	var ids []string
	err := p.Records.List(ctx, Range{Kind: OpenRecord}, func(record Record) bool {
		var site string
		if json.Unmarshal(record.Document, &site) != nil || host == "" || site == host {
			ids = append(ids, record.ID)
		}
		return true
	})
	var open []Job
	for _, id := range ids {
		j, getErr := p.Job(ctx, id)
		switch {
		case errors.Is(getErr, prerender.ErrNotFound):
		case getErr != nil:
			return open, getErr
		case !j.State.Over() && (host == "" || j.Site == host):
			open = append(open, j)
		}
	}
	return open, err
}

// SaveJob notes how far a job has come. If it was cancelled meanwhile, it is ErrConflict.
func (p *Plane) SaveJob(ctx context.Context, j *Job) error {
	was := j.version
	writes := []Write{putJob(j, was)}
	if j.State.Over() {
		writes = append(writes, closeJob(*j))
	}
	err := p.Records.Write(ctx, writes...)
	if err != nil {
		j.version = was
	}
	return err
}

// EndJob is SaveJob of one that is over.
func (p *Plane) EndJob(ctx context.Context, j *Job, state JobState) error {
	j.end(state, p.now())
	return p.SaveJob(ctx, j)
}

// Run returns the last run over the sitemaps of the site with a host; the zero one if
// there was none.
func (p *Plane) Run(ctx context.Context, host string) (run prerender.WarmRun, _ error) {
	record, err := p.Records.Get(ctx, RunRecord, host)
	if errors.Is(err, prerender.ErrNotFound) {
		return run, nil
	}
	if err == nil {
		err = json.Unmarshal(record.Document, &run)
	}
	return run, err
}

// Runs returns the last runs of all sites by their hosts.
func (p *Plane) Runs(ctx context.Context) (map[string]prerender.WarmRun, error) {
	runs := map[string]prerender.WarmRun{}
	var broken error
	err := p.Records.List(ctx, Range{Kind: RunRecord, Eventually: true}, func(r Record) bool {
		var run prerender.WarmRun
		broken = json.Unmarshal(r.Document, &run)
		runs[r.ID] = run
		return broken == nil
	})
	return runs, errors.Join(err, broken)
}

// SaveRun stores the last run over a site's sitemaps.
func (p *Plane) SaveRun(ctx context.Context, host string, run prerender.WarmRun) error {
	return p.Records.Note(ctx, put(RunRecord, host, 1, 0, run).Record)
}
