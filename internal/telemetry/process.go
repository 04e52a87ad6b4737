package telemetry

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// OwnMemory is how many bytes this process holds that it does not share. On systems without
// /proc it is 0.
func OwnMemory() int64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident, shared int64
	fmt.Sscan(string(statm), &size, &resident, &shared)
	return (resident - shared) * int64(os.Getpagesize())
}

// OwnDescriptors is how many files and connections this process has open. On systems without
// /proc it is 0.
func OwnDescriptors() int {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return max(0, len(names)-1) // but for the one that was just opened
}

// OwnProcessor is how much time this process has used.
func OwnProcessor() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
