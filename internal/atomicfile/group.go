package atomicfile

import (
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// Group writes files of one folder. Those that come while others are on their way to the disk
// go there together: their contents are flushed at the same time, and the folder, which holds
// their names, once for all. One goroutine at a time changes the folder, since more would but
// wait for one another. The zero value is ready; it may be used by several goroutines at once.
type Group struct {
	mu      sync.Mutex
	waiting []*member
	leading bool // a goroutine takes some to the disk
}

// member is a file to be written, and who waits for it.
type member struct {
	path     string
	modified time.Time
	parts    [][]byte
	file     *unfinished // nil: it could not be begun
	err      error
	turn     chan bool // true: to lead all that wait; false: done
}

// flushing is how many files are flushed at once: each takes a thread of the system.
const flushing = 16

// Write is as the function [Write] is, of all parts, one behind the other, to a file that says
// it was modified at that time, where the file system keeps one.
func (g *Group) Write(path string, modified time.Time, parts ...[]byte) error {
	m := &member{path: path, modified: modified, parts: parts, turn: make(chan bool, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, m)
	lead := !g.leading
	g.leading = true
	g.mu.Unlock()
	if lead {
		runtime.Gosched() // who is about to come, comes with it
	} else {
		lead = <-m.turn
	}
	if lead {
		g.lead(filepath.Dir(path))
	}
	return writing(path, m.err)
}

// lead takes all that wait to the disk, the caller among them. Of those who come meanwhile the
// first is the next to lead.
func (g *Group) lead(folder string) {
	g.mu.Lock()
	members := g.waiting
	g.waiting = nil
	g.mu.Unlock()
	take(members, folder)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range members {
		m.turn <- false // the caller looks no more
	}
	if g.leading = len(g.waiting) > 0; g.leading {
		g.waiting[0].turn <- true
	}
}

// take writes files to the disk, each as Write does, and notes their errors.
func take(members []*member, folder string) {
	todo := make(chan *member, len(members))
	for _, m := range members {
		if m.file, m.err = begin(m.path, m.modified, m.parts...); m.err == nil {
			m.file.startFlush()
			todo <- m
		}
	}
	close(todo)
	flush := func() {
		for m := range todo {
			m.err = m.file.flush()
		}
	}
	var others sync.WaitGroup
	for range min(flushing, len(todo)) - 1 {
		others.Go(flush)
	}
	flush()
	others.Wait()
	var renamed []*member
	for _, m := range members {
		if m.err == nil {
			m.err = m.file.rename()
		}
		if m.err == nil {
			renamed = append(renamed, m)
		}
	}
	if len(renamed) == 0 {
		return
	}
	if err := SyncFolder(folder); err != nil {
		for _, m := range renamed {
			m.err = err
		}
	}
}
