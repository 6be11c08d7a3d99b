package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// wantStored is wantGrant with the revision.
func wantStored(t *testing.T, s tokenstore.Store, want tokenstore.Grant) {
	t.Helper()
	got, err := s.Load(t.Context(), want.Key)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	wantEqual(t, got, want)
	if got.Revision != want.Revision {
		t.Fatalf("Load gives the revision %q, want %q", got.Revision, want.Revision)
	}
}

// saved returns g with the revision that its Save gave.
func saved(t *testing.T, s tokenstore.Store, g tokenstore.Grant) tokenstore.Grant {
	t.Helper()
	g.Revision = save(t, s, g)
	return g
}

// marked is g with a renewal under way.
func marked(g tokenstore.Grant) tokenstore.Grant {
	at := time.Date(2026, 3, 2, 1, 2, 3, 4, time.FixedZone("", -3600))
	g.Renewal = tokenstore.Renewal{By: "host/42", Since: at, Sent: 2, Refused: at.Add(time.Minute), Looked: at.Add(time.Hour),
		Lapsed: true, Former: fds.NewSecret("former")}
	return g
}

// reserved marks g and returns it with the revision that Reserve gave.
func reserved(t *testing.T, s tokenstore.Store, g tokenstore.Grant) tokenstore.Grant {
	t.Helper()
	g = marked(g)
	var err error
	if g.Revision, err = s.Reserve(t.Context(), g); err != nil {
		t.Fatalf("Reserve: %v", err)
	}
	return g
}

// renewed returns g as it is after a renewal.
func renewed(g tokenstore.Grant, text string) tokenstore.Grant {
	g.RefreshToken, g.AccessToken = fds.NewSecret("refresh-"+text), fds.NewSecret("access-"+text)
	g.Renewal = tokenstore.Renewal{}
	return g
}

// wantConflict checks that neither Save nor Reserve takes g.
func wantConflict(t *testing.T, s tokenstore.Store, what string, g tokenstore.Grant) {
	t.Helper()
	if _, err := s.Save(t.Context(), g); !errors.Is(err, fds.ErrConflict) {
		t.Errorf("Save %s gives %v, want ErrConflict", what, err)
	}
	if _, err := s.Reserve(t.Context(), g); !errors.Is(err, fds.ErrConflict) {
		t.Errorf("Reserve %s gives %v, want ErrConflict", what, err)
	}
}

func conditionalSave(t *testing.T, s tokenstore.Store, _ Options) {
	first := saved(t, s, grant(key(1), "first"))
	if first.Revision == "" {
		t.Error("Save gives an empty revision")
	}
	wantStored(t, s, first)
	wantConflict(t, s, "of a new grant in the place of another", grant(key(1), "other"))
	wantStored(t, s, first)

	second := saved(t, s, renewed(first, "second"))
	if second.Revision == first.Revision {
		t.Error("another grant has the revision of the one before")
	}
	wantStored(t, s, second)
	late := renewed(first, "late")
	wantConflict(t, s, "of a grant that was renewed since it was loaded", late)
	late.Revision = saved(t, s, grant(key(2), "other")).Revision + "x"
	wantConflict(t, s, "with a revision that never was", late)
	wantStored(t, s, second)

	if err := s.Delete(t.Context(), second.Key); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	wantConflict(t, s, "of a grant that was deleted since it was loaded", renewed(second, "third"))
	wantNotFound(t, s, second.Key)
	again := saved(t, s, renewed(saved(t, s, grant(key(1), "again")), "and again"))
	wantConflict(t, s, "of a grant that was deleted and made anew since it was loaded", renewed(second, "third"))
	wantStored(t, s, again)
}

func repeatedSave(t *testing.T, s tokenstore.Store, _ Options) {
	// Whoever does not learn what became of a Save tries it again.
	again := func(g tokenstore.Grant) tokenstore.Grant {
		for range 2 {
			revision, err := s.Save(t.Context(), g)
			if err != nil {
				t.Fatalf("a Save that is repeated: %v", err)
			}
			stored := g
			stored.Revision = revision
			wantStored(t, s, stored)
		}
		stored, err := s.Load(t.Context(), g.Key)
		if err != nil {
			t.Fatalf("Load: %v", err)
		}
		return stored
	}
	first := again(grant(key(1), "first"))
	again(renewed(first, "second"))
}

