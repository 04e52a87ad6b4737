package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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

func TestParseMachine(t *testing.T) {
	t.Parallel()
	// user nice system idle iowait irq softirq steal guest guest_nice
	worked, stolen := parseMachine("cpu  100 200 300 5000 60000 400 500 70 80 90")
	if want := 15 * time.Second; worked != want {
		t.Errorf("worked: got %v, want %v", worked, want)
	}
	if want := 700 * time.Millisecond; stolen != want {
		t.Errorf("stolen: got %v, want %v", stolen, want)
	}
}

func TestDisturbed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		foreign, stolen float64
		want            bool
	}{
		{0.09, 0, false},
		{0, 0.09, false},
		{0.06, 0.06, true},
		{0, 0.5, true},
		{0.5, 0, true},
	} {
		if got := (sample{foreign: tt.foreign, stolen: tt.stolen}).disturbed(); got != tt.want {
			t.Errorf("foreign %v, stolen %v: got %v, want %v", tt.foreign, tt.stolen, got, tt.want)
		}
	}
}

// Own is as fast as the given time, peers take 900 ms; in the second of three
// rounds the machine is half as fast.
func found(own time.Duration) *report {
	r := &report{plan: &plan{rounds: 3}, browser: "Chromium 1", machine: "2 cores",
		at: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), memory: map[place]usage{}}
	for _, row := range rows {
		wall, cpu, memory := 900*time.Millisecond, 900*time.Millisecond, int64(500<<20)
		if row.name == ownName || row.name == "oracle" {
			wall, cpu, memory = own, own/2, 300<<20
		}
		for _, level := range levels {
			r.memory[place{row.name, level}] = usage{all: memory}
			for round, slow := range []time.Duration{1, 2, 1} {
				r.samples = append(r.samples, sampleOf(row.name, level, round, slow*wall, slow*cpu))
			}
		}
	}
	return r
}

// sampleOf is one of ten pages, of which two at most are rendered at a time.
func sampleOf(row string, level, round int, wall, cpu time.Duration) sample {
	return sample{row: row, page: "/items", level: level, round: round,
		took: 10 * wall / time.Duration(min(level, 2)), cpu: 10 * cpu, walls: slices.Repeat([]time.Duration{wall}, 10)}
}

func TestRatio(t *testing.T) {
	t.Parallel()
	r := &report{}
	for round, machine := range []time.Duration{1, 2, 4, 3, 1} {
		wall := machine * 100 * time.Millisecond
		r.samples = append(r.samples, sampleOf(ownName, 1, round, wall, wall))
		switch round {
		case 0: // the peer has no turn in this round
		case 1: // and completes nothing in this one
			r.samples = append(r.samples, sample{row: "prerender", page: "/items", level: 1, round: round, took: wall, cpu: wall, failures: []string{"502"}})
		default:
			r.samples = append(r.samples, sampleOf("prerender", 1, round, time.Duration(round)*wall, wall))
		}
	}
	for _, tt := range []struct {
		what      string
		row, base string
		value     func(sample) float64
		want      figure
	}{
		{"p50", "prerender", ownName, sample.p50, figure{3, 2, 4}},
		{"pages a second", ownName, "prerender", sample.perSecond, figure{3, 2, 4}},
		{"CPU", "prerender", ownName, sample.cpuAPage, figure{1, 1, 1}},
		{"a row that is not there", "oracle", ownName, sample.p50, figure{}},
	} {
		got := r.ratio(tt.row, tt.base, "/items", 1, tt.value)
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(figure{}), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.what, diff)
		}
	}
}

func TestThroughput(t *testing.T) {
	t.Parallel()
	same := found(100 * time.Millisecond)
	if got, _ := same.throughput(); math.Abs(got.median-9) > 1e-9 || got.high-got.low > 1e-9 {
		t.Errorf("all rows at the same level: got %v, want 9 in every round", got)
	}
	// Rendertron becomes twice as fast, at another level than stillpage's best.
	other := found(100 * time.Millisecond)
	for i, s := range other.samples {
		if s.row == "rendertron" && s.level == 8 {
			other.samples[i].took /= 2
		}
	}
	got, between := other.throughput()
	if math.Abs(got.median-4.5) > 1e-9 || !strings.Contains(between, "rendertron") || !strings.Contains(between, "medians of different levels") {
		t.Errorf("got %v, %s, want 4.50, against rendertron, by medians", got, between)
	}
}

