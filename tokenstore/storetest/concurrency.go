package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// timeout bounds what a store may take under load; it is not waited for.
const timeout = 60 * time.Second

func mustLock(t *testing.T, s tokenstore.Store, k tokenstore.Key) tokenstore.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	lease, err := s.Lock(ctx, k)
	if err != nil {
		t.Fatalf("Lock: %v", err)
	}
	return lease
}

// wantHeld checks that nobody else gets the lock now.
func wantHeld(t *testing.T, s tokenstore.Store, k tokenstore.Key) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if lease, err := s.Lock(ctx, k); !errors.Is(err, context.DeadlineExceeded) {
		if err == nil {
			lease.Release()
		}
		t.Fatalf("Lock of a held lock gives %v, want the end of its context", err)
	}
}

func lockExclusion(t *testing.T, s tokenstore.Store, options Options) {
	handles := []tokenstore.Store{s}
	if options.Reopen != nil {
		handles = append(handles, options.Reopen(t, s))
	}
	lease := mustLock(t, s, key(1))
	for _, handle := range handles {
		wantHeld(t, handle, key(1))
	}
	lease.Release()
	const goroutines, rounds = 8, 5
	var (
		inside atomic.Int32
		total  int // unguarded but for the lock: the race detector watches it
		wg     sync.WaitGroup
	)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for n := range goroutines {
		wg.Go(func() {
			for range rounds {
				lease, err := handles[n%len(handles)].Lock(ctx, key(1))
				if err != nil {
					t.Errorf("Lock: %v", err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two hold one lock")
				}
				total++
				inside.Add(-1)
				lease.Release()
				lease.Release() // has no effect, also not on the next holder
			}
		})
	}
	wg.Wait()
	if !t.Failed() && total != goroutines*rounds {
		t.Errorf("%d of %d additions under the lock were kept", total, goroutines*rounds)
	}
}

func lockContext(t *testing.T, s tokenstore.Store, _ Options) {
	lease := mustLock(t, s, key(1))
	wantHeld(t, s, key(1))
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		lease, err := s.Lock(ctx, key(1))
		if err == nil {
			lease.Release()
		}
		result <- err
	}()
	cancel()
	select {
	case err := <-result:
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("a waiter whose context is cancelled gets %v", err)
		}
	case <-time.After(timeout):
		t.Fatal("a waiter whose context is cancelled waits on")
	}
	wantHeld(t, s, key(1)) // the waiters took nothing away
	lease.Release()
	mustLock(t, s, key(1)).Release()
}

func lockIndependence(t *testing.T, s tokenstore.Store, _ Options) {
	var leases []tokenstore.Lease
	for _, k := range nastyKeys() {
		leases = append(leases, mustLock(t, s, k)) // hangs when two keys share a lock
	}
	for _, k := range nastyKeys()[:3] {
		wantHeld(t, s, k)
	}
	for _, lease := range leases {
		lease.Release()
	}
	for _, k := range nastyKeys()[:3] {
		mustLock(t, s, k).Release()
	}
}

func useUnderLock(t *testing.T, s tokenstore.Store, _ Options) {
	g := grant(key(1), "1")
	lease := mustLock(t, s, g.Key)
	defer lease.Release()
	wantNotFound(t, s, g.Key)
	save(t, s, g)
	wantGrant(t, s, g)
	wantList(t, s, g)
	if err := s.Probe(t.Context()); err != nil {
		t.Fatalf("Probe: %v", err)
	}
	if err := s.Delete(t.Context(), g.Key); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	wantHeld(t, s, g.Key) // also after the grant has come and gone
}

func lockBetweenHandles(t *testing.T, s tokenstore.Store, options Options) {
	other := options.Reopen(t, s)
	lease := mustLock(t, s, key(1))
	wantHeld(t, other, key(1))
	lease.Release()
	lease = mustLock(t, other, key(1))
	wantHeld(t, s, key(1))
	lease.Release()
}

func concurrentKeys(t *testing.T, s tokenstore.Store, _ Options) {
	const goroutines, rounds = 6, 4
	var wg sync.WaitGroup
	want := make([]tokenstore.Grant, goroutines)
	for n := range goroutines {
		wg.Go(func() {
			revision := ""
			for round := range rounds {
				g := grant(key(n), fmt.Sprintf("%d-%d", n, round))
				g.Revision = revision
				var err error
				if revision, err = s.Save(t.Context(), g); err != nil {
					t.Errorf("Save: %v", err)
					return
				}
				got, err := s.Load(t.Context(), g.Key)
				if err != nil || !got.Equal(g) {
					t.Errorf("Load after Save: %v", err)
					return
				}
				want[n] = g
				if n%2 == 1 {
					continue
				}
				temporary := grant(key(1000*n+round+1000), "temporary")
				_, err = s.Save(t.Context(), temporary)
				if err := errors.Join(err, s.Delete(t.Context(), temporary.Key)); err != nil {
					t.Errorf("Save and Delete: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, g := range want {
		wantGrant(t, s, g)
	}
	wantList(t, s, want...)
}

func concurrentReaders(t *testing.T, s tokenstore.Store, options Options) {
	reader := s
	if options.Reopen != nil {
		reader = options.Reopen(t, s)
	}
	// Small and large in turn, each with tokens that belong together.
	version := func(n int) tokenstore.Grant {
		g := grant(key(1), fmt.Sprint(n))
		if n%2 == 1 {
			filler := text(options.LargeToken - 100)
			g.RefreshToken = fds.NewSecret(fmt.Sprintf("refresh-%d-", n) + filler)
			g.AccessToken = fds.NewSecret(fmt.Sprintf("access-%d-", n) + filler)
		}
		return g
	}
	const versions = 16
	var saved [versions]tokenstore.Grant
	for n := range saved {
		saved[n] = version(n)
	}
	revision := save(t, s, saved[0])
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	var (
		wg   sync.WaitGroup
		done atomic.Bool
	)
	for range 3 {
		wg.Go(func() {
			last := 0
			for !done.Load() && !t.Failed() {
				got, err := reader.Load(ctx, key(1))
				if err != nil {
					t.Errorf("Load during saves: %v", err)
					return
				}
				n := last
				for n < versions && !got.Equal(saved[n]) {
					n++
				}
				if n == versions {
					t.Error("Load during saves gives a grant that was never saved, or goes back to an older one")
					return
				}
				last = n
				for entry, err := range reader.List(ctx) {
					if err != nil || entry.Key != key(1) {
						t.Errorf("List during saves: %+v, %v", entry, err)
					}
				}
			}
		})
	}
	for _, g := range saved[1:] {
		g.Revision = revision
		var err error
		if revision, err = s.Save(ctx, g); err != nil {
			t.Errorf("Save: %v", err)
			break
		}
	}
	done.Store(true)
	wg.Wait()
}
