package main

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// docs/scaling.md has the tables as they are computed.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	var tables bytes.Buffer
	write(&tables)
	doc, err := os.ReadFile("../../docs/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), tables.String()) {
		t.Errorf("docs/scaling.md lacks the tables of `go run ./bench/scaling`:\n%s", &tables)
	}
}

// What is computed is what comes of it when each request is played.
func TestAgainstPlay(t *testing.T) {
	t.Parallel()
	s := scenario{"played", 3_000, 20, 1}
	want := simulate(s)
	random := rand.New(rand.NewPCG(5, 6))
	sums := make([]float64, int(s.pages))
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -zipf)
		sums[i] = sum
	}
	rendered := map[int]float64{} // when, in seconds
	var hits, staleHits, misses float64
	warm, end := (20 * 24 * time.Hour).Seconds(), (80 * 24 * time.Hour).Seconds()
	for at := 0.0; at < end; at += random.ExpFloat64() / (s.minute / 60) {
		i, x := 0, random.Float64()*sum
		for low, high := 0, len(sums)-1; low < high; {
			if i = (low + high) / 2; sums[i] < x {
				low = i + 1
			} else {
				high = i
			}
			i = low
		}
		made, there := rendered[i]
		age := at - made
		n := &hits
		switch {
		case !there || age > (fresh+stale).Seconds():
			n, rendered[i] = &misses, at
		case age > fresh.Seconds():
			n, rendered[i] = &staleHits, at
		}
		if at > warm {
			*n++
		}
	}
	for what, pair := range map[string][2]float64{
		"hits": {hits / (end - warm), want.hits}, "stale": {staleHits / (end - warm), want.staleHits}, "misses": {misses / (end - warm), want.misses},
	} {
		if math.Abs(pair[0]-pair[1]) > 0.03*pair[1]+1e-4 {
			t.Errorf("%s a second: played %.6f, computed %.6f", what, pair[0], pair[1])
		}
	}
}
