package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// held is a renderer with all its processes. They are descendants of one
// process, "hold", whatever becomes of those between: it is their subreaper.
type held struct {
	cmd    *exec.Cmd
	orders io.Closer // hold's standard input
	log    *os.File
}

// self is this program, for its own roles.
const self = "/proc/self/exe"

// start runs a command with a directory of its own for temporary files. The
// command sees of this process's environment the PATH only.
func (e *environment) start(name string, command []string, env ...string) (_ *held, err error) {
	if err := os.MkdirAll(e.logs(), 0o777); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(e.logs(), name+".log"))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			log.Close()
		}
	}()
	dir, err := os.MkdirTemp("", "stillpage-bench-"+name+"-")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{"hold", dir}, command...)...)
	cmd.Dir = filepath.Join(e.work, "peers")
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "LANG=en_US.UTF-8", "TZ=UTC", "CHROMIUM=" + e.browser,
	}, env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C is this program's to handle
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &held{cmd, orders, log}, nil
}

// stop kills all its processes and returns when none is left.
func (h *held) stop() {
	h.orders.Close()
	h.cmd.Wait()
	h.log.Close()
}

// hold is a role: it runs the command that follows its directory, and at the
// end of its standard input, which comes however the program above it ends,
// kills all that has become of the command and removes the directory.
func hold() error {
	if len(os.Args) < 4 {
		return errors.New("hold wants a directory and a command")
	}
	dir, command := os.Args[2], os.Args[3:]
	defer os.RemoveAll(dir)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		for { // again and again: a child may fork while it is being killed
			for _, p := range tree(os.Getpid()) {
				if p.pid != os.Getpid() {
					unix.Kill(p.pid, unix.SIGKILL)
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && err != unix.EINTR {
			return nil // none is left
		}
	}
}

// freePort finds a port that nobody listens at.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}
