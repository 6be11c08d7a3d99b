package fdsclient

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// TestADiskThatCannotBeWrittenCostsNoGrant has a process keep twenty grants renewed whose
// disk fills up, or becomes read-only, and which is killed while that lasts. Its successor
// starts on the same disk, and goes on when there is room again.
func TestADiskThatCannotBeWrittenCostsNoGrant(t *testing.T) {
	t.Parallel() // it waits for other processes
	for name, c := range map[string]struct {
		disk  func(*testing.T) *realtest.Disk
		spoil func(*realtest.Disk) (mend func())
	}{
		"a tmpfs that is full":                {func(t *testing.T) *realtest.Disk { return realtest.MemoryDisk(t, 2<<20) }, (*realtest.Disk).Fill},
		"a disk that is full":                 {func(t *testing.T) *realtest.Disk { return realtest.Ext4Disk(t) }, (*realtest.Disk).Fill},
		"a quota that is used up":             {func(t *testing.T) *realtest.Disk { return realtest.QuotaDisk(t, 8<<20) }, (*realtest.Disk).Fill},
		"a disk that has become read-only":    {func(t *testing.T) *realtest.Disk { return realtest.MemoryDisk(t, 2<<20) }, (*realtest.Disk).ReadOnly},
		"a small tmpfs that fills up by half": {func(t *testing.T) *realtest.Disk { return realtest.MemoryDisk(t, 256<<10) }, (*realtest.Disk).Fill},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := c.disk(t)
			var people []fdstest.Owner
			for range 20 {
				people = append(people, fdstest.Owner{SubscriptionID: fds.NewSubscriptionID()})
			}
			p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1, Owners: people, AccessTokenLifetime: 2 * time.Second})
			key, err := age.GenerateX25519Identity()
			if err != nil {
				t.Fatal(err)
			}
			process := child{Task: "serve", Folder: filepath.Join(disk.Path, "grants"), Identity: key.String(), Issuer: p.Issuer(), CA: p.CAPEM(), ClientID: p.PublicApplication().ID}
			first, store, err := process.open()
			if err != nil {
				t.Fatal(err)
			}
			for _, person := range p.Owners() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				_, err := first.SignIn(ctx, SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, url string) error { return p.Approve(ctx, url, person) }})
				cancel()
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			requests := func() int { return p.Requests(fdstest.TokenEndpoint) }

			running := process.start(t)
			before := requests()
			until(t, "renewals", func() bool { return requests() >= before+20 })
			// What the provider has issued already is not to be cut off from its place.
			busy := settle(t, p)
			mend := c.spoil(disk)
			busy()
			restful(t, requests)
			busy = settle(t, p) // a kill between an answer and its save is another test's: some disks make room
			if err := running.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = running.Wait() // killed: the error says so
			busy()

			running = process.start(t)
			restful(t, requests) // who cannot save does not ask
			mend()
			asked := requests()
			until(t, "renewals once there is room", func() bool { return requests() >= asked+40 })

			last, _, err := process.open()
			if err != nil {
				t.Fatal(err)
			}
			defer last.Close()
			lapsed := &lapses{}
			last.cfg.Hooks, last.cfg.Logger = []any{lapsed}, slog.New(slog.DiscardHandler)
			owners, err := last.Owners(t.Context())
			if err != nil || len(owners) != 20 {
				t.Fatalf("%d owners, %v", len(owners), err)
			}
			for _, o := range owners {
				until(t, fmt.Sprintf("a token of %s", o), func() bool {
					_, err := o.Token(t.Context())
					return err == nil || len(lapsed.told) > 0
				})
			}
			for e, err := range store.List(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if g, err := store.Load(t.Context(), e.Key); err != nil || g.Renewal.Lapsed || !g.Renewal.Refused.IsZero() {
					t.Errorf("%v: %+v, %v", e.Key, g.Renewal, err)
				}
			}
			if len(lapsed.told) > 0 {
				t.Errorf("must sign in again: %v", lapsed.told)
			}
			if err := running.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = running.Wait()
		})
	}
}

type lapses struct{ told []GrantEvent }

func (l *lapses) OnSignInNeeded(e GrantEvent) { l.told = append(l.told, e) }
func (l *lapses) OnRenewalFailing(e GrantEvent) {
	if !Retryable(e.Err) {
		l.told = append(l.told, e)
	}
}

// until waits until a condition holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 60 s: %s", what)
		}
	}
}

// settle has the provider refuse, until off is called, and returns when what it has issued is
// saved: whoever asked before has asked again, or nobody asks.
func settle(t *testing.T, p *fdstest.Provider) (off func()) {
	t.Helper()
	requests := func() int { return p.Requests(fdstest.TokenEndpoint) }
	off = p.Inject(fdstest.Unavailable(fdstest.TokenEndpoint, "1"))
	before, last, since := requests(), requests(), time.Now()
	until(t, "refusals", func() bool {
		if now := requests(); now != last {
			last, since = now, time.Now()
		}
		return last >= before+4*len(p.Owners()) || time.Since(since) > 4*time.Second
	})
	return off
}

// restful waits until nothing has been counted for a while, or for a while longer: on some
// disks what is replaced makes room for the next.
func restful(t *testing.T, count func() int) {
	t.Helper()
	began, last, since := time.Now(), count(), time.Now()
	until(t, "rest", func() bool {
		if now := count(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 2*time.Second || time.Since(began) > 15*time.Second
	})
}
