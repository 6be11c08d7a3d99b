// Command batches measures what a handler of several messages is worth that makes them safe in one
// write to disk, as a database commits a transaction, beside one that does so for each message, in
// the same run:
//
//	go run ./benchmarks/batches
//
// The broker is in this process, and the file on the disk of the folder that is named. The handlers
// write each message to a file, and return when it is on disk (fsync). It prints a table with
// ratios. Figures differ between machines and disks: the slower a disk is to say that something is
// on it, the more a batch is worth.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
)

type options struct {
	single, messages int
	most             int
	wait             time.Duration
	bytes            int
	owners, rounds   int
	folder           string
}

// goal is how many times as many messages a batch is to make safe on one owner.
const goal = 20

func main() {
	var o options
	flag.IntVar(&o.single, "single", 500, "messages that are made safe one at a time")
	flag.IntVar(&o.messages, "messages", 20_000, "messages that are made safe in batches")
	flag.IntVar(&o.most, "most", 100, "messages of a batch")
	flag.DurationVar(&o.wait, "wait", 20*time.Millisecond, "how long the first of a batch waits for more")
	flag.IntVar(&o.bytes, "bytes", 300, "of a message")
	flag.IntVar(&o.owners, "owners", 200, "owners of whom a batch across owners has messages")
	flag.IntVar(&o.rounds, "rounds", 3, "runs of each measurement; the table has the medians")
	flag.StringVar(&o.folder, "folder", "", "where the file is made, on the disk that is to be measured; default: that of temporary files")
	flag.Parse()
	if flag.NArg() > 0 || o.single < 1 || o.messages < o.owners || o.owners < 1 || o.most < 1 || o.bytes < 1 || o.rounds < 1 {
		fmt.Fprintln(os.Stderr, "batches: there are no arguments, numbers are at least 1, and messages at least the owners")
		os.Exit(2)
	}
	if err := measure(o); err != nil {
		fmt.Fprintln(os.Stderr, "batches:", err)
		os.Exit(1)
	}
}

// The measurements.
const (
	oneEach   = "one owner, one at a time"
	batched   = "one owner, batches"
	eachOwner = "all owners, one at a time"
	across    = "all owners, batches across"
)

func measure(o options) error {
	rates := make(map[string][]float64)
	for range o.rounds {
		for _, m := range []struct {
			name             string
			owners, messages int
			run              func(context.Context, *push.Connection, *safe) error
			batching         *delivery.Batching
		}{
			{oneEach, 1, o.single, single, nil},
			{batched, 1, o.messages, nil, &delivery.Batching{Most: o.most, Wait: o.wait}},
			{eachOwner, o.owners, max(o.single, o.owners), single, nil},
			{across, o.owners, o.messages, nil, &delivery.Batching{Most: o.most, Wait: o.wait, Across: true}},
		} {
			run := m.run
			if run == nil {
				run = inBatches(m.batching)
			}
			rate, err := round(o, m.owners, m.messages, run)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			rates[m.name] = append(rates[m.name], rate)
		}
	}
	middle := func(name string) float64 {
		all := slices.Sorted(slices.Values(rates[name]))
		return all[len(all)/2]
	}
	fmt.Printf("%d cores, %d messages or %v in a batch, %d owners, medians of %d\n\n", runtime.NumCPU(), o.most, o.wait, o.owners, o.rounds)
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(out, "safe on disk\tmessages a second\tratio\tgoal\n")
	fmt.Fprintf(out, "%s\t%.0f\t1\t\n", oneEach, middle(oneEach))
	fmt.Fprintf(out, "%s\t%.0f\t%.1f\t%d\n", batched, middle(batched), middle(batched)/middle(oneEach), goal)
	fmt.Fprintf(out, "%s\t%.0f\t1\t\n", eachOwner, middle(eachOwner))
	fmt.Fprintf(out, "%s\t%.0f\t%.1f\t\n", across, middle(across), middle(across)/middle(eachOwner))
	return out.Flush()
}

