package insight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

// Point is a tally of an hour or a day.
type Point struct {
	At time.Time // its beginning, UTC
	Tally
}

// Step is what a series has a point for.
type Step string

// The steps. Hours are kept for 8 days, days for 400.
const (
	Hours Step = "hour"
	Days  Step = "day"
)

// Series returns the tallies of a site, or of AllSites, from one time to another, the
// first first. Steps without any are left out.
func Series(ctx context.Context, records control.Store, host string, step Step, from, to time.Time) ([]Point, error) {
	form, prefix, length := hourForm, "h/", time.Hour
	if step == Days {
		form, prefix, length = dayForm, "d/", 24*time.Hour
	}
	from, to = from.UTC().Add(length-1).Truncate(length), to.UTC()                                                    // a step that began before is not in it
	r := control.Range{Kind: kindOf(host), After: prefix + from.Format(form), Before: prefix + to.Format(form) + "0"} // "0" is after the slash
	var points []Point
	err := each(ctx, records, r, func(id string, t Tally) error {
		name, _, _ := strings.Cut(strings.TrimPrefix(id, prefix), "/")
		at, err := time.Parse(form, name)
		if err != nil {
			return err
		}
		if n := len(points); n > 0 && points[n-1].At.Equal(at) {
			points[n-1].Add(t)
		} else {
			points = append(points, Point{at, t})
		}
		return nil
	})
	if err != nil || step == Hours {
		return points, err
	}
	return withOpenDays(ctx, records, host, points, from, to)
}

// withOpenDays adds the days that are not merged yet, from their hours.
func withOpenDays(ctx context.Context, records control.Store, host string, merged []Point, from, to time.Time) ([]Point, error) {
	const day = 24 * time.Hour
	first := from.Truncate(day)
	if recent := to.Add(-hourLife + day).Truncate(day); recent.After(first) {
		first = recent
	}
	if n := len(merged); n > 0 && !merged[n-1].At.Before(first) {
		first = merged[n-1].At.Add(day) // days are merged in their order
	}
	hours, err := Series(ctx, records, host, Hours, first, to)
	for _, hour := range hours {
		at := hour.At.Truncate(day)
		if n := len(merged); n == 0 || !merged[n-1].At.Equal(at) {
			merged = append(merged, Point{At: at})
		}
		merged[len(merged)-1].Add(hour.Tally)
	}
	return merged, err
}

// each reads the tallies of a range.
func each(ctx context.Context, records control.Store, r control.Range, found func(id string, t Tally) error) error {
	var broken error
	err := records.List(ctx, r, func(record control.Record) bool {
		var t Tally
		if broken = json.Unmarshal(record.Document, &t); broken == nil {
			broken = found(record.ID, t)
		}
		if broken != nil {
			broken = fmt.Errorf("tally %q: %w", record.ID, broken)
		}
		return broken == nil
	})
	return errors.Join(err, broken)
}

// mergeAfter is how long after its end an hour is merged: by then every process has
// written what it has counted in it.
const mergeAfter = 10 * time.Minute

// MergeAll merges the tallies of sites, and those of all together.
func MergeAll(ctx context.Context, records control.Store, sites []prerender.Site, now time.Time) error {
	err := Merge(ctx, records, AllSites, now)
	for _, site := range sites {
		err = errors.Join(err, Merge(ctx, records, site.Origin.Host, now))
	}
	return err
}

// Merge makes one tally of those that processes have counted, for each hour of a site
// that is over, and one of the hours of each day.
func Merge(ctx context.Context, records control.Store, host string, now time.Time) error {
	last := now.Add(-mergeAfter).UTC()
	if err := mergeHours(ctx, records, host, last); err != nil {
		return err
	}
	return mergeDays(ctx, records, host, last)
}

func mergeHours(ctx context.Context, records control.Store, host string, last time.Time) error {
	parts := map[string][]control.Record{} // by hour
	r := control.Range{Kind: kindOf(host), After: "h/", Before: "h/" + last.Format(hourForm)}
	err := records.List(ctx, r, func(record control.Record) bool {
		id := strings.TrimPrefix(record.ID, "h/")
		hour, _, _ := strings.Cut(id, "/")
		parts[hour] = append(parts[hour], record)
		return true
	})
	for hour, list := range parts {
		whole := hourID(hour, "")
		for err == nil && (len(list) > 1 || list[0].ID != whole) {
			at, parseErr := time.Parse(hourForm, hour)
			if parseErr != nil {
				return parseErr
			}
			n := min(len(list), control.MostWrites-1)
			err = merge(ctx, records, kindOf(host), whole, at.Add(hourLife), list[:n])
			list = append([]control.Record{{Kind: kindOf(host), ID: whole}}, list[n:]...)
			if len(list) > 1 { // what was merged is to be read again
				list[0], err = records.Get(ctx, kindOf(host), whole)
			}
		}
	}
	return err
}

// merge writes the sum of records in the place of all of them.
func merge(ctx context.Context, records control.Store, kind control.Kind, whole string, expires time.Time, parts []control.Record) error {
	var sum Tally
	was := int64(0)
	var writes []control.Write
	for _, part := range parts {
		var t Tally
		if err := json.Unmarshal(part.Document, &t); err != nil {
			return fmt.Errorf("tally %q: %w", part.ID, err)
		}
		sum.Add(t)
		if part.ID == whole {
			was = part.Version
			continue
		}
		writes = append(writes, control.Write{Record: part, Was: part.Version, Delete: true})
	}
	document, err := json.Marshal(sum)
	if err != nil {
		return err
	}
	into := control.Record{Kind: kind, ID: whole, Version: was + 1, Document: document, Expires: expires}
	return records.Write(ctx, append(writes, control.Write{Record: into, Was: was})...)
}

// mergeDays keeps the hours: they are what the last week is looked at by. Days are merged
// in their order, the first first, so that a series knows where the open ones begin.
func mergeDays(ctx context.Context, records control.Store, host string, last time.Time) error {
	const day = 24 * time.Hour
	today := last.Truncate(day)
	for at := today.Add(-7 * day); at.Before(today); at = at.Add(day) { // so many may have been missed
		_, err := records.Get(ctx, kindOf(host), dayID(at.Format(dayForm)))
		if !errors.Is(err, prerender.ErrNotFound) {
			if err != nil {
				return err
			}
			continue
		}
		if err := mergeDay(ctx, records, host, at); err != nil {
			return err
		}
	}
	return nil
}

func mergeDay(ctx context.Context, records control.Store, host string, day time.Time) error {
	hours, err := Series(ctx, records, host, Hours, day, day.Add(23*time.Hour))
	if err != nil || len(hours) == 0 {
		return err
	}
	var sum Tally
	for _, hour := range hours {
		sum.Add(hour.Tally)
	}
	document, err := json.Marshal(sum)
	if err != nil {
		return err
	}
	return records.Note(ctx, control.Record{
		Kind: kindOf(host), ID: dayID(day.Format(dayForm)), Version: 1, Document: document, Expires: day.Add(dayLife),
	})
}

// InOrder returns points by their times.
func InOrder(points map[time.Time]*Point) []Point {
	var all []Point
	for _, at := range slices.SortedFunc(maps.Keys(points), time.Time.Compare) {
		all = append(all, *points[at])
	}
	return all
}
