package fdsclient_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
)

// tally knows which numbers each owner's handler has had.
type tally struct {
	mu                  sync.Mutex
	next                map[fds.SubscriptionID]int // all below have come
	handled, duplicates int
	wrong               []string
}

// handle takes a message in, or fails in one of the ways that handlers do.
func (c *tally) handle(_ context.Context, m delivery.Message) error {
	switch n := rand.IntN(2000); {
	case n < 10:
		return errNotYet
	case n == 10:
		panic("a defect of the handler")
	case n == 11:
		time.Sleep(20 * time.Millisecond)
	}
	n, err := strconv.Atoi(string(m.Payload))
	c.mu.Lock()
	defer c.mu.Unlock()
	id := m.Owner.SubscriptionID
	switch next := c.next[id]; {
	case err != nil || n > next:
		c.wrong = append(c.wrong, fmt.Sprintf("%.8s: %q came before %d", id, m.Payload, next))
	case n == next:
		c.next[id]++
		c.handled++
	case !m.Duplicate:
		c.wrong = append(c.wrong, fmt.Sprintf("%.8s: %d came twice, unmarked", id, n))
	default:
		c.duplicates++
	}
	return nil
}

// footprint is what the process holds, the provider in a box included.
type footprint struct {
	goroutines, files int
	heap              uint64
	ours              float64 // of the heap, what the provider in the box does not hold, by the heap profile
}

func holds(t *testing.T) footprint {
	t.Helper()
	var stats runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&stats)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return footprint{runtime.NumGoroutine(), len(files), stats.HeapAlloc, withoutTheBox()}
}

// profileRate is the mean of the bytes between two samples of the heap profile.
const profileRate = 32 << 10

// withoutTheBox sums the heap profile up, without what was allocated under a
// function of the provider in a box, which remembers every token and request.
func withoutTheBox() (bytes float64) {
	records := make([]runtime.MemProfileRecord, 10_000)
	n, ok := runtime.MemProfile(records, true)
	for !ok {
		records = make([]runtime.MemProfileRecord, n+n/4)
		n, ok = runtime.MemProfile(records, true)
	}
	for _, r := range records[:n] {
		box := false
		frames := runtime.CallersFrames(r.Stack())
		for more := true; more && !box; {
			var frame runtime.Frame
			frame, more = frames.Next()
			box = strings.Contains(frame.Function, "/fdstest")
		}
		if objects := r.InUseObjects(); !box && objects > 0 {
			size := float64(r.InUseBytes()) / float64(objects)
			bytes += float64(r.InUseBytes()) / (1 - math.Exp(-size/profileRate)) // each object counts for those that were not sampled
		}
	}
	return bytes
}