func saveRace(t *testing.T, s tokenstore.Store, options Options) {
	handles := []tokenstore.Store{s}
	if options.Reopen != nil {
		handles = append(handles, options.Reopen(t, s))
	}
	g := saved(t, s, grant(key(1), "0"))
	const rounds, savers = 5, 8
	for round := range rounds {
		var (
			wg        sync.WaitGroup
			mu        sync.Mutex
			winners   []tokenstore.Grant
			revisions = g
		)
		for n := range savers {
			wg.Go(func() {
				mine := renewed(revisions, fmt.Sprintf("%d-%d", round, n))
				var err error
				switch mine.Revision, err = handles[n%len(handles)].Save(t.Context(), mine); {
				case err == nil:
					mu.Lock()
					defer mu.Unlock()
					winners = append(winners, mine)
				case !errors.Is(err, fds.ErrConflict):
					t.Errorf("Save beside others: %v", err)
				}
			})
		}
		wg.Wait()
		if len(winners) != 1 {
			t.Fatalf("%d of %d Saves with one revision succeeded, want one", len(winners), savers)
		}
		g = winners[0]
		wantStored(t, s, g)
	}
}

func reservation(t *testing.T, s tokenstore.Store, options Options) {
	g := reserved(t, s, saved(t, s, grant(key(1), "first"))) // with the tokens as they were
	wantStored(t, s, g)
	wantList(t, s, g)
	g.Renewal.Sent++ // once more, as whoever takes over does
	revision, err := s.Reserve(t.Context(), g)
	if err != nil {
		t.Fatalf("Reserve of what is reserved: %v", err)
	}
	g.Revision = revision
	wantStored(t, s, g)
	g = saved(t, s, renewed(g, "second"))
	wantStored(t, s, g)

	small := grant(key(2), "small")
	small.RefreshToken = fds.NewSecret(text(options.LargeToken / 2))
	small = reserved(t, s, small) // also where there was none
	wantStored(t, s, small)
	small.Renewal = tokenstore.Renewal{}
	small.RefreshToken = fds.NewSecret(text(options.LargeToken))
	wantStored(t, s, saved(t, s, small))
	if err := s.Delete(t.Context(), small.Key); err != nil {
		t.Fatalf("Delete: %v", err)
	}

	last := reserved(t, s, g)
	if err := s.Delete(t.Context(), last.Key); err != nil {
		t.Fatalf("Delete of what is reserved: %v", err)
	}
	wantNotFound(t, s, last.Key)
	wantList(t, s)
}

func endOfRenewal(t *testing.T, s tokenstore.Store, _ Options) {
	g := reserved(t, s, saved(t, s, grant(key(1), "first")))
	after := saved(t, s, renewed(g, "second"))
	wantStored(t, s, after)

	// A version of package tokenstore that knows no renewals keeps the member as it
	// is, whatever refresh token it writes.
	g = reserved(t, s, after)
	data, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte(`"refresh_token":"refresh-second"`), []byte(`"refresh_token":"refresh-third"`), 1)
	rewritten, err := tokenstore.DecodeGrant(data)
	if err != nil {
		t.Fatal(err)
	}
	rewritten.Revision = g.Revision
	rewritten = saved(t, s, rewritten)
	wantStored(t, s, rewritten)
	if loaded, err := s.Load(t.Context(), g.Key); err != nil || loaded.Renewal.By != "" || loaded.RefreshToken.Reveal() != "refresh-third" {
		t.Errorf("with another refresh token there is still a renewal by %q (%v)", loaded.Renewal.By, err)
	}
}

func markAfterCrash(t *testing.T, s tokenstore.Store, options Options) {
	g := reserved(t, s, saved(t, s, grant(key(1), "first")))
	other := options.Reopen(t, s) // the process that reserved is gone
	wantStored(t, other, g)
	wantList(t, other, g)
	g = saved(t, other, renewed(g, "second"))
	wantStored(t, other, g)
	wantStored(t, s, g)
}

