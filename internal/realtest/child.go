package realtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// startTime bounds how long a part may take until it is ready, with room for a busy machine.
	startTime = 60 * time.Second
	// stopTime is what a part has to end by itself before it is killed.
	stopTime = 10 * time.Second
	// keptOutput bounds what is kept of a child's output; of more, the end is kept.
	keptOutput = 1 << 20
)

// child is a server process that belongs to one test.
type child struct {
	name   string
	cmd    *exec.Cmd
	output *output
	ended  chan struct{} // closed when the process is gone and its output is complete
}

// startChild starts cmd and keeps its output. The child is killed when the test ends and, on Linux,
// when the test binary dies.
func startChild(t testing.TB, name string, cmd *exec.Cmd) *child {
	t.Helper()
	c := &child{name: name, cmd: cmd, output: newOutput(), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = c.output, c.output
	cmd.WaitDelay = time.Second
	endWithParent(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("realtest: start %s: %v", name, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended shows in its output; that it ended is what the waiters need
		c.output.end()
		close(c.ended)
	}()
	t.Cleanup(c.kill)
	return c
}

// kill ends the child at once and waits until it is gone. Killing a child that has ended does
// nothing.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// stop asks the child to end with a signal and waits; a child that does not obey within stopTime is
// killed, which is an error. The signal is sent again and again: Mosquitto forgets one that comes
// between its word that it runs and its first round.
func (c *child) stop(signal os.Signal) error {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	tooLate := time.After(stopTime)
	for {
		if err := c.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			c.kill()
			return fmt.Errorf("realtest: stop %s: %w", c.name, err)
		}
		select {
		case <-c.ended:
			return nil
		case <-again.C:
		case <-tooLate:
			c.kill()
			return fmt.Errorf("realtest: stop %s: still running %v after %v, killed", c.name, stopTime, signal)
		}
	}
}

// waitLine waits until the child has written a line that contains part, and fails the test when it
// ends before.
func (c *child) waitLine(t testing.TB, part string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	line, err := c.output.waitLine(ctx, part)
	if err != nil {
		c.kill()
		t.Fatalf("realtest: %s did not come up: %v; its output:\n%s", c.name, err, c.output)
	}
	return line
}

// output keeps the end of what a child writes and lets a test wait for a line.
type output struct {
	mu      sync.Mutex
	text    []byte
	ended   bool
	changed chan struct{} // closed and replaced at each change
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

// Write keeps p.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if over := len(o.text) - keptOutput; over > 0 {
		o.text = append([]byte(nil), o.text[over:]...)
	}
	o.notify()
	return len(p), nil
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.notify()
}

func (o *output) notify() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// String is what has been kept so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// waitLine returns the first complete line that contains part.
func (o *output) waitLine(ctx context.Context, part string) (string, error) {
	for {
		o.mu.Lock()
		text, ended, changed := string(o.text), o.ended, o.changed
		o.mu.Unlock()
		for line := range strings.Lines(text) {
			if strings.HasSuffix(line, "\n") && strings.Contains(line, part) {
				return strings.TrimRight(line, "\r\n"), nil
			}
		}
		if ended {
			return "", fmt.Errorf("it ended before it wrote %q", part)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("it did not write %q within %v", part, startTime)
		}
	}
}

// count returns how often part has been written.
func (o *output) count(part string) int { return strings.Count(o.String(), part) }

// waitCount waits until part has been written that often.
func (o *output) waitCount(ctx context.Context, part string, times int) error {
	for {
		o.mu.Lock()
		text, ended, changed := string(o.text), o.ended, o.changed
		o.mu.Unlock()
		if strings.Count(text, part) >= times {
			return nil
		}
		if ended {
			return fmt.Errorf("it ended before it wrote %q for the %d. time", part, times)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("it did not write %q for the %d. time within %v", part, times, startTime)
		}
	}
}