// A process with many owners lives through faults of all kinds: no message is
// lost or out of order, and afterwards it holds what it held before. FDS_SOAK
// says for how long, as 30m.
func TestASoakWithFaultsLosesNothingAndLeavesNothingBehind(t *testing.T) {
	owners, lasts, rounds, lifetime := 30, 4*time.Second, 2, 3*time.Second
	if text := os.Getenv("FDS_SOAK"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
		owners, rounds, lifetime = 500, 20, time.Minute
	}
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = profileRate
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	var all []fdstest.Owner
	for range owners {
		all = append(all, fdstest.Owner{Spelling: fds.NewSubscriptionID().String()})
	}
	p := start(t, fdstest.Options{Owners: all, AccessTokenLifetime: lifetime})
	all = p.Owners()
	cfg := configure(t, p)
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Push.TakenOverRetry = time.Minute // the faults may look like one
	client := open(t, cfg)
	for some := range slices.Chunk(all[1:], 20) {
		signIn(t, client, p, some...)
	}
	count := &tally{next: make(map[fds.SubscriptionID]int)}
	runClient(t, client, count.handle)
	steady, guest := all[1:], all[0] // who comes and goes
	for _, o := range steady {
		within(t, time.Minute, "all subscribed", func() bool { return len(p.Subscriber(o).Subscriptions) > 0 })
	}

	sent, guests, faults := 0, 0, 0
	publishAll := func() {
		for _, o := range steady {
			publish(t, p, o, strconv.Itoa(sent))
		}
		sent++
	}
	arrived := func() bool {
		count.mu.Lock()
		defer count.mu.Unlock()
		return count.handled == sent*len(steady)
	}
	settle := func() footprint {
		t.Helper()
		within(t, 4*time.Minute, "every message arrived", arrived)
		within(t, 4*time.Minute, "all connected", func() bool {
			for _, o := range steady {
				if !p.Subscriber(o).Connected {
					return false
				}
			}
			return true
		})
		last := holds(t)
		within(t, time.Minute, "goroutines settled", func() bool { // connections of the Web API and the like end
			before := last.goroutines
			time.Sleep(300 * time.Millisecond)
			last = holds(t)
			return last.goroutines == before
		})
		return last
	}
	faultsOnce := func(until time.Time) {
		some := func() []fdstest.Owner { // of whom most had peace long enough for the back-off to begin anew
			n := 1 + len(steady)/20
			from := random.IntN(len(steady) - n)
			return steady[from : from+n]
		}
		kinds := []func() fdstest.Fault{
			func() fdstest.Fault { return fdstest.DropConnections(some()...) },
			func() fdstest.Fault { return fdstest.Disconnect(0x8B, "going down", "", some()...) },
			func() fdstest.Fault { return fdstest.SilentBroker(steady[random.IntN(len(steady))]) },
			func() fdstest.Fault { return fdstest.CutNextPublish(steady[random.IntN(len(steady))]) },
			func() fdstest.Fault { return fdstest.RefuseConnections(some()...) },
			func() fdstest.Fault { return fdstest.Answer(fdstest.TokenEndpoint, 503, "text/html", "<h1>") },
			func() fdstest.Fault { return fdstest.Truncated(fdstest.APIEndpoint) },
			func() fdstest.Fault { return fdstest.Disconnect(0x97, "", "", steady[random.IntN(len(steady))]) },
		}
		for i := 0; time.Now().Before(until); i++ {
			fault := kinds[i%len(kinds)]()
			if i%200 == 0 { // the whole broker
				fault = fdstest.Disconnect(0x8B, "going down", "")
			}
			off := p.Inject(fault)
			faults++
			for range rounds + random.IntN(2*rounds) {
				publishAll()
				time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond) // load is spread in time, nothing waits for it
			}
			off()
			switch i % 10 {
			case 3:
				signIn(t, client, p, guest)
				guests++
			case 8:
				owner, err := client.Owner(t.Context(), guest.SubscriptionID)
				if err == nil {
					err = owner.SignOut(t.Context())
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if i%20 == 19 {
				now := holds(t)
				count.mu.Lock()
				t.Logf("%4d faults, %7d messages, %5d duplicates, %5d goroutines, %5d files, %6.1f MiB, %.1f without the provider", faults, count.handled, count.duplicates, now.goroutines, now.files, float64(now.heap)/(1<<20), now.ours/(1<<20))
				count.mu.Unlock()
			}
		}
	}
	began := time.Now()
	faultsOnce(began.Add(lasts / 4))
	before := settle()
	faultsOnce(began.Add(lasts))
	after := settle()
	t.Logf("%d owners, %v: %d faults, %d messages, %d duplicates, %d guests", owners, time.Since(began).Round(time.Second), faults, count.handled, count.duplicates, guests)
	t.Logf("before: %d goroutines, %d files, %.1f MiB, %.1f without the provider; after: %d, %d, %.1f, %.1f",
		before.goroutines, before.files, float64(before.heap)/(1<<20), before.ours/(1<<20), after.goroutines, after.files, float64(after.heap)/(1<<20), after.ours/(1<<20))
	count.mu.Lock()
	defer count.mu.Unlock()
	for _, wrong := range count.wrong[:min(len(count.wrong), 20)] {
		t.Error(wrong)
	}
	if most := before.goroutines + 12; after.goroutines > most { // the guest may be there, or a connection of the Web API
		t.Errorf("%d goroutines, %d before", after.goroutines, before.goroutines)
	}
	if most := before.files + 12; after.files > most {
		t.Errorf("%d open files, %d before", after.files, before.files)
	}
	if most := before.ours*5/4 + 4<<20; after.ours > most {
		t.Errorf("%.0f bytes of heap without the provider's, %.0f before", after.ours, before.ours)
	}
}

// within waits until a condition holds.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
