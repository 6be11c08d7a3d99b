package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// clientProcess is the process of a client that is measured.
type clientProcess struct {
	contender contender
	owners    []owner
	profiles  string // see access
	profiled  int    // CPU profiles begun
	baseline  usage

	ready  chan int // number of an owner that came up
	failed chan error
	watch  atomic.Pointer[comeback]

	mu       sync.Mutex
	expected int
	sentAt   []int64 // nanoseconds, of the messages received
	gotAt    []int64
	complete chan struct{}
	cpu      time.Duration // when it began to expect
}

// comeback is a watch for owners that come up again.
type comeback struct {
	mu   sync.Mutex
	ups  map[int]time.Time // the last time of each
	news chan struct{}
}

func newClientProcess() *clientProcess {
	return &clientProcess{ready: make(chan int, 1<<16), failed: make(chan error, 1)}
}

func (p *clientProcess) handle(r request) (answer, error) {
	switch r.Do {
	case "begin":
		return answer{}, p.begin(r.Access)
	case "connect":
		return p.connect()
	case "idle":
		return p.idle(r.For)
	case "expect":
		return answer{}, p.expect(r.Count)
	case "received":
		return p.received()
	case "watch":
		p.watch.Store(&comeback{ups: make(map[int]time.Time), news: make(chan struct{}, 1)})
		return answer{}, nil
	case "back":
		return p.back(r.For)
	}
	return answer{}, fmt.Errorf("there is no request %q", r.Do)
}

// begin connects one owner more than are measured, so that what a first
// connection loads and initializes is part of the baseline.
func (p *clientProcess) begin(a *access) (err error) {
	if p.contender, err = contenderNamed(a.Client); err != nil {
		return err
	}
	if p.owners, err = a.connectable(); err != nil {
		return err
	}
	if p.profiles = a.Profiles; p.profiles != "" {
		runtime.MemProfileRate = 4 << 10
	}
	last := len(p.owners) - 1
	if err := p.up(last); err != nil {
		return err
	}
	if _, err := p.await(); err != nil {
		return err
	}
	p.owners = p.owners[:last]
	p.baseline, err = settled()
	return err
}

func (p *clientProcess) up(n int) error {
	if p.contender.fleet != nil {
		connect, err := p.contender.fleet([]owner{p.told(n)})
		if err != nil {
			return err
		}
		go connect()
		return nil
	}
	return p.contender.connect(p.told(n))
}

// told returns an owner who tells this process how it goes.
func (p *clientProcess) told(n int) owner {
	o := p.owners[n]
	o.up = func() {
		if w := p.watch.Load(); w != nil {
			w.note(n)
			return
		}
		p.ready <- n
	}
	o.failed = func(err error) {
		if err == nil {
			err = errors.New("the connection has ended")
		}
		select {
		case p.failed <- err:
		default:
		}
	}
	o.message = p.message
	return o
}

func (p *clientProcess) await() (int, error) {
	select {
	case n := <-p.ready:
		return n, nil
	case err := <-p.failed:
		return 0, err
	case <-time.After(time.Minute):
		return 0, errors.New("an owner did not come up within a minute")
	}
}

// connecting is how many owners are connected at the same time: less than the
// backlog of Mosquitto's listener, since a connect that finds it full is repeated
// by the kernel after a second.
const connecting = 64

func (p *clientProcess) connect() (answer, error) {
	var connectFleet func()
	if p.contender.fleet != nil {
		all := make([]owner, len(p.owners))
		for n := range all {
			all[n] = p.told(n)
		}
		var err error
		if connectFleet, err = p.contender.fleet(all); err != nil {
			return answer{}, err
		}
	}
	if err := p.profileCPU(); err != nil {
		return answer{}, err
	}
	before, err := cpuTime()
	if err != nil {
		return answer{}, err
	}
	began := time.Now()
	waiting := len(p.owners)
	if connectFleet != nil {
		go connectFleet()
	} else {
		for n := range p.owners {
			if n >= connecting {
				if _, err := p.await(); err != nil {
					return answer{}, err
				}
				waiting--
			}
			if err := p.up(n); err != nil {
				return answer{}, err
			}
		}
	}
	for range waiting {
		if _, err := p.await(); err != nil {
			return answer{}, err
		}
	}
	took := time.Since(began)
	after, err := cpuTime()
	if err != nil {
		return answer{}, err
	}
	pprof.StopCPUProfile() // if there is one
	now, err := residentBytes()
	return answer{Figures: figures{
		connectWall: took.Seconds(),
		connectCPU:  micro(after-before) / float64(len(p.owners)),
		residentNow: (now - p.baseline.resident) / 1024 / float64(len(p.owners)),
	}}, err
}

// usage is what a process holds.
type usage struct{ resident, heap, stack, goroutines float64 }

