package prerender

import "time"

// clock reads a clock that was given, or else the machine's.
func clock(now func() time.Time) time.Time {
	if now != nil {
		return now()
	}
	return time.Now()
}

// wall is the clock on the wall: the monotonic one stands still while a function
// is frozen.
func wall() time.Time { return time.Now().Round(0) }
