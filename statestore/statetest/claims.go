package statetest

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/statestore"
)

// claimers skips a store that lets nobody claim anything.
func claimers(t *testing.T, handles []statestore.Store) (all []statestore.Claimer) {
	t.Helper()
	for _, s := range handles {
		c, ok := s.(statestore.Claimer)
		if !ok {
			t.Skip("the store is no Claimer")
		}
		all = append(all, c)
	}
	return all
}

func claim(t *testing.T, c statestore.Claimer, owner fds.OwnerKey) (release func()) {
	t.Helper()
	release, err := c.Claim(t.Context(), owner)
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	return release
}

// wantClaimed checks that nobody else gets the owner now.
func wantClaimed(t *testing.T, all []statestore.Claimer, owner fds.OwnerKey) {
	t.Helper()
	for _, c := range all {
		release, err := c.Claim(t.Context(), owner)
		claimed, ok := errors.AsType[*statestore.ClaimedError](err)
		switch {
		case !ok:
			t.Fatalf("Claim of what is claimed returns %v, want a *ClaimedError", err)
		case release != nil:
			t.Error("Claim of what is claimed returns something to release")
		case claimed.Owner != owner || claimed.PID != 0 && claimed.PID != os.Getpid():
			t.Errorf("Claim of what this process has claimed names %v and process %d", claimed.Owner, claimed.PID)
		case !strings.Contains(err.Error(), owner.SubscriptionID.String()):
			t.Errorf("the error names no owner: %v", err)
		}
	}
}

func claims(t *testing.T, handles []statestore.Store) {
	all := claimers(t, handles)
	one, other := owner(), owner()
	elsewhere := fds.OwnerKey{Issuer: "https://other.example", SubscriptionID: one.SubscriptionID}
	release := claim(t, all[0], one)
	wantClaimed(t, all, one)
	claim(t, all[0], other)()
	claim(t, all[len(all)-1], elsewhere)()
	key := statestore.Key{ClientID: "app", Owner: one, Name: "state"}
	want(t, handles, key, []byte("x"), save(t, handles[len(handles)-1], key, []byte("x"), "")) // commands use records of claimed owners
	wantClaimed(t, all, one)
	release()
	for _, c := range all {
		again := claim(t, c, one)
		release() // has no effect, also not on the next
		wantClaimed(t, all, one)
		again()
	}
	for _, bad := range []fds.OwnerKey{{}, {Issuer: "https://a.example"}, {SubscriptionID: one.SubscriptionID}} {
		if _, err := all[0].Claim(t.Context(), bad); !errors.Is(err, fds.ErrMalformed) {
			t.Errorf("Claim of %v returns %v, want ErrKey", bad, err)
		}
	}
}

func claimRace(t *testing.T, handles []statestore.Store) {
	all := claimers(t, handles)
	for range 5 {
		var (
			wg       sync.WaitGroup
			mu       sync.Mutex
			releases []func()
			one      = owner()
		)
		for n := range 8 {
			wg.Go(func() {
				release, err := all[n%len(all)].Claim(t.Context(), one)
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					releases = append(releases, release)
				} else if _, ok := errors.AsType[*statestore.ClaimedError](err); !ok {
					t.Errorf("Claim beside others: %v", err)
				}
			})
		}
		wg.Wait()
		if len(releases) != 1 {
			t.Fatalf("%d of 8 claims of one owner succeed", len(releases))
		}
		releases[0]()
	}
}

func manyClaims(t *testing.T, handles []statestore.Store) {
	all := claimers(t, handles)
	const owners = 3000
	claimed, releases := make([]fds.OwnerKey, owners), make([]func(), owners)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for n := g; n < owners; n += 4 {
				claimed[n] = owner()
				var err error
				if releases[n], err = all[n%len(all)].Claim(t.Context(), claimed[n]); err != nil {
					t.Errorf("Claim: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for n, one := range claimed {
		if n%3 == 0 {
			releases[n]()
		} else if n%50 == 1 {
			wantClaimed(t, all, one)
		}
	}
	for n, one := range claimed {
		switch {
		case n%3 == 0:
			claim(t, all[0], one)()
		case n%50 == 1:
			wantClaimed(t, all, one)
		}
	}
	for n, release := range releases {
		release()
		if n%50 == 0 {
			claim(t, all[0], claimed[n])()
		}
	}
}

func endedClaim(t *testing.T, handles []statestore.Store) {
	all := claimers(t, handles)
	one := owner()
	eachEnd(t, func(ctx context.Context, check func(string, error)) {
		_, err := all[0].Claim(ctx, one)
		check("Claim", err)
	})
	release := claim(t, all[0], one)
	eachEnd(t, func(ctx context.Context, check func(string, error)) {
		_, err := all[0].Claim(ctx, one)
		check("Claim of what is claimed", err)
	})
	wantClaimed(t, all, one)
	release()
	claim(t, all[0], one)()
}
