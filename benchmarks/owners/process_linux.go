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

// processorWait returns how long the threads of a process have waited for a processor,
// ready to run, since they began (run_delay of sched_info, which a kernel may lack).
func processorWait(pid int) (waited time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		if fields := bytes.Fields(text); len(fields) > 1 { // on a processor, waiting for one, slices
			n, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			waited += time.Duration(n)
		}
	}
	return waited
}

func (c *child) freeze() error { return c.command.Process.Signal(syscall.SIGSTOP) }
func (c *child) thaw() error   { return c.command.Process.Signal(syscall.SIGCONT) }

// endWithParent has the kernel end a foreign program when this one dies.
func endWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