func TestGoals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		own  time.Duration
		want []bool // oracle, prerender, rendertron, throughput, CPU, CPU on a machine as fast as the goal's, memory
	}{
		{100 * time.Millisecond, []bool{true, true, true, true, true, true, true}},
		{120 * time.Millisecond, []bool{true, false, false, true, true, true, true}},
		{160 * time.Millisecond, []bool{true, false, false, true, false, true, true}},
		{190 * time.Millisecond, []bool{true, false, false, false, false, true, true}},
		{400 * time.Millisecond, []bool{true, false, false, false, false, false, true}},
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

// fakeRenderer answers with complete pages, but for every tenth.
type fakeRenderer struct {
	mu        sync.Mutex
	asked     map[int]int // by item
	now, most int         // under way
}

func (f *fakeRenderer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, name, _ := strings.Cut(r.RequestURI, "/items/")
	id := number(name)
	f.count(id, 1)
	time.Sleep(time.Millisecond) // others come meanwhile
	f.count(id, 0)
	if id%10 == 0 {
		http.Error(w, "broken", http.StatusBadGateway)
		return
	}
	fmt.Fprintf(w, `<b id="done">%s</b><b>%s</b>`, itemName(id), itemName(id+relatedItems))
}

func (f *fakeRenderer) count(id, begun int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[id] += begun
	f.now += 2*begun - 1
	f.most = max(f.most, f.now)
}

func TestSample(t *testing.T) {
	t.Parallel()
	const level = 4
	fake := &fakeRenderer{asked: map[int]int{}}
	server := httptest.NewServer(fake)
	defer server.Close()
	this := &held{cmd: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}}
	r := &runner{row: row{name: "fake"}, level: level, held: this, client: &client{base: server.URL + "/", origin: "http://site"}}
	for range 2 {
		before := r.asked
		s, err := r.sample(t.Context(), &environment{site: this}, "/items", 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		counted := len(s.walls) + len(s.failures)
		if counted == 0 || counted%level != 0 {
			t.Errorf("got %d pages, want a multiple of %d", counted, level)
		}
		if got, want := r.asked-before, level+counted+level-1; got != want {
			t.Errorf("asked for %d pages, want %d: those before and those under way at the end", got, want)
		}
		fake.mu.Lock()
		if fake.now != 0 {
			t.Errorf("%d pages are still under way", fake.now)
		}
		fake.mu.Unlock()
		if s.took < 50*time.Millisecond || s.bare != len(s.walls) {
			t.Errorf("took %v, bare %d of %d", s.took, s.bare, len(s.walls))
		}
	}
	fake.mu.Lock()
	defer fake.mu.Unlock()
	if fake.most > level {
		t.Errorf("got %d at a time, want %d at most", fake.most, level)
	}
	if len(fake.asked) != r.asked {
		t.Errorf("got %d different pages, want %d: each is asked for once", len(fake.asked), r.asked)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.sample(ctx, &environment{site: this}, "/items", time.Hour); err == nil {
		t.Error("an interrupted sample has no error")
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

func TestParseHits(t *testing.T) {
	t.Parallel()
	got := parseHits(`goos: linux
BenchmarkHit/bare-2         	   20000	     53125 ns/op	         0.5120 p99-ms	     18823 requests/s	    4913 B/op	      58 allocs/op
BenchmarkHit/memory-2       	   20000	     79005 ns/op	         0.9210 p99-ms	     12657 requests/s	    8842 B/op	     110 allocs/op
BenchmarkHit/broken
PASS
`)
	want := map[string]hit{"bare": {18823, 0.512, 58}, "memory": {12657, 0.921, 110}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(hit{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r := &report{hits: []map[string]hit{got, {"bare": {100, 1, 1}, "memory": {40, 2, 1}}, {"bare": {100, 1, 1}, "memory": {45, 2, 1}}}}
	if goals := r.hitGoals(); len(goals) != 2 || goals[0].met || goals[1].met || !strings.Contains(goals[0].got, "0.45") {
		t.Errorf("got %+v, want two that are not met", goals)
	}
	if table := r.hitTable(); len(table) != 3 {
		t.Errorf("got %q, want a header and two rows", table)
	}
}
