package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/pull"
)

const (
	progressAfter = time.Second // what is read within is not worth a line
	progressEvery = 200 * time.Millisecond
	progressTold  = 5 * time.Second // between two lines of JSON
)

// progressLine says on a terminal how far a read is, in one line that is written
// again and again. It gives way to what else is said there, and ends with the
// first data, which may be drawn on the same terminal by a pager.
type progressLine struct {
	what  string
	began time.Time

	tell func(format string, args ...any) // in place of a line that is written again; may be nil

	mu    sync.Mutex
	told  time.Time
	there transient
	items map[any]int // by list
	over  bool
}

// transient is a line of a terminal that is written again and again.
type transient struct {
	out   io.Writer
	file  *os.File // the terminal, whose width may change; may be nil
	style terminal.Style
	shown int // characters of the line that is there
}

// show puts a text in the place of the line that is there.
func (l *transient) show(text string) {
	if width := terminal.WidthOf(l.file); width > 0 {
		l.style.Width = width
	}
	text = l.style.Cut(text, l.style.Width-1) // the last column would make a new line
	n := len([]rune(text))
	_, _ = io.WriteString(l.out, "\r"+text+strings.Repeat(" ", max(l.shown-n, 0))) // nothing depends on it
	l.shown = n
}

// clear removes the line.
func (l *transient) clear() {
	if l.shown > 0 {
		_, _ = io.WriteString(l.out, "\r"+strings.Repeat(" ", l.shown)+"\r")
		l.shown = 0
	}
}

// showProgress shows how far a read is, where a person looks at standard error,
// until end is called. The line is nil where nobody does. Logs that are made later
// give way too.
func (p *program) showProgress(what string) (line *progressLine, end func()) {
	if p.errStyle.Width == 0 { // not a terminal
		return nil, func() {}
	}
	line = &progressLine{there: transient{out: p.err, file: p.errFile, style: p.errStyle}, what: what, began: time.Now(), items: make(map[any]int)}
	p.out = &givingWay{line: line, out: p.out, ends: true}
	if p.jsonErr {
		line.tell = p.tell
	} else {
		p.err = &givingWay{line: line, out: p.err}
	}
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				line.draw(time.Now())
			case <-done:
				return
			}
		}
	}()
	return line, func() {
		close(done)
		line.end()
	}
}

// follow returns what a query tells of one list.
func (l *progressLine) follow(list any) func(pull.Progress) {
	if l == nil {
		return nil
	}
	return func(now pull.Progress) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.items[list] = now.Items // from the start again when the list is
	}
}

func (l *progressLine) draw(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || now.Sub(l.began) < progressAfter || l.tell != nil && now.Sub(l.told) < progressTold {
		return
	}
	total := 0
	for _, n := range l.items {
		total += n
	}
	l.told = now
	text := fmt.Sprintf("Reading %s: %s so far, %v", l.what, count(total, "item"), now.Sub(l.began).Truncate(time.Second))
	if l.tell != nil {
		l.tell("%s", text)
	} else {
		l.there.show(text)
	}
}

func (l *progressLine) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.there.clear()
	l.over = true
}

// givingWay writes where the line was.
type givingWay struct {
	line *progressLine
	out  io.Writer
	ends bool // the line does not come back
}

func (w *givingWay) Write(data []byte) (int, error) {
	w.line.mu.Lock()
	w.line.there.clear()
	w.line.over = w.line.over || w.ends
	if w.ends { // whoever reads it may take long
		w.line.mu.Unlock()
		return w.out.Write(data)
	}
	defer w.line.mu.Unlock()
	return w.out.Write(data)
}
