package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
)

const (
	statusEvery  = 5 * time.Second // watch looks at its owners
	statusAgain  = time.Minute     // what only its numbers tell from the line before is told again
	queuedLonger = 5 * time.Second // messages wait that long before that is worth a line
)

// statusLine says how the owners of watch fare, where that is not as it should be.
type statusLine struct {
	last string // without its numbers
	at   time.Time
}

// next returns what to tell of a status, "" for a good one; or "" for nothing.
func (l *statusLine) next(status string, now time.Time) string {
	shape := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, status)
	switch {
	case shape == l.last && (shape == "" || now.Sub(l.at) < statusAgain):
		return ""
	case status == "":
		l.last = ""
		return "Status: all is well again."
	}
	l.last, l.at = shape, now
	return "Status: " + status + "."
}

// statusOfOwners sums up what is not as it should be, or is "".
func statusOfOwners(conditions map[fds.OwnerKey]fdsclient.Condition, now time.Time) string {
	var parts []string
	gaps, waiting, idle, failing := 0, 0, false, 0
	var since time.Time
	var worst string
	for key, c := range conditions {
		if c.Gap != nil {
			if gaps++; since.IsZero() || c.Gap.Since.Before(since) {
				since = c.Gap.Since
			}
		}
		if c.Waiting > 0 {
			waiting += c.Waiting
			last := c.Last
			if up := c.Connection.Since; up.After(last) {
				last = up
			}
			idle = idle || now.Sub(last) > queuedLonger
		}
		if f := c.Failing; f != nil {
			if failing++; worst == "" {
				worst = fmt.Sprintf("a message of %s failed %s: %v", key.SubscriptionID, count(f.Attempts, "time"), f.Err)
			}
		}
	}
	if gaps > 0 {
		parts = append(parts, fmt.Sprintf("what %s may have missed is not fetched yet, since %s", count(gaps, "owner"), shortTime(&since)))
	}
	if idle { // else they are being written
		parts = append(parts, fmt.Sprintf("%s not written yet", pick(waiting == 1, "1 message is", fmt.Sprintf("%d messages are", waiting))))
	}
	if failing > 1 {
		worst += fmt.Sprintf(", and one of %s more", count(failing-1, "owner"))
	}
	if worst != "" {
		parts = append(parts, worst)
	}
	return strings.Join(parts, "; ")
}

// gapsFilled counts what was fetched since it was last told.
type gapsFilled struct{ owners, messages int }

// OnGap is told what happens to a gap. What opens one, and what keeps it open, the log
// says.
func (w *watcher) OnGap(e fdsclient.GapEvent) {
	if e.Change != fdsclient.GapClosed {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.filled.owners++
	w.filled.messages += e.Fetched
}

// takeFilled returns what to say of gaps that were closed, or "".
func (w *watcher) takeFilled() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.filled
	w.filled = gapsFilled{}
	if f.owners == 0 {
		return ""
	}
	return fmt.Sprintf("What %s missed is fetched: %s.", count(f.owners, "owner"), count(f.messages, "message"))
}

// watched names the owners of whom something was heard.
func (w *watcher) watched() []fds.OwnerKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := make([]fds.OwnerKey, 0, len(w.owners))
	for key := range w.owners {
		keys = append(keys, key)
	}
	return keys
}

// report tells how the owners fare, until ctx ends.
func (w *watcher) report(ctx context.Context, client *fdsclient.Client) {
	ticker := time.NewTicker(statusEvery)
	defer ticker.Stop()
	var line statusLine
	owners := make(map[fds.OwnerKey]*fdsclient.Owner)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			conditions := make(map[fds.OwnerKey]fdsclient.Condition)
			for _, key := range w.watched() {
				if owners[key] == nil {
					o, err := client.Owner(ctx, key.SubscriptionID)
					if err != nil { // gone meanwhile
						continue
					}
					owners[key] = o
				}
				conditions[key] = owners[key].Condition()
			}
			for _, text := range []string{w.takeFilled(), line.next(statusOfOwners(conditions, now), now)} {
				if text != "" {
					w.tell("%s", text)
				}
			}
		}
	}
}
