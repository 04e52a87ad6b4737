package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/replay"
)

// record is `stillpage record`: it passes requests on until it is stopped, and writes down
// what is answered.
func record(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseRecord(args, getenv)
	if err != nil {
		return asUsage(err)
	}
	file, err := os.OpenFile(cfg.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; choose another --file, or delete it", cfg.File)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	recorder := &replay.Recorder{Upstreams: cfg.Upstreams, Rules: cfg.Rules, Log: slog.New(slog.NewTextHandler(stderr, nil))}
	if err := recorder.Begin(file); err != nil {
		return fmt.Errorf("%s: %w", cfg.File, err)
	}
	state := func() string {
		n, _ := recorder.Recorded()
		return fmt.Sprintf("%d answers recorded", n)
	}
	err = serveUntil(ctx, cfg.Listen, recorder, stdout, stderr, "Recording into "+cfg.File+" at http://%s; stop with Ctrl-C.\n", state)
	n, failed := recorder.Recorded()
	if n == 0 {
		os.Remove(cfg.File)
		fmt.Fprintln(stdout, "Nothing was recorded, and no file is left.")
	} else {
		fmt.Fprintf(stdout, "%d answers are in %s\n", n, cfg.File)
	}
	return errors.Join(err, failed, file.Close())
}

// mock is `stillpage mock`: it answers from a recording until it is stopped.
func mock(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseMock(args, getenv)
	if err != nil {
		return asUsage(err)
	}
	file, err := os.Open(cfg.File)
	if err != nil {
		return err
	}
	m, err := replay.NewMock(file)
	file.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", cfg.File, err)
	}
	m.Latency, m.Log = cfg.Latency, slog.New(slog.NewTextHandler(stderr, nil))
	state := func() string {
		unmatched, answered := m.Unmatched()
		return fmt.Sprintf("%d answered, %d kinds of requests that were not recorded", answered, len(unmatched))
	}
	err = serveUntil(ctx, cfg.Listen, m, stdout, stderr, fmt.Sprintf("Answering from %d recorded answers at http://%%s; stop with Ctrl-C.\n", m.Exchanges()), state)
	unmatched, answered := m.Unmatched()
	fmt.Fprintf(stdout, "%d requests were answered\n", answered)
	for _, name := range slices.SortedFunc(maps.Keys(unmatched), func(a, b string) int { return unmatched[b] - unmatched[a] }) {
		fmt.Fprintf(stdout, "%6d not recorded: %s\n", unmatched[name], name)
	}
	if err == nil && len(unmatched) > 0 {
		err = fmt.Errorf("%d kinds of requests were not recorded", len(unmatched))
	}
	return err
}

// serveUntil serves until the context ends, and says now and then how things are.
func serveUntil(ctx context.Context, listen string, handler http.Handler, stdout, stderr io.Writer, banner string, state func() string) error {
	var all servers
	defer all.close()
	bound, err := all.listen("listen", listen)
	if err != nil {
		return err
	}
	all.start("listen", handler)
	fmt.Fprintf(stdout, banner, bound)
	tick := time.NewTicker(lineInterval)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			return all.shutdown(stopping)
		case err := <-all.failed():
			return err
		case <-tick.C:
			if now := state(); now != said {
				fmt.Fprintln(stderr, now)
				said = now
			}
		}
	}
}
