package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// session is a plan that is being carried out.
type session struct {
	*plan
	env    *environment
	report *report
	done   int // steps
}

// steps are all that will be done: rows are weighed, and take turns.
func (s *session) steps() int {
	n := 0
	for _, level := range levels {
		for _, r := range s.rows {
			n += s.rounds * len(r.pages(level))
			if isWeighed(level) {
				n++
			}
		}
	}
	return n
}

func (s *session) progress(step string) {
	s.done++
	fmt.Printf("%4.0fs %3d/%d  %s\n", time.Since(s.report.at).Seconds(), s.done, s.steps(), step)
}

// fault is for a row that could not be measured; the others are, all the same.
func (s *session) fault(ctx context.Context, r row, level int, err error) {
	if ctx.Err() != nil {
		return // it was the interrupt
	}
	text := fmt.Sprintf("%s at %d at a time: %v", r.name, level, err)
	s.report.faults = append(s.report.faults, text)
	fmt.Fprintln(os.Stderr, text)
}

// isWeighed leaves out one at a time, which needs least and is no one's limit.
func isWeighed(level int) bool { return level > 1 }

// weighAll finds what memory the rows need at a level, each alone: what several
// Chromiums share of their program file would count for each in part only.
func (s *session) weighAll(ctx context.Context, level int) {
	for _, r := range s.rows {
		peak, err := s.weigh(ctx, r, level)
		if err != nil {
			s.fault(ctx, r, level, fmt.Errorf("memory: %w", err))
			continue
		}
		s.report.memory[place{r.name, level}] = peak
		s.progress(fmt.Sprintf("memory   %-10s at %d: %3d MB, %d without files", r.name, level, peak.all>>20, peak.own>>20))
	}
}

func (s *session) weigh(ctx context.Context, r row, level int) (usage, error) {
	run, err := begin(ctx, s.env, r, level)
	if err != nil {
		return usage{}, err
	}
	defer run.held.stop()
	watched, stop := context.WithCancel(ctx)
	peak := watchMemory(watched, run.held.cmd.Process.Pid)
	_, err = run.sample(ctx, s.env, "/items", s.window)
	stop()
	return <-peak, err
}

// turn is a runner's with one of its pages, once a round.
type turn struct {
	*runner
	page string
}

// takeTurns starts all rows and lets them have their turns, of which one works
// and the others idle. The turns of a round are close to each other, so that the
// ratio of two depends little on what the machine was like at that time.
func (s *session) takeTurns(ctx context.Context, level int) {
	var turns []turn
	for _, r := range s.rows {
		run, err := begin(ctx, s.env, r, level, r.pages(level)...)
		if err != nil {
			s.fault(ctx, r, level, err)
			continue
		}
		defer run.held.stop()
		for _, page := range r.pages(level) {
			turns = append(turns, turn{run, page})
		}
	}
	for round := range s.rounds {
		order := rand.New(rand.NewPCG(uint64(round), uint64(level)))
		order.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
		for _, t := range turns {
			if ctx.Err() == nil && !t.givenUp {
				s.take(ctx, t, round)
			}
		}
	}
}

func (s *session) take(ctx context.Context, t turn, round int) {
	found, err := s.takePatiently(ctx, t)
	if err != nil {
		// It would take as long to fail in every round.
		t.givenUp = true
		t.held.stop()
		s.fault(ctx, t.row, t.level, fmt.Errorf("given up in round %d: %s: %w", round+1, t.page, err))
		return
	}
	found.round = round
	s.report.samples = append(s.report.samples, found)
	s.progress(fmt.Sprintf("round %-2d %s", round+1, found))
}

// takePatiently prefers a machine that nobody else uses.
func (s *session) takePatiently(ctx context.Context, t turn) (sample, error) {
	for {
		s.patience = awaitQuiet(ctx, s.patience)
		began := time.Now()
		found, err := t.sample(ctx, s.env, t.page, turnWindow(t.level))
		if err != nil || !found.disturbed() || s.patience <= 0 {
			return found, err
		}
		fmt.Printf("      others disturbed it, again: %s\n", found)
		s.patience -= time.Since(began)
		s.report.repeated++
	}
}

// turnWindow is the least that counts of a turn. It is short, so that the turns
// of a round are close to each other; to end with a whole round of the places
// takes half a second more, and slow rows one or two.
func turnWindow(level int) time.Duration {
	if level == 1 {
		return 1200 * time.Millisecond
	}
	return 1500 * time.Millisecond
}
