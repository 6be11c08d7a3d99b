package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// stuck is how long nothing may happen at all until a chaos has failed.
const stuck = 60 * time.Second

// chaosSize says how much happens. FDS_LONG has all of it.
type chaosSize struct {
	owners, messages, kills, restarts int
	ahead                             int // messages published that have not arrived yet, at most
}

func sizeOfChaos() chaosSize {
	if os.Getenv("FDS_LONG") != "" {
		return chaosSize{owners: 50, messages: 20_000, kills: 20, restarts: 20, ahead: 500}
	}
	return chaosSize{owners: 50, messages: 2_000, kills: 2, restarts: 2, ahead: 500}
}

// mostRestarts is how often in a row the broker is restarted under one process of
// watch. A fourth end without a reason within a minute of coming up is what a
// take-over looks like on Mosquitto, and watch then stops, as it should.
const mostRestarts = 3

// schedule draws what happens after how many messages.
func (s chaosSize) schedule(rng *rand.Rand) (kill []bool, after []int) {
	for {
		kill = kill[:0]
		for i := range s.kills + s.restarts {
			kill = append(kill, i < s.kills)
		}
		rng.Shuffle(len(kill), func(i, j int) { kill[i], kill[j] = kill[j], kill[i] })
		longest, row := 0, 0
		for _, k := range kill {
			if row++; k {
				row = 0
			}
			longest = max(longest, row)
		}
		if longest <= mostRestarts {
			break
		}
	}
	for range kill {
		after = append(after, 1+rng.IntN(s.messages*8/10)) // the rest flows in peace
	}
	slices.Sort(after)
	return kill, after
}

// chaos is a provider in this process whose broker is Mosquitto, and one run of
// watch after the other. The provider's Web API has no events and no statuses:
// nothing can be fetched, so what arrives has come by push.
type chaos struct {
	*setup
	size   chaosSize
	broker *realtest.Broker
	tally  *tally

	consumer *process
	pipe     *os.File // its standard output
	read     chan struct{}
	runs     int
}

func newChaos(t *testing.T, size chaosSize) *chaos {
	t.Helper()
	c := &chaos{
		setup:  &setup{t: t, folder: t.TempDir()},
		size:   size,
		broker: realtest.Mosquitto(t, realtest.MosquittoOptions{}),
	}
	owners := make([]fdstest.Owner, size.owners)
	for i := range owners {
		owners[i].Name = fmt.Sprintf("Owner %d", i)
	}
	c.box = fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1, Owners: owners})
	c.write("ca.pem", string(c.box.CAPEM())+string(c.broker.CAPEM))
	for _, o := range c.box.Owners() {
		c.write("owners/"+o.Spelling+".pem", string(c.broker.IssueCertificate(o.Spelling, realtest.CertificateOptions{}).Bundle()))
	}
	c.write("pass.txt", "for tests only\n")
	key, err := os.ReadFile(filepath.Join("testdata", "folder.key"))
	if err != nil {
		t.Fatal(err)
	}
	c.write("grants/folder.key", string(key))
	c.configure(c.box.BrokerURL(), c.broker.URL)
	c.signIn(c.box.Owners()...)
	c.tally = newTally(size.ahead)
	return c
}

// begin starts watch.
func (c *chaos) begin() {
	c.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { read.Close() })
	command := c.command("watch", "--json")
	command.Stdout = write
	c.consumer = start(c.t, command)
	write.Close() // here; the process has its own
	c.pipe, c.read = read, make(chan struct{})
	run, done := c.runs, c.read
	c.runs++
	go func() {
		defer close(done)
		c.tally.readAll(run, read)
	}()
}

// await waits for a count to be reached, as long as something happens.
func (c *chaos) await(what string, reached func() bool) {
	c.t.Helper()
	for {
		done, changed := c.tally.look(reached)
		if done {
			return
		}
		select {
		case <-changed:
		case <-c.consumer.ended:
			c.t.Fatalf("watch ended by itself, waiting for %s: %v\n%s", what, c.consumer.cmd.ProcessState, c.consumer.err)
		case <-time.After(stuck):
			c.t.Errorf("nothing happens any more, waiting for %s; %s; the last watch said:\n%s", what, c.tally, c.consumer.err)
			c.verdict() // says what is missing
			c.t.FailNow()
		}
	}
}

// hold stops watch's reader when so many messages have arrived. With full it waits
// until watch can write no more and has all that it receives in its hands.
func (c *chaos) hold(arrived int, full bool) (release func()) {
	c.t.Helper()
	release = c.tally.hold(arrived)
	c.await(fmt.Sprintf("message %d", arrived), func() bool { return c.tally.held })
	if full {
		c.eventually("watch waits for its reader", func() bool { return unread(c.t, c.pipe) > 48<<10 }) // of 64 KiB; the next line may not fit
	}
	return release
}

// kill kills watch when so many messages have arrived, and starts it again.
func (c *chaos) kill(arrived int, full bool) {
	c.t.Helper()
	release := c.hold(arrived, full)
	select {
	case <-c.consumer.ended:
		c.t.Fatalf("watch ended by itself: %v\n%s", c.consumer.cmd.ProcessState, c.consumer.err)
	default:
	}
	if err := c.consumer.cmd.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	<-c.consumer.ended
	release()
	<-c.read // to the end of what it had written
	c.begin()
}

