//go:build !linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"time"
)

var errNotLinux = errors.New("memory and processor time are read in ways that only Linux has")

func raiseFileLimit() error { return errNotLinux }

func residentBytes() (float64, error) { return 0, errNotLinux }

func cpuTime() (time.Duration, error) { return 0, errNotLinux }

func waitFiles(int) []*os.File { return nil }

func (c *child) freeze() error { return errNotLinux }

func (c *child) thaw() error { return nil }

func endWithParent(*exec.Cmd) {}
