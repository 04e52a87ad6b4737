package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPercentile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		values []time.Duration
		p      int
		want   time.Duration
	}{
		{nil, 50, 0},
		{[]time.Duration{7}, 50, 7},
		{[]time.Duration{7}, 95, 7},
		{[]time.Duration{3, 1, 2}, 50, 2},
		{[]time.Duration{4, 3, 1, 2}, 50, 2},
		{[]time.Duration{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, 95, 10},
		{[]time.Duration{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, 90, 9},
	} {
		if got := percentile(tt.values, tt.p); got != tt.want {
			t.Errorf("percentile(%v, %d): got %v, want %v", tt.values, tt.p, got, tt.want)
		}
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	stat := "42 (a) (b c) S 7 42 42 0 -1 4194560 100 200 0 0 1 20 300 4000 20 0 1 0 100 0 0"
	got, ok := parseStat([]byte(stat))
	want := proc{pid: 42, parent: 7, cpu: 4321}
	if !ok || got != want {
		t.Errorf("got %v, %v, want %v", got, ok, want)
	}
	if _, ok := parseStat([]byte("42 (a) Z 7")); ok {
		t.Error("a line that is too short was taken")
	}
}

// Own is as fast as the given time, peers take 900 ms.
func found(own time.Duration) *report {
	r := &report{plan: &plan{rounds: 3}, browser: "Chromium 1", machine: "2 cores", at: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
	for round := range 3 {
		for _, row := range rows {
			for _, level := range levels {
				wall, cpu, memory := 900*time.Millisecond, 900*time.Millisecond, int64(500<<20)
				if row.name == "stillpage" || row.name == "oracle" {
					wall, cpu, memory = own, own/2, 300<<20
				}
				s := sample{row: row.name, page: "/items", level: level, took: 10 * wall / time.Duration(min(level, 2)), cpu: 10 * cpu, memory: usage{all: memory + int64(round)<<20}}
				for range 10 {
					s.walls = append(s.walls, wall)
				}
				r.samples = append(r.samples, s)
			}
		}
	}
	return r
}

func TestGoals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		own  time.Duration
		want []bool // oracle, prerender, rendertron, throughput, CPU, memory
	}{
		{100 * time.Millisecond, []bool{true, true, true, true, true, true}},
		{120 * time.Millisecond, []bool{true, false, false, true, true, true}},
		{160 * time.Millisecond, []bool{true, false, false, true, false, true}},
		{190 * time.Millisecond, []bool{true, false, false, false, false, true}},
	} {
		var got []bool
		for _, g := range found(tt.own).goals() {
			got = append(got, g.met)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("own %v: -want +got:\n%s", tt.own, diff)
		}
	}
}

func TestWriteKeepsNotes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	read := func() string {
		b, err := os.ReadFile(filepath.Join(dir, "benchmarks.md"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if err := found(100 * time.Millisecond).write(dir); err != nil {
		t.Fatal(err)
	}
	first := read()
	if !strings.HasSuffix(first, notesMarker+"\n\n## Notes\n") {
		t.Errorf("the first report has no place for notes:\n%s", first)
	}
	if err := os.WriteFile(filepath.Join(dir, "benchmarks.md"), []byte(first+"\nMine.\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := found(120 * time.Millisecond).write(dir); err != nil {
		t.Fatal(err)
	}
	second := read()
	if !strings.HasSuffix(second, notesMarker+"\n\n## Notes\n\nMine.\n") {
		t.Errorf("notes are lost:\n%s", second)
	}
	if !strings.Contains(second, "**not met**") || strings.Contains(first, "**not met**") {
		t.Errorf("the generated part was not replaced:\n%s", second)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	whole := `<ul id="done"><a>` + itemName(3) + `</a><a>` + itemName(27) + `</a></ul>`
	for _, tt := range []struct {
		html             string
		styled, complete bool
	}{
		{whole, false, true},
		{"<style>.a{padding:13px;}</style>" + whole, true, true},
		{strings.ReplaceAll(whole, itemName(27), ""), false, false},
		{"<p>Loading…</p>", false, false},
	} {
		styled, err := inspect(tt.html, "/items", 3)
		if styled != tt.styled || (err == nil) != tt.complete {
			t.Errorf("inspect(%q): got %v, %v, want %v, complete %v", tt.html, styled, err, tt.styled, tt.complete)
		}
	}
}