// safe is a file on which messages are made safe.
type safe struct {
	mu   sync.Mutex
	file *os.File
}

// write returns when the messages are on disk.
func (s *safe) write(batch ...delivery.Message) error {
	var all []byte
	for _, m := range batch {
		all = append(append(all, m.Payload...), '\n')
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.file.Write(all); err != nil {
		return err
	}
	return s.file.Sync()
}

func single(ctx context.Context, c *push.Connection, to *safe) error {
	return c.Run(ctx, func(_ context.Context, m delivery.Message) error { return to.write(m) })
}

// inBatches runs connections with one Batching.
func inBatches(b *delivery.Batching) func(context.Context, *push.Connection, *safe) error {
	var once sync.Once
	return func(ctx context.Context, c *push.Connection, to *safe) error {
		once.Do(func() {
			b.Handler = func(_ context.Context, batch []delivery.Message) error { return to.write(batch...) }
		})
		return c.RunBatches(ctx, b)
	}
}

// round returns how many messages a second are made safe and acknowledged.
func round(o options, owners, messages int, run func(context.Context, *push.Connection, *safe) error) (rate float64, err error) {
	opts := fdstest.Options{Devices: -1, Quiet: true}
	for range owners {
		opts.Owners = append(opts.Owners, fdstest.Owner{SubscriptionID: fds.NewSubscriptionID()})
	}
	p, err := fdstest.Start(opts)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	file, err := os.Create(filepath.Join(cmp.Or(o.folder, os.TempDir()), fmt.Sprintf("fds-batches-%d", os.Getpid())))
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	defer file.Close()

	ctx, stop := context.WithTimeout(context.Background(), 5*time.Minute)
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	var left atomic.Int64
	left.Store(int64(messages))
	done, up := make(chan struct{}), make(chan struct{}, owners)
	to := &safe{file: file}
	budget := push.NewBudget(0)
	for _, owner := range p.Owners() {
		c, err := connection(p, owner, budget, up, func(delivery.Message) {
			if left.Add(-1) == 0 {
				close(done)
			}
		})
		if err != nil {
			return 0, err
		}
		work.Go(func() { _ = run(ctx, c, to) })
	}
	for range owners {
		select {
		case <-up:
		case <-ctx.Done():
			return 0, errors.New("not every owner is connected in time")
		}
	}
	payload := fmt.Appendf(nil, `{"x":"%0*d"}`, o.bytes, 0)
	all := p.Owners()
	began := time.Now()
	for n := range messages {
		if err := p.Publish(ctx, all[n%owners], []string{"events"}, payload, 1, false); err != nil {
			return 0, err
		}
	}
	select {
	case <-done:
	case <-ctx.Done():
		return 0, fmt.Errorf("%d messages are not acknowledged in time", left.Load())
	}
	return float64(messages) / time.Since(began).Seconds(), nil
}

// connection returns an owner's; up is told when messages may come.
func connection(p *fdstest.Provider, o fdstest.Owner, budget *push.Budget, up chan<- struct{}, acknowledged func(delivery.Message)) (*push.Connection, error) {
	certificate, err := p.OwnerCertificate(o)
	if err != nil {
		return nil, err
	}
	root, err := fds.ParseRoot(o.Spelling)
	if err != nil {
		return nil, err
	}
	roots := p.RootCAs()
	return push.New(push.Config{
		Issuer: p.Issuer(), Root: root, BrokerURL: p.BrokerURL(),
		Roots:       func(context.Context) (*x509.CertPool, error) { return roots, nil },
		Certificate: func(context.Context) (*tls.Certificate, error) { return &certificate.TLS, nil },
		Settings:    push.Settings{Budget: budget},
		BeforeMessages: func(context.Context, push.Subscribed) error {
			up <- struct{}{}
			return nil
		},
		OnAcknowledged: acknowledged,
	})
}
