package prerender

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Lifetime is how long a snapshot is fresh, and for how long after that it may
// still be answered while a new one is made.
type Lifetime struct {
	Fresh, Stale time.Duration
}

var (
	// DefaultSuccess: a day is the middle of what hosted services let their
	// customers choose from (six hours to thirty days); a week of stale answers
	// outlasts a long weekend's outage.
	DefaultSuccess = Lifetime{Fresh: 24 * time.Hour, Stale: 7 * 24 * time.Hour}

	// DefaultGone is short: a crawler that is told 404 for an hour after a page
	// came back is the longest that an owner would not notice.
	DefaultGone = Lifetime{Fresh: time.Hour, Stale: 0}
)

// Lifetime returns how long a snapshot with this status lives. Zero: it is not
// to be stored.
func (s Site) Lifetime(status int) Lifetime {
	or := func(l, otherwise Lifetime) Lifetime {
		if l == (Lifetime{}) {
			return otherwise
		}
		return l
	}
	switch {
	case status >= 200 && status < 300:
		return or(s.Success, DefaultSuccess)
	case status >= 300 && status < 400, status == 404, status == 410:
		return or(s.Gone, DefaultGone)
	default:
		return Lifetime{}
	}
}

// A lifetime's JSON is {"fresh": "1d", "stale": "7d"}: durations as time.ParseDuration
// reads them, and with days.
type lifetimeJSON struct {
	Fresh string `json:"fresh"`
	Stale string `json:"stale"`
}

// MarshalJSON implements json.Marshaler.
func (l Lifetime) MarshalJSON() ([]byte, error) {
	return json.Marshal(lifetimeJSON{formatDuration(l.Fresh), formatDuration(l.Stale)})
}

// UnmarshalJSON implements json.Unmarshaler. What is missing is zero.
func (l *Lifetime) UnmarshalJSON(text []byte) error {
	var read lifetimeJSON
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	var errs [2]error
	l.Fresh, errs[0] = ParseDuration(read.Fresh)
	l.Stale, errs[1] = ParseDuration(read.Stale)
	return errors.Join(errs[:]...)
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
