package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticks a second are what /proc counts CPU time in, on every Linux.
const ticks = 100

// proc is a process as /proc/PID/stat tells of it.
type proc struct {
	pid, parent int
	cpu         int // in ticks: its own, and that of the children it has waited for
}

// tree returns a process and all its descendants.
func tree(root int) []proc {
	all := processes()
	children := map[int][]proc{}
	var list []proc
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p)
		if p.pid == root {
			list = append(list, p)
		}
	}
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i].pid]...)
	}
	return list
}

func processes() []proc {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var list []proc
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if p, ok := parseStat(stat); ok {
			list = append(list, p)
		}
	}
	return list
}

// parseStat reads "pid (name) state ppid …"; the name may hold anything. See
// proc_pid_stat(5): utime is field 14, cstime field 17.
func parseStat(stat []byte) (p proc, ok bool) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return proc{}, false
	}
	fmt.Sscan(string(stat), &p.pid)
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 15 {
		return proc{}, false
	}
	p.parent, _ = strconv.Atoi(fields[1])
	for _, f := range fields[11:15] {
		n, _ := strconv.Atoi(f)
		p.cpu += n
	}
	return p, true
}

// cpuTime is what a process, its descendants and those of them that have ended
// have spent.
func cpuTime(root int) time.Duration {
	total := 0
	for _, p := range tree(root) {
		total += p.cpu
	}
	return time.Duration(total) * time.Second / ticks
}

// usage is memory in bytes, as the sum of the proportional set sizes (PSS) of
// processes: what they share counts once.
type usage struct {
	all int64
	own int64 // without files, which other browsers on the machine may share
}

func (u usage) max(v usage) usage { return usage{max(u.all, v.all), max(u.own, v.own)} }

// memory is that of a process and its descendants.
func memory(root int) usage {
	var sum usage
	for _, p := range tree(root) {
		rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		sum.all += kilobytesOf(string(rollup), "\nPss:") << 10
		sum.own += (kilobytesOf(string(rollup), "\nPss_Anon:") + kilobytesOf(string(rollup), "\nPss_Shmem:")) << 10
	}
	return sum
}

func kilobytesOf(text, name string) (n int64) {
	_, rest, _ := strings.Cut(text, name)
	fmt.Sscan(rest, &n)
	return n
}

// machineTime is the CPU time that the whole machine has spent on work, and
// that its hypervisor has given to others while there was work to do.
func machineTime() (worked, stolen time.Duration) {
	stat, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(stat), "\n")
	return parseMachine(line)
}

// parseMachine reads "cpu user nice system idle iowait irq softirq steal guest
// guest_nice"; user and nice hold the last two.
func parseMachine(line string) (worked, stolen time.Duration) {
	for i, f := range strings.Fields(line) {
		n, _ := strconv.Atoi(f)
		switch i {
		case 1, 2, 3, 6, 7:
			worked += time.Duration(n) * time.Second / ticks
		case 8:
			stolen = time.Duration(n) * time.Second / ticks
		}
	}
	return worked, stolen
}
