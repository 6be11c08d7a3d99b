package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// raiseFileLimit allows as many open files as this user may have, here and in
// children.
func raiseFileLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// residentBytes returns the memory of this process (VmRSS).
func residentBytes() (float64, error) {
	text, err := os.ReadFile("/proc/self/statm") // in pages: size, resident, ...
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/self/statm holds %q", text)
	}
	pages, err := strconv.Atoi(string(fields[1]))
	return float64(pages) * float64(os.Getpagesize()), err
}

// cpuTime returns the processor time that this process has used.
func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// waitFiles opens the files, one for each thread of a process, that say how long it has
// waited for a processor (run_delay of sched_info). A kernel may lack them.
func waitFiles(pid int) (files []*os.File) {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, name := range names {
		if f, err := os.Open(name); err == nil { // or the thread has ended
			files = append(files, f)
		}
	}
	return files
}

func (c *child) freeze() error { return c.command.Process.Signal(syscall.SIGSTOP) }
func (c *child) thaw() error   { return c.command.Process.Signal(syscall.SIGCONT) }

// endWithParent has the kernel end a foreign program when this one dies.
func endWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
