package prerender

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Lifetime is how long a snapshot may be answered, in three parts that follow
// each other.
type Lifetime struct {
	Fresh   time.Duration // as it is
	Stale   time.Duration // as it is, while a new one is made
	IfError time.Duration // if a new one cannot be made
}

// Whole is how long a snapshot is kept.
func (l Lifetime) Whole() time.Duration { return l.Fresh + l.Stale + l.IfError }

// MostLifetime is the longest that a snapshot may be kept, in all. The bodies of
// large pages are deleted after 60 days (template.yaml).
const MostLifetime = 58 * day

// Lifetimes are those of snapshots by their status. What is nil is not said, and
// what nothing is said of has the default. Statuses that are not named here are
// never kept.
type Lifetimes struct {
	Success  *Lifetime `json:"success,omitempty"`  // 2xx
	Redirect *Lifetime `json:"redirect,omitempty"` // 301, 302, 303, 307, 308
	NotFound *Lifetime `json:"notFound,omitempty"` // 404
	Gone     *Lifetime `json:"gone,omitempty"`     // 410
	Failure  *Lifetime `json:"failure,omitempty"`  // 5xx: never in the place of a good page
}

var (
	// DefaultSuccess: a day is the middle of what hosted services let their
	// customers choose from (six hours to thirty days); a week of stale answers
	// outlasts a long weekend's outage, and two more weeks a summer's.
	DefaultSuccess = Lifetime{Fresh: day, Stale: 7 * day, IfError: 14 * day}

	// DefaultGone is for redirects, 404 and 410. It is short: a crawler that is told
	// 404 for an hour after a page came back is the longest that an owner would not
	// notice.
	DefaultGone = Lifetime{Fresh: time.Hour}
)

// of returns the lifetime for a status. Zero: it is not to be stored.
func (l Lifetimes) of(status int) Lifetime {
	or := func(l *Lifetime, otherwise Lifetime) Lifetime {
		if l == nil {
			return otherwise
		}
		return *l
	}
	var of Lifetime
	switch {
	case status >= 200 && status < 300:
		of = or(l.Success, DefaultSuccess)
	case status == 301, status == 302, status == 303, status == 307, status == 308:
		of = or(l.Redirect, DefaultGone)
	case status == 404:
		of = or(l.NotFound, DefaultGone)
	case status == 410:
		of = or(l.Gone, DefaultGone)
	case status >= 500:
		of = or(l.Failure, Lifetime{})
	}
	of.Fresh = min(of.Fresh, MostLifetime)
	of.Stale = min(of.Stale, MostLifetime-of.Fresh)
	of.IfError = min(of.IfError, MostLifetime-of.Fresh-of.Stale)
	return of
}

// or returns these lifetimes, and where they say nothing, others.
func (l Lifetimes) or(others Lifetimes) Lifetimes {
	return Lifetimes{
		Success: cmp.Or(l.Success, others.Success), Redirect: cmp.Or(l.Redirect, others.Redirect),
		NotFound: cmp.Or(l.NotFound, others.NotFound), Gone: cmp.Or(l.Gone, others.Gone), Failure: cmp.Or(l.Failure, others.Failure),
	}
}

// A lifetime's JSON is {"fresh": "1d", "stale": "7d", "ifError": "14d"}. Of lifetimes, what
// is left out has its default: who makes pages stale sooner has not asked to be without
// them while the site is down.
type lifetimeJSON struct {
	Fresh   *Duration `json:"fresh,omitempty"`
	Stale   *Duration `json:"stale,omitempty"`
	IfError *Duration `json:"ifError,omitempty"`
}

type lifetimesJSON struct {
	Success  *lifetimeJSON `json:"success,omitempty"`
	Redirect *lifetimeJSON `json:"redirect,omitempty"`
	NotFound *lifetimeJSON `json:"notFound,omitempty"`
	Gone     *lifetimeJSON `json:"gone,omitempty"`
	Failure  *lifetimeJSON `json:"failure,omitempty"`
}

// or is the lifetime, with what is left out as in another.
func (l *lifetimeJSON) or(other Lifetime) *Lifetime {
	if l == nil {
		return nil
	}
	part := func(d *Duration, otherwise time.Duration) time.Duration {
		if d == nil {
			return otherwise
		}
		return time.Duration(*d)
	}
	return &Lifetime{part(l.Fresh, other.Fresh), part(l.Stale, other.Stale), part(l.IfError, other.IfError)}
}

// JSONShape is what its JSON looks like (strictjson.Shaper).
func (l Lifetimes) JSONShape() any { return lifetimesJSON{} }

// UnmarshalJSON implements json.Unmarshaler.
func (l *Lifetimes) UnmarshalJSON(text []byte) error {
	var read lifetimesJSON
	err := json.Unmarshal(text, &read)
	*l = Lifetimes{
		Success: read.Success.or(DefaultSuccess), Redirect: read.Redirect.or(DefaultGone), NotFound: read.NotFound.or(DefaultGone),
		Gone: read.Gone.or(DefaultGone), Failure: read.Failure.or(Lifetime{}),
	}
	return err
}

// JSONShape is what its JSON looks like (strictjson.Shaper).
func (l Lifetime) JSONShape() any { return lifetimeJSON{} }

// MarshalJSON implements json.Marshaler. It leaves nothing out: what is left out is not
// zero.
func (l Lifetime) MarshalJSON() ([]byte, error) {
	fresh, stale, ifError := Duration(l.Fresh), Duration(l.Stale), Duration(l.IfError)
	return json.Marshal(lifetimeJSON{&fresh, &stale, &ifError})
}

// UnmarshalJSON implements json.Unmarshaler. What is missing is zero.
func (l *Lifetime) UnmarshalJSON(text []byte) error {
	var read *lifetimeJSON
	err := json.Unmarshal(text, &read)
	if read != nil {
		*l = *read.or(Lifetime{})
	}
	return err
}

// Duration is a length of time as owners write it: as time.ParseDuration reads it,
// and with days.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(formatDuration(time.Duration(d))), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

const (
	day      = 24 * time.Hour
	mostDays = 36500 // a century: far from what a Duration holds
)

// ParseDuration reads a length of time such as "90s", "1d" or "1d12h". An empty
// text is zero; what is negative is an error.
func ParseDuration(s string) (time.Duration, error) {
	days, rest, hasDays := strings.Cut(s, "d")
	if !hasDays {
		days, rest = "0", s
	}
	n, daysErr := strconv.ParseUint(days, 10, 64)
	d, restErr := time.ParseDuration(cmp.Or(rest, "0s"))
	if daysErr != nil || restErr != nil || n > mostDays || d < 0 || d > mostDays*day {
		return 0, fmt.Errorf("duration %q must be like 90s, 15m, 12h, 7d or 1d12h", s)
	}
	return time.Duration(n)*day + d, nil
}

// formatDuration writes what ParseDuration reads, as shortly as it can.
func formatDuration(d time.Duration) string {
	days := ""
	if d >= day {
		days = fmt.Sprintf("%dd", d/day)
		d %= day
	}
	if d == 0 && days != "" {
		return days
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return days + s
}
