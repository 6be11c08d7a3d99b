package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// result is how a run ended.
type result struct {
	t        *testing.T
	args     []string
	status   int
	out, err string
}

// expect checks the exit status.
func (r result) expect(status int) result {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("fdsdemo %q: exit status %d, want %d; stdout:\n%s\nstderr:\n%s", r.args, r.status, status, r.out, r.err)
	}
	return r
}

// says checks that standard error is one sentence that contains all parts, and
// that standard output is empty.
func (r result) says(parts ...string) result {
	r.t.Helper()
	if err := r.oneSentence(parts...); err != nil {
		r.t.Errorf("fdsdemo %q: %v; stdout:\n%s\nstderr:\n%s", r.args, err, r.out, r.err)
	}
	return r
}

// faults checks that standard error is of the faults of a configuration, one a line, which
// together contain all parts.
func (r result) faults(parts ...string) result {
	r.t.Helper()
	for line := range strings.Lines(r.err) {
		if !strings.HasPrefix(line, "fdsdemo: ") || !strings.Contains(line, ".yaml:") {
			r.t.Errorf("fdsdemo %q: a line is of no fault: %s", r.args, line)
		}
	}
	for _, part := range parts {
		if !strings.Contains(r.err, part) || r.out != "" {
			r.t.Errorf("fdsdemo %q: nothing contains %q; stdout:\n%s\nstderr:\n%s", r.args, part, r.out, r.err)
		}
	}
	return r
}

func (r result) oneSentence(parts ...string) error {
	if r.out != "" {
		return errors.New("something on standard output")
	}
	last := r.err
	for line := range strings.Lines(r.err) {
		last = line
	}
	if told := new(toldInJSON); json.Unmarshal([]byte(last), told) == nil && told.Level == "error" {
		last = told.Msg
		if told.Status != r.status || told.Time.IsZero() {
			return fmt.Errorf("the last line says %+v", *told)
		}
	} else if !strings.HasPrefix(last, "fdsdemo: ") {
		return errors.New("standard error does not end with fdsdemo: and a sentence")
	}
	if strings.Contains(r.err, "goroutine ") || strings.Contains(r.err, "Usage:") {
		return errors.New("a stack or the usage on standard error")
	}
	for _, part := range parts {
		if !strings.Contains(last, part) {
			return fmt.Errorf("the sentence does not contain %q", part)
		}
	}
	return nil
}

// toldInJSON is a line of standard error in JSON.
type toldInJSON struct {
	Time       time.Time
	Level, Msg string
	Status     int
}

// quiet fails the test when something is said to have gone wrong.
func (r result) quiet() {
	r.t.Helper()
	if strings.Contains(r.err, "fdsdemo: ") || strings.Contains(r.err, `"level":"error"`) || strings.Contains(r.err, `"level":"warn"`) {
		r.t.Errorf("%s", r.err)
	}
}

// lines returns the lines of standard output.
func (r result) lines() []string {
	if r.out == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
}
