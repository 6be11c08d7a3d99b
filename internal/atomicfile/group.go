package atomicfile

import (
	"path/filepath"
	"sync"
	"time"
)

// Group writes files of one folder. Those that come at the same time share their way to the
// disk: it flushes files together that are flushed at the same time, and the folder, which
// holds their names, is flushed once for all. A file that comes alone waits for no other. The
// zero value is ready; all methods may be called from several goroutines at once.
type Group struct {
	mu      sync.Mutex
	begun   int // files that are being written
	ready   []*member
	leading bool // a goroutine is at the way of some to the disk
}

// member is a file on its way, and who waits for it.
type member struct {
	*unfinished
	err  error
	turn chan bool // true: to lead all that are ready; false: done
}

// flushing is how many files are flushed at once: each takes a thread of the system.
const flushing = 16

// Write is as the function [Write] is, of all parts, one behind the other, to a file that says
// it was modified at that time, where the file system keeps one.
func (g *Group) Write(path string, modified time.Time, parts ...[]byte) error {
	g.mu.Lock()
	g.begun++
	g.mu.Unlock()
	file, err := begin(path, modified, parts...)
	m := &member{unfinished: file, turn: make(chan bool, 1)}
	if err == nil {
		file.startFlush()
	}
	g.mu.Lock()
	g.begun--
	if err == nil {
		g.ready = append(g.ready, m)
	}
	g.next()
	g.mu.Unlock()
	if err != nil {
		return writing(path, err)
	}
	if <-m.turn {
		g.lead(filepath.Dir(path))
	}
	return writing(path, m.err)
}

// next has who came last lead, once all that are being written are ready, or enough. g.mu is
// held.
func (g *Group) next() {
	if !g.leading && len(g.ready) > 0 && (g.begun == 0 || len(g.ready) >= flushing) {
		g.leading = true
		g.ready[len(g.ready)-1].turn <- true
	}
}

// lead takes all that are ready to the disk. What comes meanwhile is ready for the next one.
func (g *Group) lead(folder string) {
	g.mu.Lock()
	members := g.ready
	g.ready = nil
	g.mu.Unlock()

	todo := make(chan *member, len(members))
	for _, m := range members {
		todo <- m
	}
	close(todo)
	flush := func() {
		for m := range todo {
			m.err = m.flush()
		}
	}
	var others sync.WaitGroup
	for range min(flushing, len(members)) - 1 {
		others.Go(flush)
	}
	flush()
	others.Wait()
	renamed := false
	for _, m := range members {
		if m.err == nil {
			m.err = m.rename()
			renamed = renamed || m.err == nil
		}
	}
	if renamed {
		if err := SyncFolder(folder); err != nil {
			for _, m := range members {
				if m.err == nil {
					m.err = err
				}
			}
		}
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range members {
		m.turn <- false
	}
	g.leading = false
	g.next()
}
