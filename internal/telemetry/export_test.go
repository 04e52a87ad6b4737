package telemetry

import "time"

// Weights are those of lines that are due at some times; 0 is none.
func Weights(at ...time.Time) (weights []int) {
	var s sampling
	for _, now := range at {
		weights = append(weights, s.next(now))
	}
	return weights
}
