package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// clientProcess is the process of a client that is measured.
type clientProcess struct {
	contender contender
	owners    []owner
	access    *access
	profiles  string // see access
	profiled  int    // CPU profiles begun
	baseline  usage

	ready  chan int // number of an owner that came up
	failed chan error
	watch  atomic.Pointer[comeback]

	mu       sync.Mutex
	expected int
	arrivals []arrival
	complete chan struct{}
	cpu      time.Duration // when it began to expect
}

// comeback is a watch for owners that come up again.
type comeback struct {
	mu     sync.Mutex
	ups    map[int]time.Time // the last time of each owner
	closed map[int]time.Time // the last time of each owner's gap
	news   chan struct{}
	cpu    time.Duration // when it began
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
		cpu, err := cpuTime()
		p.watch.Store(&comeback{ups: make(map[int]time.Time), closed: make(map[int]time.Time), news: make(chan struct{}, 1), cpu: cpu})
		return answer{}, err
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
	p.access = a
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
		connect, err := p.contender.fleet([]owner{p.told(n)}, p.access)
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
			w.note(w.ups, n)
			return
		}
		p.ready <- n
	}
	o.closed = func() {
		if w := p.watch.Load(); w != nil {
			w.note(w.closed, n)
		}
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
		if connectFleet, err = p.contender.fleet(all, p.access); err != nil {
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
	p.arrivals = make([]arrival, 0, count)
	p.cpu, err = cpuTime()
	return err
}

func (p *clientProcess) message(payload []byte) {
	now := time.Now().UnixNano()
	n, sent, ok := readMessage(payload)
	if !ok {
		return // not of ours: it will be missed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.arrivals) >= p.expected {
		return
	}
	p.arrivals = append(p.arrivals, arrival{n, sent, now})
	if len(p.arrivals) == p.expected {
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
		return answer{}, fmt.Errorf("%d of %d messages came within %v", len(p.arrivals), p.expected, deliveryTime)
	}
	after, err := cpuTime()
	if err != nil {
		return answer{}, err
	}
	pprof.StopCPUProfile() // if there is one
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.arrivals[len(p.arrivals)-1].Got
	slices.SortFunc(p.arrivals, func(a, b arrival) int { return cmp.Compare(a.took(), b.took()) })
	var took []time.Duration
	for _, a := range p.arrivals {
		took = append(took, a.took())
	}
	return answer{
		CPU:     after - p.cpu,
		Last:    time.Unix(0, last),
		Slowest: p.arrivals[max(0, len(p.arrivals)-slowest):],
		Figures: figures{
			latency50:  micro(percentile(took, 50)),
			latency99:  micro(percentile(took, 99)),
			latency999: micro(percentile(took, 99.9)),
			latencyMax: micro(took[len(took)-1]),
		},
	}, nil
}

func (w *comeback) note(times map[int]time.Time, n int) {
	now := time.Now()
	w.mu.Lock()
	times[n] = now
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// back waits until all owners have come up again and, if they have gaps, until those are
// closed.
func (p *clientProcess) back(within time.Duration) (answer, error) {
	w := p.watch.Load()
	timeout := time.After(within)
	for {
		var a answer
		w.mu.Lock()
		for n := range p.owners { // not the one to warm up with
			if up, ok := w.ups[n]; ok {
				a.Ups = append(a.Ups, up)
			}
			if closed, ok := w.closed[n]; ok {
				a.Closed = append(a.Closed, closed)
			}
		}
		w.mu.Unlock()
		if all := len(p.owners); len(a.Ups) == all && (!p.contender.disk || len(a.Closed) == all) {
			cpu, err := cpuTime()
			a.CPU = cpu - w.cpu
			return a, err
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
