//go:build !linux

package main

import (
	"errors"
	"time"
)

var errNotLinux = errors.New("memory and processor time are read in ways that only Linux has")

func residentBytes() (float64, error) { return 0, errNotLinux }

func cpuTime() (time.Duration, error) { return 0, errNotLinux }