// settled returns it after several collections: each halves stacks that have
// become too large.
func settled() (u usage, err error) {
	for range 5 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u = usage{heap: float64(m.HeapAlloc), stack: float64(m.StackInuse), goroutines: float64(runtime.NumGoroutine())}
	u.resident, err = residentBytes()
	return u, err
}

func (p *clientProcess) idle(duration time.Duration) (answer, error) {
	time.Sleep(time.Second) // what connecting has left to do
	u, err := settled()
	if err != nil {
		return answer{}, err
	}
	before, err := cpuTime()
	if err != nil {
		return answer{}, err
	}
	began := time.Now()
	time.Sleep(duration)
	after, err := cpuTime()
	if err != nil {
		return answer{}, err
	}
	n := float64(len(p.owners))
	a := answer{Figures: figures{
		resident:   (u.resident - p.baseline.resident) / 1024 / n,
		heap:       (u.heap - p.baseline.heap) / 1024 / n,
		stack:      (u.stack - p.baseline.stack) / 1024 / n,
		goroutines: (u.goroutines - p.baseline.goroutines) / n,
		idleCPU:    100 * (after - before).Seconds() / time.Since(began).Seconds() / n * 1000,
	}}
	return a, p.profile()
}

// profile writes profiles of the idle connections.
func (p *clientProcess) profile() error {
	if p.profiles == "" {
		return nil
	}
	for _, kind := range []string{"heap", "goroutine"} {
		f, err := os.Create(p.profiles + "." + kind)
		if err != nil {
			return err
		}
		if err := errors.Join(pprof.Lookup(kind).WriteTo(f, 0), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// cpuProfiles are the names of what is measured in turn.
var cpuProfiles = []string{".connect.cpu", ".throughput.cpu", ".latency.cpu"}

// profileCPU begins the next CPU profile.
func (p *clientProcess) profileCPU() error {
	if p.profiles == "" || p.profiled >= len(cpuProfiles) {
		return nil
	}
	f, err := os.Create(p.profiles + cpuProfiles[p.profiled]) // closed with the process
	if err != nil {
		return err
	}
	p.profiled++
	return pprof.StartCPUProfile(f)
}

func (p *clientProcess) expect(count int) (err error) {
	runtime.GC()
	if err := p.profileCPU(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected, p.complete = count, make(chan struct{})
	p.sentAt, p.gotAt = make([]int64, 0, count), make([]int64, 0, count)
	p.cpu, err = cpuTime()
	return err
}

// A message begins with the time at which it was sent, in nanoseconds.
const (
	sentBefore = `{"sent":`
	sentDigits = 19
)

func (p *clientProcess) message(payload []byte) {
	now := time.Now().UnixNano()
	digits, ok := bytes.CutPrefix(payload, []byte(sentBefore))
	if !ok || len(digits) < sentDigits {
		return // not of ours: it will be missed
	}
	sent, err := strconv.ParseInt(string(digits[:sentDigits]), 10, 64)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.gotAt) >= p.expected {
		return
	}
	p.sentAt, p.gotAt = append(p.sentAt, sent), append(p.gotAt, now)
	if len(p.gotAt) == p.expected {
		close(p.complete)
	}
}

func (p *clientProcess) received() (answer, error) {
	select {
	case <-p.complete:
	case err := <-p.failed:
		return answer{}, err
	case <-time.After(deliveryTime):
		p.mu.Lock()
		defer p.mu.Unlock()
		return answer{}, fmt.Errorf("%d of %d messages came within %v", len(p.gotAt), p.expected, deliveryTime)
	}
	after, err := cpuTime()
	if err != nil {
		return answer{}, err
	}
	pprof.StopCPUProfile() // if there is one
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.gotAt[len(p.gotAt)-1]
	var took []int64
	for i, sent := range p.sentAt {
		took = append(took, p.gotAt[i]-sent)
	}
	slices.Sort(took)
	percentile := func(n int) float64 { return micro(time.Duration(took[len(took)*n/100])) }
	return answer{
		CPU:     after - p.cpu,
		Last:    time.Unix(0, last),
		Figures: figures{latency50: percentile(50), latency99: percentile(99)},
	}, nil
}

func (w *comeback) note(n int) {
	now := time.Now()
	w.mu.Lock()
	w.ups[n] = now
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// back waits until all owners have come up again.
func (p *clientProcess) back(within time.Duration) (answer, error) {
	w := p.watch.Load()
	timeout := time.After(within)
	for {
		var a answer
		w.mu.Lock()
		for n, up := range w.ups {
			if n < len(p.owners) { // not the one to warm up with
				a.Ups = append(a.Ups, up)
			}
		}
		w.mu.Unlock()
		if len(a.Ups) == len(p.owners) {
			return a, nil
		}
		select {
		case <-w.news:
		case err := <-p.failed:
			return a, err
		case <-timeout:
			return a, nil
		}
	}
}
