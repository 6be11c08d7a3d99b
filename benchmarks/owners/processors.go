package main

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// processors are samples of how long processes have waited for a processor, ready to run.
type processors struct {
	pids    map[string]int
	files   map[string][]*os.File // see waitFiles
	samples []sample
	end     chan struct{}
	ended   sync.WaitGroup
}

type sample struct {
	at     int64
	waited map[string]time.Duration
}

const (
	sampledAt = 10 * time.Millisecond
	listedAt  = 100 // samples: threads may have begun
)

func watchProcessors(pids map[string]int) *processors {
	p := &processors{pids: pids, files: make(map[string][]*os.File), end: make(chan struct{})}
	p.ended.Go(func() {
		tick := time.NewTicker(sampledAt)
		defer tick.Stop()
		defer p.list(nil)
		for {
			if len(p.samples)%listedAt == 0 {
				p.list(pids)
			}
			p.sample()
			select {
			case <-tick.C:
			case <-p.end:
				p.sample()
				return
			}
		}
	})
	return p
}

// list closes the files and opens those of the processes.
func (p *processors) list(pids map[string]int) {
	for _, files := range p.files {
		for _, f := range files {
			_ = f.Close()
		}
	}
	for name, pid := range pids {
		p.files[name] = waitFiles(pid)
	}
}

func (p *processors) sample() {
	s := sample{time.Now().UnixNano(), make(map[string]time.Duration)}
	var text [100]byte
	for name, files := range p.files {
		for _, f := range files {
			n, _ := f.ReadAt(text[:], 0)                           // nothing, once the thread has ended
			if fields := bytes.Fields(text[:n]); len(fields) > 1 { // on a processor, waiting for one, slices
				waited, _ := strconv.ParseInt(string(fields[1]), 10, 64)
				s.waited[name] += time.Duration(waited)
			}
		}
	}
	p.samples = append(p.samples, s)
}

func (p *processors) stop() {
	close(p.end)
	p.ended.Wait()
}

// within returns how long each process waited between two times: of what it waited between
// the samples around them, the share that is theirs.
func (p *processors) within(from, to int64) map[string]time.Duration {
	waited := make(map[string]time.Duration)
	if len(p.samples) == 0 {
		return waited
	}
	before, after := p.samples[0], p.samples[len(p.samples)-1]
	for _, s := range p.samples {
		if s.at <= from {
			before = s
		}
	}
	for _, s := range slices.Backward(p.samples) {
		if s.at >= to {
			after = s
		}
	}
	for name := range p.pids {
		share := min(1, float64(to-from)/float64(max(1, after.at-before.at)))
		waited[name] = max(0, time.Duration(share*float64(after.waited[name]-before.waited[name]))) // less, when a thread has ended
	}
	return waited
}
