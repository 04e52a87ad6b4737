package boltstore

import "time"

// Decode is decode, for the fuzz test.
var Decode = decode

// SetClock has a store take the time from a test.
func SetClock(s *Store, now func() time.Time) { s.now = now }