// unread is how many bytes lie in a pipe.
func unread(t *testing.T, pipe *os.File) (n int) {
	t.Helper()
	raw, err := pipe.SyscallConn()
	if err == nil {
		control := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		err = errors.Join(err, control)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// restart restarts the broker when so many messages were published.
func (c *chaos) restart(p *publisher, published int) {
	c.t.Helper()
	c.await(fmt.Sprintf("publication %d", published), func() bool { return c.tally.published >= published })
	c.broker.Stop()
	p.abandon()
	c.broker.Start()
}

// restartUnderHandlers restarts the broker when so many messages have arrived and
// watch's handlers wait for its reader, until all owners are connected again: what
// is sent again finds its first delivery still at work.
func (c *chaos) restartUnderHandlers(p *publisher, arrived int) {
	c.t.Helper()
	release := c.hold(arrived, true)
	connected := fmt.Sprintf("Connected: %d owners.", c.size.owners)
	before := strings.Count(c.consumer.err.String(), connected)
	c.broker.Stop()
	p.abandon()
	c.broker.Start()
	c.consumer.awaitNth(c.consumer.err, connected, before+1)
	release()
}

// verdict fails the test for whatever is missing, out of order or come twice
// without a mark.
func (c *chaos) verdict() {
	c.t.Helper()
	t := c.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	const shown = 10
	tell := func(what string, faults []string) {
		c.t.Helper()
		if len(faults) > 0 {
			c.t.Errorf("%d %s:\n%s", len(faults), what, strings.Join(faults[:min(len(faults), shown)], "\n"))
		}
	}
	var missing, disordered []string
	for i, o := range c.box.Owners() {
		last := 0
		for _, sequence := range t.order[o.Spelling] {
			if sequence <= last {
				disordered = append(disordered, fmt.Sprintf("%s: %d after %d", o.Spelling, sequence, last))
			}
			last = max(last, sequence)
		}
		for sequence := 1; sequence <= c.size.share(i); sequence++ {
			if len(t.arrivals[message{o.Spelling, sequence}]) == 0 {
				missing = append(missing, fmt.Sprintf("%s: %d", o.Spelling, sequence))
			}
		}
	}
	tell("messages are missing", missing)
	tell("messages arrived out of order", disordered)
	tell("lines are not what was published", t.faults)

	marked, republished, sameRun := 0, 0, 0
	var unmarked []string
	for m, arrivals := range t.arrivals {
		allowed := t.repeats[m] // each may have made a message of its own
		for i, a := range arrivals[1:] {
			switch {
			case a.duplicate:
				marked++
			case allowed > 0:
				allowed--
				republished++
			default:
				unmarked = append(unmarked, fmt.Sprintf("%s: %d, %+v", m.owner, m.sequence, arrivals))
			}
			if a.run == arrivals[i].run {
				sameRun++
			}
		}
	}
	tell("duplicates are not marked", unmarked)
	c.t.Logf("%d messages of %d owners, %d runs of watch: %d lines, %d cut by a kill, %d fetched", c.size.messages, c.size.owners, c.runs, t.lines, t.cut, t.fetched)
	c.t.Logf("duplicates: %d marked, %d not marked, %d published again after no acknowledgement came (of %d messages that may have been); %d in the same run of watch; %d first arrivals marked, which an earlier run had not written",
		marked, len(unmarked), republished, len(t.repeats), sameRun, t.firstMarked)
}

// share is how many messages the i-th owner gets.
func (s chaosSize) share(i int) int {
	n := s.messages / s.owners
	if i < s.messages%s.owners {
		n++
	}
	return n
}

func TestNoMessageIsLostWhileWatchIsKilledAndTheBrokerIsRestarted(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("FDS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FDS_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	size := sizeOfChaos()
	c := newChaos(t, size)
	began := time.Now()

	c.begin()
	c.consumer.await(c.consumer.err, fmt.Sprintf("Connected: %d owners.", size.owners)) // and subscribed: from now on the broker keeps messages
	ctx, cancel := context.WithCancel(t.Context())
	p := newPublisher(ctx, c)
	defer p.wait()
	defer cancel()
	for i, o := range c.box.Owners() {
		p.publish(o, size.share(i), rand.New(rand.NewPCG(seed, uint64(i+1))))
	}
	kill, after := size.schedule(rng)
	full := map[bool]bool{true: true, false: true} // the first of each kind, then as it comes
	for i, k := range kill {
		switch {
		case k:
			c.kill(after[i], full[k])
		case full[k]:
			c.restartUnderHandlers(p, after[i])
		default:
			c.restart(p, after[i])
		}
		full[k] = rng.IntN(2) == 0
	}
	c.await("each owner's last message", func() bool { // those before have come by then, or never will
		for i, o := range c.box.Owners() {
			if len(c.tally.arrivals[message{o.Spelling, size.share(i)}]) == 0 {
				return false
			}
		}
		return true
	})
	p.wait()
	c.consumer.end()
	<-c.read
	c.verdict()
	t.Logf("%d kills and %d restarts of the broker in %v", size.kills, size.restarts, time.Since(began).Round(time.Millisecond))
}
