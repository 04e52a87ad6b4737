package chrome

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// startTimeout: Chromium starts in half a second on an idle machine; cold
// disks and busy cores are known to make it ten.
const startTimeout = 30 * time.Second

// process is one running Chromium.
type process struct {
	ctx       context.Context // chromedp's; ends when Chromium does
	stop      func()          // kills Chromium and returns when nothing of it is left
	lost      <-chan struct{} // closed when Chromium is gone
	dir       string          // of its files
	pid       int             // of the keeper, the leader of its session
	product   string          // "Chrome/156.0.0.0"
	log       *slog.Logger
	userAgent string // without "Headless"
	pipe      *pipe
	tabs      pool
	lastTab   atomic.Int64 // when a tab was last opened, in nanoseconds of Unix time
	spent     atomic.Int64 // processor time when it was last looked at, in nanoseconds

	// Of the renderer, under its lock.
	users   int // renders that have it
	used    time.Time
	renders int // so far
}

// memory returns how many bytes Chromium's processes hold that they do not share
// with files and each other. On systems without /proc it is 0.
func (p *process) memory() int64 {
	var pages int64
	for pid := range session(p.pid) {
		statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue // it has ended
		}
		var size, resident, shared int64
		fmt.Sscan(string(statm), &size, &resident, &shared)
		pages += resident - shared
	}
	return pages * int64(os.Getpagesize())
}

// ticks a second are what /proc counts processor time in, on every Linux.
const ticks = 100

// processor returns how much time Chromium's processes have used, and those that they have
// waited for.
func (p *process) processor() time.Duration {
	var sum int64
	for pid := range session(p.pid) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended
		}
		// utime, stime, cutime and cstime are fields 14 to 17 (proc_pid_stat(5)); those behind
		// the name begin with the third.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 15 {
			continue
		}
		for _, field := range fields[11:15] {
			n, _ := strconv.ParseInt(field, 10, 64)
			sum += n
		}
	}
	spent := max(p.spent.Load(), sum*int64(time.Second/ticks)) // of one that has ended, what was seen last
	p.spent.Store(spent)
	return time.Duration(spent)
}

// disk returns how many bytes its files have.
func (p *process) disk() int64 {
	var bytes int64
	filepath.WalkDir(p.dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil { // it may be gone
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes
}

// answers says whether Chromium does, within a time that is long for it.
func (p *process) answers(ctx context.Context) bool {
	patient, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err := cdp.Call(patient, chromedp.FromContext(p.ctx).Browser, browser.GetVersion, cdp.Empty{})
	return err == nil || ctx.Err() != nil
}

// startProcess starts Chromium under a keeper. ctx can end the start, and means
// nothing to Chromium afterwards.
func startProcess(ctx context.Context, path, proxy string, extra []string, log *slog.Logger) (*process, error) {
	dir, lock, err := newDir()
	if err != nil {
		return nil, err
	}
	defer lock.Close() // the keeper has it by then
	k, err := startKeeper(dir, lock, append([]string{path}, flags(dir, proxy, extra)...))
	if err != nil {
		removeDir(dir)
		return nil, err
	}
	allocator, _ := chromedp.NewAllocatorContext(context.Background(), k.pipe)
	life, stopBrowser := chromedp.NewContext(allocator, chromedp.WithBrowserOption(chromedp.WithBrowserLogf(
		func(format string, args ...any) { log.Debug("chromedp: " + fmt.Sprintf(format, args...)) },
	)))
	p := &process{ctx: life, dir: dir, pid: k.cmd.Process.Pid, pipe: k.pipe, log: log, used: time.Now()}
	p.stop = sync.OnceFunc(func() {
		stopBrowser()
		k.stop()
		// The rest is done already, unless the keeper was killed.
		killSession(p.pid)
		removeDir(dir)
	})

	// A deadline on the context of chromedp's first call would end the connection
	// with it, so a start that takes too long is ended by stopping.
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	unhook := context.AfterFunc(ctx, p.stop)
	version, err := chromedp.CallBrowser(life, browser.GetVersion, cdp.Empty{})
	if !unhook() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("start %s: %w; it said: %s", path, err, k.said.String())
	}
	p.lost = chromedp.FromContext(life).Browser.LostConnection
	p.product = strings.ReplaceAll(version.Product, "HeadlessChrome/", "Chrome/")
	p.userAgent = strings.ReplaceAll(version.UserAgent, "HeadlessChrome/", "Chrome/")
	go func() {
		<-k.ended // Chromium may live on without it
		p.stop()
	}()
	return p, nil
}

// isLost says whether Chromium is gone or being killed.
func (p *process) isLost() bool {
	select {
	case <-p.lost:
		return true
	default:
		return p.ctx.Err() != nil
	}
}
