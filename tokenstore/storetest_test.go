package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
	"github.com/fds-sdk/fds-go/tokenstore/storetest"
)

// brokenStores each break one rule of Store, which the named part of storetest
// must notice.
var brokenStores = map[string]struct {
	part string
	make func(tokenstore.Store) tokenstore.Store
}{
	"forgets":           {"AGrantIsLoadedAsItWasSaved", func(s tokenstore.Store) tokenstore.Store { return forgetful{s} }},
	"loses half":        {"AGrantIsLoadedAsItWasSaved", func(s tokenstore.Store) tokenstore.Store { return careless{s} }},
	"keeps the deleted": {"ADeletedGrantIsGone", func(s tokenstore.Store) tokenstore.Store { return hoarding{s} }},
	"locks nothing":     {"OneHolderAtATimeHasALock", func(s tokenstore.Store) tokenstore.Store { return unlocked{s} }},
	"has one lock":      {"LocksOfDifferentKeysAreIndependent", func(s tokenstore.Store) tokenstore.Store { return oneLock{s} }},
	"lists on":          {"AListCanBeLeftEarly", func(s tokenstore.Store) tokenstore.Store { return stubborn{s} }},
	"ignores contexts":  {"AnEndedContextEndsEveryCall", func(s tokenstore.Store) tokenstore.Store { return deaf{s} }},
	"mixes keys up":     {"KeysDoNotTouchOneAnother", func(s tokenstore.Store) tokenstore.Store { return mixing{s} }},
	"finds anything":    {"AMissingGrantIsNotFound", func(s tokenstore.Store) tokenstore.Store { return inventive{s} }},

	"saves over anything":        {"ASaveReplacesOnlyTheGrantThatWasLoaded", func(s tokenstore.Store) tokenstore.Store { return unconditional{s, true, true} }},
	"saves new ones over others": {"ASaveReplacesOnlyTheGrantThatWasLoaded", func(s tokenstore.Store) tokenstore.Store { return unconditional{s, true, false} }},
	"saves over later ones":      {"ASaveReplacesOnlyTheGrantThatWasLoaded", func(s tokenstore.Store) tokenstore.Store { return unconditional{s, false, true} }},
	"reserves over anything":     {"ASaveReplacesOnlyTheGrantThatWasLoaded", func(s tokenstore.Store) tokenstore.Store { return rash{s} }},
	"numbers each grant's saves": {"ASaveReplacesOnlyTheGrantThatWasLoaded", func(s tokenstore.Store) tokenstore.Store { return &counting{Store: s} }},
	"tells another revision":     {"ASaveReplacesOnlyTheGrantThatWasLoaded", func(s tokenstore.Store) tokenstore.Store { return misleading{s} }},
	"looks, then saves":          {"OneOfManySavesOfOneRevisionSucceeds", func(s tokenstore.Store) tokenstore.Store { return slow{s} }},
	"takes no repetition":        {"ASaveCanBeRepeated", func(s tokenstore.Store) tokenstore.Store { return strict{s} }},
	"reserves nothing":           {"AReservationMarksTheGrantAndKeepsItsTokens", func(s tokenstore.Store) tokenstore.Store { return idleReserve{s} }},
	"reserves without a mark":    {"AReservationMarksTheGrantAndKeepsItsTokens", func(s tokenstore.Store) tokenstore.Store { return unmarking{s} }},
	"reserves what is there":     {"AReservationMarksTheGrantAndKeepsItsTokens", func(s tokenstore.Store) tokenstore.Store { return existing{s} }},
	"keeps the mark":             {"ARenewalEndsWithItsRefreshToken", func(s tokenstore.Store) tokenstore.Store { return &clinging{Store: s} }},
	"forgets the mark":           {"AMarkOutlivesItsHandle", func(s tokenstore.Store) tokenstore.Store { return &inMemory{Store: s} }},
	"lets go after a while":      {"ALockIsHeldAsLongAsTheWorkTakes", func(s tokenstore.Store) tokenstore.Store { return expiringLocks{s} }},
	"is never done":              {"ALockIsHeldAsLongAsTheWorkTakes", func(s tokenstore.Store) tokenstore.Store { return endless{s} }},
	"is done too early":          {"ALockIsHeldAsLongAsTheWorkTakes", func(s tokenstore.Store) tokenstore.Store { return hasty{s} }},
	"asks for someone":           {"WorkThatNobodyWaitsForIsDoneToo", func(s tokenstore.Store) tokenstore.Store { return asking{s} }},
	"breaks what is reserved":    {"WhatWasReservedForIsNotLostInABrokenStore", func(s tokenstore.Store) tokenstore.Store { return fragile{s} }},
	"breaks its promise":         {"WhatWasReservedForIsNotLostInABrokenStore", func(s tokenstore.Store) tokenstore.Store { return s }},
	"reserves when it is broken": {"AReservationThatFailsChangesNothing", func(s tokenstore.Store) tokenstore.Store { return confident{s} }},
	"reserves half":              {"AReservationThatFailsChangesNothing", func(s tokenstore.Store) tokenstore.Store { return halfway{s} }},
}

