package chrome

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A keeper is a small process of this same program between it and Chromium. It
// outlives both: it kills all of Chromium's processes, reaps them and removes
// their directory when Chromium ends, when it is told to, and when this program
// dies in whatever way, kill -9 included. Nobody else could do the last.
//
//	stillpage ──stdin──▶ keeper ──▶ chromium ──▶ zygote, renderers, …
//
// The end of its standard input is the keeper's order to stop.

// keeperName is a keeper's argv[0]. It does not hold the program's name, so
// that `pkill stillpage` leaves the keeper to clean up.
const keeperName = "chromium-keeper"

// lockFD is the descriptor by which a keeper holds the lock on its directory:
// the first after standard input, output, error, and Chromium's two pipes.
const lockFD = 5

// stopTimeout is how long a keeper may take to kill and clean up before it is
// killed itself.
const stopTimeout = 5 * time.Second

// keeper is the parent's side of one.
type keeper struct {
	cmd    *exec.Cmd
	pipe   *pipe         // to Chromium
	orders io.Closer     // its standard input
	said   firstWords    // what Chromium has printed
	ended  chan struct{} // closed when the keeper has
}

// startKeeper starts a keeper that runs a Chromium.
func startKeeper(dir string, lock *os.File, command []string) (*keeper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	k := &keeper{ended: make(chan struct{})}
	alive, orders, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe to keeper: %w", err)
	}
	defer alive.Close()
	pipe, toBrowser, fromBrowser, err := openPipe()
	if err != nil {
		orders.Close()
		return nil, fmt.Errorf("pipe to Chromium: %w", err)
	}
	defer toBrowser.Close()
	defer fromBrowser.Close()
	k.pipe, k.orders = pipe, orders
	k.cmd = exec.Command(self)
	k.cmd.Args = append([]string{keeperName, dir}, command...)
	k.cmd.Env = environment(dir)
	k.cmd.Stdin, k.cmd.Stdout, k.cmd.Stderr = alive, &k.said, &k.said
	k.cmd.ExtraFiles = []*os.File{toBrowser, fromBrowser, lock} // from 3: see keep
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	k.cmd.WaitDelay = stopTimeout // for what it leaves behind, if it was killed
	if err := k.cmd.Start(); err != nil {
		orders.Close()
		pipe.Close()
		return nil, fmt.Errorf("start %s: %w", keeperName, err)
	}
	go func() {
		k.cmd.Wait()
		close(k.ended)
	}()
	return k, nil
}

// stop returns when the keeper has ended.
func (k *keeper) stop() {
	k.orders.Close() // a killed keeper could not clean up
	k.pipe.Close()
	select {
	case <-k.ended:
	case <-time.After(stopTimeout):
		k.cmd.Process.Kill()
		<-k.ended
	}
}

// firstWords keeps the beginning of what is written to it, for the error of a
// Chromium that does not start.
type firstWords struct {
	mu   sync.Mutex
	text []byte
}

func (w *firstWords) Write(p []byte) (int, error) {
	const most = 4096
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p[:min(len(p), most-len(w.text))]...)
	return len(p), nil
}

func (w *firstWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cmp.Or(strings.TrimSpace(string(w.text)), "nothing")
}

// KeepIfAsked makes this process a keeper if it was started as one, and then
// does not return. It is the first call of every program that renders.
func KeepIfAsked() {
	if len(os.Args) < 3 || os.Args[0] != keeperName {
		return
	}
	code, err := keep(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, keeperName+":", err)
	}
	os.Exit(code)
}

// mostData is the most memory that each of Chromium's processes can write to, so that
// a page which takes all there is gets an error, or ends its own process, and not the
// machine's. A page without anything has 600 MB of it, most of which is never
// used; of 20,000 nodes or 4 MB of text, 1,200. What it can really take is then some
// 1,300 MB, which with the other processes fits into a function of 2 GB.
const mostData = 1792 << 20