// breakStore breaks the store and checks that it is.
func breakStore(t *testing.T, s tokenstore.Store, options Options) (mend func()) {
	t.Helper()
	mend = options.Break(t, s)
	if _, err := s.Save(t.Context(), grant(key(99), "too much")); err == nil {
		t.Fatal("Options.Break breaks nothing: a new grant is saved")
	}
	return mend
}

func brokenBetween(t *testing.T, s tokenstore.Store, options Options) {
	g := saved(t, s, grant(key(1), "first"))
	lease := mustLock(t, s, g.Key)
	defer lease.Release()
	g = reserved(t, s, g)
	mend := breakStore(t, s, options)
	next := renewed(g, "second")
	revision, err := s.Save(t.Context(), next)
	mend()
	switch {
	case err != nil && options.SavesWhenBroken:
		t.Fatalf("Save of what was reserved for: %v", err)
	case err != nil:
		wantStored(t, s, g) // the mark leads to the one retry
		if revision, err = s.Save(t.Context(), next); err != nil {
			t.Fatalf("Save once the store works again: %v", err)
		}
	}
	next.Revision = revision
	wantStored(t, s, next)
	wantList(t, s, next)
}

func brokenBefore(t *testing.T, s tokenstore.Store, options Options) {
	g := saved(t, s, grant(key(1), "first"))
	lease := mustLock(t, s, g.Key)
	defer lease.Release()
	mend := breakStore(t, s, options)
	if _, err := s.Reserve(t.Context(), marked(g)); !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Errorf("Reserve in a broken store gives %v, want ErrUnavailable", err)
	}
	mend()
	wantStored(t, s, g)
	wantList(t, s, g)
	wantStored(t, s, reserved(t, s, g))
}

func longLease(t *testing.T, s tokenstore.Store, options Options) {
	handles := []tokenstore.Store{s}
	if options.Reopen != nil {
		handles = append(handles, options.Reopen(t, s))
	}
	lease := mustLock(t, s, key(1))
	ctx, cancel := context.WithTimeout(t.Context(), max(3*options.LeaseTime, 300*time.Millisecond))
	defer cancel()
	var others sync.WaitGroup
	for _, handle := range handles {
		others.Go(func() {
			other, err := handle.Lock(ctx, key(1))
			if err == nil {
				other.Release()
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("while the lock is held for long, Lock gives %v", err)
			}
		})
	}
	others.Wait()
	select {
	case <-lease.Done():
		t.Error("a lease that is held is done")
	default:
	}
	wantHeld(t, s, key(1))
	lease.Release()
	select {
	case <-lease.Done():
	case <-time.After(timeout / 12):
		t.Error("a released lease is not done")
	}
	next := mustLock(t, handles[len(handles)-1], key(1))
	defer next.Release()
	lease.Release() // takes nothing from the next holder
	select {
	case <-next.Done():
		t.Error("a lease is done that another one's Release should not touch")
	default:
	}
}

func unattended(t *testing.T, s tokenstore.Store, _ Options) {
	ctx := tokenstore.Unattended(t.Context())
	if !tokenstore.IsUnattended(ctx) || tokenstore.IsUnattended(t.Context()) {
		t.Error("Unattended is not seen")
	}
	lease, err := s.Lock(ctx, key(1))
	if err != nil {
		t.Fatalf("Lock: %v", err)
	}
	defer lease.Release()
	if err := s.Probe(ctx); err != nil {
		t.Errorf("Probe: %v", err)
	}
	g := marked(grant(key(1), "first"))
	if g.Revision, err = s.Reserve(ctx, g); err != nil {
		t.Fatalf("Reserve: %v", err)
	}
	g = renewed(g, "second")
	if g.Revision, err = s.Save(ctx, g); err != nil {
		t.Fatalf("Save: %v", err)
	}
	if loaded, err := s.Load(ctx, g.Key); err != nil || !loaded.Equal(g) {
		t.Errorf("Load: %v", err)
	}
	for entry, err := range s.List(ctx) {
		if err != nil || entry.Key != g.Key {
			t.Errorf("List gives %+v, %v", entry, err)
		}
	}
	if err := s.Delete(ctx, g.Key); err != nil {
		t.Errorf("Delete: %v", err)
	}
	wantNotFound(t, s, g.Key)
}
