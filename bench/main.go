// Bench compares this project's renderer with its peers: all render the same
// site with the same Chromium, in turns, one row of the report at a time. `make
// bench` runs it. It measures renderers without cache, queue and edge; and then the
// cache without a renderer, see hits.go.
//
//	bench ──HTTP──▶ hold ──▶ renderer ──▶ Chromium ──HTTP──▶ site
//
// Renderers and the site are processes of their own, so that what each spends
// can be told from the others and from the load itself. Those that are written
// in Go are this program, started again with a role as its first argument.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stillpage/stillpage/internal/chrome"
)

// roles are what this program is when it is started again.
var roles = map[string]func() error{
	"hold":      hold,
	"site":      serveSite,
	"stillpage": serveStillpage,
	"oracle":    serveOracle,
	"bare":      serveBare,
}

func main() {
	chrome.KeepIfAsked()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) > 1 && roles[os.Args[1]] != nil {
		return roles[os.Args[1]]()
	}
	var p plan
	only := flag.String("only", "", "comma-separated `rows` to measure, of "+strings.Join(rowNames(), ", ")+"; writes no report")
	flag.IntVar(&p.rounds, "rounds", 9, "how many turns every row gets at each level")
	flag.DurationVar(&p.window, "window", 5*time.Second, "how long a row's memory is watched at 4 and at 8 at a time")
	flag.DurationVar(&p.patience, "patience", 3*time.Minute, "how long to wait, in all, for a machine that others use, and to repeat what they disturbed")
	flag.StringVar(&p.work, "work", "bench/.work", "`directory` that scripts/bench-deps.sh has filled")
	docs := flag.String("docs", "docs", "`directory` of the report")
	flag.Parse()
	p.hits = *only == ""
	if err := p.choose(*only); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	report, err := p.carryOut(ctx)
	if err != nil {
		return err
	}
	fmt.Print("\n", report.terminal())
	if *only != "" {
		return nil
	}
	return report.write(*docs)
}

// levels are how many pages are asked for at a time.
var levels = []int{1, 4, 8}

// plan is what is to be measured.
type plan struct {
	rows     []row
	rounds   int
	window   time.Duration
	patience time.Duration
	work     string
	hits     bool // measured as well
}

func (p *plan) choose(only string) error {
	if p.rounds < 1 {
		return errors.New("-rounds must be at least 1")
	}
	if only == "" {
		p.rows = rows
		return nil
	}
	for _, name := range strings.Split(only, ",") {
		r, ok := rowNamed(name)
		if !ok {
			return fmt.Errorf("-only: there is no row %q; there are %s", name, strings.Join(rowNames(), ", "))
		}
		p.rows = append(p.rows, r)
	}
	return nil
}

// carryOut goes through the levels.
func (p *plan) carryOut(ctx context.Context) (*report, error) {
	env, err := newEnvironment(ctx, p.work)
	if err != nil {
		return nil, err
	}
	defer env.close()
	s := &session{plan: p, env: env, report: newReport(p, env.browser, time.Now())}
	for _, level := range levels {
		if isWeighed(level) {
			s.weighAll(ctx, level)
		}
		s.takeTurns(ctx, level)
	}
	if p.hits {
		s.takeHits(ctx)
	}
	if ctx.Err() != nil {
		return nil, errors.New("interrupted; nothing was written")
	}
	s.report.took = time.Since(s.report.at)
	return s.report, nil
}

// environment is what all measurements share.
type environment struct {
	browser string // Chromium's path
	work    string
	site    *held
	origin  string // the site's
}

func newEnvironment(ctx context.Context, work string) (*environment, error) {
	browser, err := chrome.FindBinary()
	if err != nil {
		return nil, err
	}
	if work, err = filepath.Abs(work); err != nil {
		return nil, err
	}
	env := &environment{browser: browser, work: work}
	port, err := freePort()
	if err == nil {
		env.origin = fmt.Sprint("http://127.0.0.1:", port)
		env.site, err = env.start("site", []string{self, "site"}, "PORT="+port, "DIST="+filepath.Join(work, "site/dist"))
	}
	if err == nil {
		err = (&client{base: env.origin, origin: ""}).await(ctx, "/static")
	}
	if err != nil {
		env.close()
		return nil, fmt.Errorf("start the site: %w (its log is in %s)", err, env.logs())
	}
	return env, nil
}

func (e *environment) logs() string { return filepath.Join(e.work, "logs") }

func (e *environment) close() {
	if e.site != nil {
		e.site.stop()
	}
}