type forgetful struct{ tokenstore.Store }

func (forgetful) Save(context.Context, tokenstore.Grant) (string, error) { return "1", nil }

type careless struct{ tokenstore.Store }

func (s careless) Save(ctx context.Context, g tokenstore.Grant) (string, error) {
	g.RefreshToken = fds.Secret{}
	return s.Store.Save(ctx, g)
}

type hoarding struct{ tokenstore.Store }

func (hoarding) Delete(ctx context.Context, _ tokenstore.Key) error { return ctx.Err() }

type unlocked struct{ tokenstore.Store }

func (unlocked) Lock(ctx context.Context, _ tokenstore.Key) (tokenstore.Lease, error) {
	return make(idle), ctx.Err()
}

type idle chan struct{}

func (i idle) Done() <-chan struct{} { return i }
func (idle) Release()                {}

type oneLock struct{ tokenstore.Store }

func (s oneLock) Lock(ctx context.Context, _ tokenstore.Key) (tokenstore.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, 2e9) // so that this test need not wait as long as storetest would
	defer cancel()
	return s.Store.Lock(ctx, tokenstore.Key{Issuer: "one", ClientID: "one", GrantID: "one"})
}

type stubborn struct{ tokenstore.Store }

func (s stubborn) List(ctx context.Context) iter.Seq2[tokenstore.Entry, error] {
	return func(yield func(tokenstore.Entry, error) bool) {
		for e, err := range s.Store.List(ctx) {
			yield(e, err)
		}
	}
}

type deaf struct{ tokenstore.Store }

func (s deaf) Save(_ context.Context, g tokenstore.Grant) (string, error) {
	return s.Store.Save(context.Background(), g)
}

type mixing struct{ tokenstore.Store }

func (s mixing) Load(ctx context.Context, key tokenstore.Key) (tokenstore.Grant, error) {
	for e := range s.List(ctx) {
		return s.Store.Load(ctx, e.Key)
	}
	return s.Store.Load(ctx, key)
}

type inventive struct{ tokenstore.Store }

func (s inventive) Load(ctx context.Context, key tokenstore.Key) (tokenstore.Grant, error) {
	g, err := s.Store.Load(ctx, key)
	if errors.Is(err, fds.ErrNoGrant) {
		return tokenstore.Grant{Key: key}, nil
	}
	return g, err
}

const brokenStore = "TOKENSTORE_TEST_BROKEN"

// TestABrokenStore runs storetest on a broken store, in the process that
// TestABrokenStoreDoesNotPass starts and alone there.
func TestABrokenStore(t *testing.T) {
	broken, ok := brokenStores[os.Getenv(brokenStore)]
	if !ok {
		return // it is for the process that another test starts
	}
	options := breakableOptions
	options.SavesWhenBroken = os.Getenv(brokenStore) == "breaks its promise"
	storetest.Run(t, func(*testing.T) tokenstore.Store { return broken.make(openBreakable()) }, options)
}

func TestAStoreThatCanBreakIsAStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) tokenstore.Store { return openBreakable() }, breakableOptions)
}

func TestABrokenStoreDoesNotPass(t *testing.T) {
	t.Parallel()
	for name, broken := range brokenStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestABrokenStore$/^"+broken.part+"$")
			run.Env = append(os.Environ(), brokenStore+"="+name)
			out, err := run.CombinedOutput()
			if err == nil || !strings.Contains(string(out), fmt.Sprintf("--- FAIL: TestABrokenStore/%s ", broken.part)) &&
				!strings.Contains(string(out), "panic:") {
				t.Errorf("%s did not notice: %v\n%s", broken.part, err, out)
			}
		})
	}
}