// keep runs the command and returns its exit code when nothing of it is left.
func keep(dir string, command []string) (int, error) {
	// Chromium gets SIGKILL when the thread that started it ends, which is the
	// main thread, and with it this process.
	runtime.LockOSThread()
	syscall.CloseOnExec(lockFD)
	defer removeDir(dir)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 1, fmt.Errorf("become subreaper: %w", err)
	}
	// A core dump of a browser fills a small disk.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return 1, fmt.Errorf("forbid core dumps: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: mostData, Max: mostData}); err != nil {
		return 1, fmt.Errorf("limit memory: %w", err)
	}

	null, err := os.Open(os.DevNull)
	if err != nil {
		return 1, err
	}
	toBrowser, fromBrowser := os.NewFile(3, "to browser"), os.NewFile(4, "from browser")
	process, err := os.StartProcess(command[0], command, &os.ProcAttr{
		Env:   os.Environ(), // what the parent chose, see environment
		Files: []*os.File{null, os.Stdout, os.Stderr, toBrowser, fromBrowser},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 1, fmt.Errorf("start %s: %w", command[0], err)
	}
	toBrowser.Close()
	fromBrowser.Close()

	go func() {
		waitForStop()
		killSession(os.Getpid())
	}()
	return reap(process.Pid), nil
}

// waitForStop returns at the end of standard input or at a signal that asks a
// process to end.
func waitForStop() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop <- syscall.SIGTERM
	}()
	<-stop
}

// reap waits for the browser and for all that it leaves behind, which becomes
// this process's own children, and returns the browser's exit code.
func reap(browser int) int {
	code := 0
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil: // ECHILD: nothing is left
			return code
		case pid == browser:
			code = status.ExitStatus()
			if status.Signaled() {
				code = 128 + int(status.Signal())
			}
			// Again and again: a child may fork while it is being killed.
			go func() {
				for {
					killSession(os.Getpid())
					time.Sleep(10 * time.Millisecond)
				}
			}()
		}
	}
}

// killSession kills the processes of the session that a keeper leads, but for
// the keeper. The program does so too when the keeper is dead: on Debian,
// Chromium is the child of a shell script, so the order to die with its parent
// reaches the script alone.
func killSession(leader int) {
	for pid := range session(leader) {
		if pid != leader {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// session returns the processes of a session.
func session(leader int) iter.Seq[int] {
	return func(yield func(int) bool) {
		entries, err := os.Open("/proc")
		if err != nil {
			return // this system has none
		}
		defer entries.Close()
		names, _ := entries.Readdirnames(-1)
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil {
				continue
			}
			stat, err := os.ReadFile("/proc/" + name + "/stat")
			if err != nil {
				continue // it has ended
			}
			// pid (name) state ppid pgrp session …, and the name may hold anything.
			fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
			if len(fields) < 4 {
				continue
			}
			session, _ := strconv.Atoi(fields[3])
			if session == leader && !yield(pid) {
				return
			}
		}
	}
}

// removeDir removes a browser's directory. A file that appears meanwhile fails
// the removal once, not twice.
func removeDir(dir string) error {
	var err error
	for range 5 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// dirPattern names the directories of browsers in the system's temporary one.
const dirPattern = "stillpage-chromium-"

// newDir makes a browser's directory and locks it. Whoever holds the returned
// file, the keeper in the end, holds the lock.
func newDir() (dir string, lock *os.File, err error) {
	dir, err = os.MkdirTemp("", dirPattern)
	if err != nil {
		return "", nil, fmt.Errorf("browser's directory: %w", err)
	}
	lock, err = os.Open(dir)
	if err != nil {
		removeDir(dir)
		return "", nil, fmt.Errorf("browser's directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		removeDir(dir)
		return "", nil, fmt.Errorf("lock browser's directory %s: %w", dir, err)
	}
	return dir, lock, nil
}

// sweep removes directories whose keeper was killed too. They are told by the
// lock that nobody holds; a new one is left its minute to be locked.
func sweep(now time.Time) {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), dirPattern+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || now.Sub(info.ModTime()) < time.Minute {
			continue
		}
		f, err := os.Open(dir)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			removeDir(dir)
		}
		f.Close()
	}
}
