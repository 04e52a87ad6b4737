package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// hit is one round of a row of BenchmarkHit: pages that are stored, asked for
// through the router's handler over HTTP on loopback, by two clients.
type hit struct {
	perSecond float64
	p99       float64 // ms
	allocs    float64 // a request, those of the clients included
}

// hitRows are the stores, and a handler that has none and writes the same bytes.
var hitRows = []string{"bare", "memory", "bolt", "dynamodb"}

// hitRounds are taken one after the other, each with all rows.
const hitRounds = 5

// takeHits runs BenchmarkHit, which is Go's own benchmark of package router.
func (s *session) takeHits(ctx context.Context) {
	for round := range hitRounds {
		found := map[string]hit{}
		for _, part := range [][]string{{"^BenchmarkHit$/^(bare|memory|bolt)$", "20000x"}, {"^BenchmarkHit$/^dynamodb$", "2000x"}} {
			cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", part[0], "-benchtime", part[1], "-benchmem", "./internal/router")
			out, err := cmd.Output()
			if err != nil {
				s.report.faults = append(s.report.faults, fmt.Sprintf("hits: %v: %.500s", err, out))
				return
			}
			maps.Copy(found, parseHits(string(out)))
		}
		s.report.hits = append(s.report.hits, found)
		fmt.Fprintf(os.Stderr, "hits %d/%d: %.0f/s from memory, %.0f/s without a store\n", round+1, hitRounds, found["memory"].perSecond, found["bare"].perSecond)
	}
}

// parseHits reads lines such as
//
//	BenchmarkHit/memory-2  20000  61000 ns/op  0.85 p99-ms  16000 requests/s  9000 B/op  80 allocs/op
func parseHits(text string) map[string]hit {
	found := map[string]hit{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		name, ok := strings.CutPrefix(fields[0], "BenchmarkHit/")
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(name, "-")
		var h hit
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				break
			}
			switch fields[i+1] {
			case "requests/s":
				h.perSecond = value
			case "p99-ms":
				h.p99 = value
			case "allocs/op":
				h.allocs = value
			}
		}
		found[name] = h
	}
	return found
}

// hitFigure is a value of one row over the rounds.
func (r *report) hitFigure(row string, value func(round map[string]hit, h hit) float64) figure {
	var rounds []map[string]hit
	for _, round := range r.hits {
		if _, ok := round[row]; ok {
			rounds = append(rounds, round)
		}
	}
	return figureOf(rounds, func(round map[string]hit) float64 { return value(round, round[row]) })
}

func hitShare(round map[string]hit, h hit) float64 {
	if round["bare"].perSecond == 0 {
		return 0
	}
	return h.perSecond / round["bare"].perSecond
}

func (r *report) hitTable() table {
	t := table{{"store", "requests/s", "of the bare handler's", "p99, ms", "allocations a request"}}
	for _, row := range hitRows {
		rate := r.hitFigure(row, func(_ map[string]hit, h hit) float64 { return h.perSecond })
		if rate.median == 0 {
			continue
		}
		t = append(t, []string{
			row, fmt.Sprintf("%.0f (%.0f–%.0f)", rate.median, rate.low, rate.high), r.hitFigure(row, hitShare).String(),
			r.hitFigure(row, func(_ map[string]hit, h hit) float64 { return h.p99 }).String(),
			fmt.Sprintf("%.0f", r.hitFigure(row, func(_ map[string]hit, h hit) float64 { return h.allocs }).median),
		})
	}
	return t
}

// hitGoals are those of hits.
func (r *report) hitGoals() []goal {
	share := r.hitFigure("memory", hitShare)
	if share.median == 0 {
		return nil
	}
	p99 := r.hitFigure("memory", func(_ map[string]hit, h hit) float64 { return h.p99 })
	return []goal{
		{"Hits from memory, requests a second, against a bare handler that writes the same bytes", "at least half", share.String() + " times", share.median >= 0.5},
		{"Hits from memory, p99", "under 1 ms", p99.String() + " ms", p99.median < 1},
	}
}

// hitMethod says what hits are.
const hitMethod = `A stored page of 32 kB (a quarter of it compressed) asked for over HTTP on loopback by two clients, through the router's handler
and the core: ` + "`bare`" + ` writes the same bytes and does nothing else. DynamoDB Local is Amazon's own for tests, a Java program on the same two cores;
what DynamoDB itself takes is not known here. Medians of 5 rounds of 20,000 requests a row (DynamoDB: 2,000), the lowest and highest in brackets, shares within rounds;
allocations are those of client and server together.

`
