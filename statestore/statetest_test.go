package statestore_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/statestore/statetest"
)

// brokenStores each break one rule, which the named part of statetest must notice.
var brokenStores = map[string]struct {
	part string
	make func(*statestore.Memory) statestore.Store
}{
	"forgets":                     {"ARecordIsLoadedAsItWasSaved", func(m *statestore.Memory) statestore.Store { return forgetful{m} }},
	"trims data":                  {"ARecordIsLoadedAsItWasSaved", func(m *statestore.Memory) statestore.Store { return trimming{m} }},
	"has smaller records":         {"ARecordIsLoadedAsItWasSaved", func(m *statestore.Memory) statestore.Store { return small{m} }},
	"invents records":             {"WhatWasNeverSavedIsNoRecord", func(m *statestore.Memory) statestore.Store { return inventive{m} }},
	"misses what is not there":    {"WhatWasNeverSavedIsNoRecord", func(m *statestore.Memory) statestore.Store { return strict{m} }},
	"saves over anything":         {"ASaveReplacesOnlyTheRecordThatWasLoaded", func(m *statestore.Memory) statestore.Store { return unconditional{m, true, true} }},
	"saves new ones over others":  {"ASaveReplacesOnlyTheRecordThatWasLoaded", func(m *statestore.Memory) statestore.Store { return unconditional{m, true, false} }},
	"saves over later ones":       {"ASaveReplacesOnlyTheRecordThatWasLoaded", func(m *statestore.Memory) statestore.Store { return unconditional{m, false, true} }},
	"deletes anything":            {"ASaveReplacesOnlyTheRecordThatWasLoaded", func(m *statestore.Memory) statestore.Store { return rash{m} }},
	"keeps the deleted":           {"ADeleteRemovesOnlyTheRecordThatWasLoaded", func(m *statestore.Memory) statestore.Store { return hoarding{m} }},
	"revisions are of content":    {"ARevisionIsNeverGivenAgain", func(m *statestore.Memory) statestore.Store { return digesting{m} }},
	"takes anything":              {"WhatIsTooLargeIsRefused", func(m *statestore.Memory) statestore.Store { return boundless{m} }},
	"mixes issuers up":            {"KeysDoNotTouchOneAnother", func(m *statestore.Memory) statestore.Store { return &mixing{m, byIssuer} }},
	"mixes clients up":            {"KeysDoNotTouchOneAnother", func(m *statestore.Memory) statestore.Store { return &mixing{m, byClient} }},
	"mixes names up":              {"KeysDoNotTouchOneAnother", func(m *statestore.Memory) statestore.Store { return &mixing{m, byName} }},
	"takes any key":               {"WhatIsNoKeyIsRefused", func(m *statestore.Memory) statestore.Store { return &mixing{m, mended} }},
	"keeps the caller's data":     {"WhatACallerChangesIsItsOwn", func(m *statestore.Memory) statestore.Store { return &aliasing{Memory: m, save: true} }},
	"lends its data":              {"WhatACallerChangesIsItsOwn", func(m *statestore.Memory) statestore.Store { return &aliasing{Memory: m, load: true} }},
	"ignores contexts":            {"AnEndedContextEndsEveryCall", func(m *statestore.Memory) statestore.Store { return deaf{m} }},
	"prints keys":                 {"ErrorsForgeNoLineAndFloodNone", func(m *statestore.Memory) statestore.Store { return loud{m} }},
	"looks, then saves":           {"OneOfManySavesOfOneRevisionSucceeds", func(m *statestore.Memory) statestore.Store { return &slow{Memory: m} }},
	"loses additions":             {"AmongManyWhoCountNothingIsLost", func(m *statestore.Memory) statestore.Store { return &slow{Memory: m} }},
	"writes in place":             {"ReadersSeeTheOldOrTheNewRecordWhole", func(m *statestore.Memory) statestore.Store { return tearing{m} }},
	"remembers what it saw":       {"HandlesSeeOneAnothersRecords", func(m *statestore.Memory) statestore.Store { return &caching{Memory: m} }},
	"claims nothing":              {"OneAtATimeHasAnOwner", func(m *statestore.Memory) statestore.Store { return unclaimed{m} }},
	"claims by subscription only": {"OneAtATimeHasAnOwner", func(m *statestore.Memory) statestore.Store { return half{m} }},
	"releases twice":              {"OneAtATimeHasAnOwner", func(m *statestore.Memory) statestore.Store { return &eager{Memory: m} }},
	"claims without looking":      {"OneOfManyClaimsSucceeds", func(m *statestore.Memory) statestore.Store { return unclaimed{m} }},
	"has few claims":              {"ClaimsOfManyOwnersAreIndependent", func(m *statestore.Memory) statestore.Store { return few{m} }},
	"claims when it ended":        {"AnEndedContextClaimsNothing", func(m *statestore.Memory) statestore.Store { return deaf{m} }},
}

type forgetful struct{ *statestore.Memory }

func (forgetful) Save(ctx context.Context, key statestore.Key, _ []byte, _ string) (string, error) {
	return "1", nil
}

type trimming struct{ *statestore.Memory }

func (s trimming) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	return s.Memory.Save(ctx, key, []byte(strings.TrimSpace(string(data))), revision)
}

type small struct{ *statestore.Memory }

func (s small) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	if len(data) == statestore.MaxBytes {
		return "", fds.ErrTooLarge
	}
	return s.Memory.Save(ctx, key, data, revision)
}

type inventive struct{ *statestore.Memory }

func (s inventive) Load(ctx context.Context, key statestore.Key) (statestore.Record, error) {
	record, err := s.Memory.Load(ctx, key)
	if record.Revision == "" {
		record.Revision = "0"
	}
	return record, err
}

type strict struct{ *statestore.Memory }

func (s strict) Delete(ctx context.Context, key statestore.Key, revision string) error {
	if revision == "" {
		return fds.ErrConflict
	}
	return s.Memory.Delete(ctx, key, revision)
}

// current returns the revision that is stored.
func current(ctx context.Context, s *statestore.Memory, key statestore.Key) string {
	record, _ := s.Load(ctx, key)
	return record.Revision
}

// unconditional ignores revisions: those of new records, or the others.
type unconditional struct {
	*statestore.Memory
	created, changed bool
}

func (s unconditional) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	if revision == "" && s.created || revision != "" && s.changed {
		revision = current(ctx, s.Memory, key)
	}
	return s.Memory.Save(ctx, key, data, revision)
}

type rash struct{ *statestore.Memory }

func (s rash) Delete(ctx context.Context, key statestore.Key, revision string) error {
	return s.Memory.Delete(ctx, key, current(ctx, s.Memory, key))
}

type hoarding struct{ *statestore.Memory }

func (s hoarding) Delete(ctx context.Context, key statestore.Key, revision string) error {
	return ctx.Err()
}

// digesting has revisions that tell content only.
type digesting struct{ *statestore.Memory }

func (s digesting) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	got, err := s.Memory.Save(ctx, key, data, current(ctx, s.Memory, key))
	if err != nil || got == "" {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(data)), nil
}

type boundless struct{ *statestore.Memory }

func (s boundless) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	return s.Memory.Save(ctx, key, data[:min(len(data), statestore.MaxBytes)], revision)
}

// mixing takes some keys for others.
type mixing struct {
	*statestore.Memory
	change func(*statestore.Key)
}

func byIssuer(k *statestore.Key) {
	if k.Owner.Issuer != "" {
		k.Owner.Issuer = strings.TrimSuffix(k.Owner.Issuer, "/")
	}
}

func byClient(k *statestore.Key) { k.ClientID = strings.TrimSpace(k.ClientID) }

func byName(k *statestore.Key) {
	if k.Name != "." && k.Name != ".." {
		k.Name = strings.TrimSuffix(k.Name, ".")
	}
}

func mended(k *statestore.Key) {
	if len(k.Name) > 64 || k.Name == "State" {
		k.Name = "state"
	}
}

func (s *mixing) Load(ctx context.Context, key statestore.Key) (statestore.Record, error) {
	s.change(&key)
	return s.Memory.Load(ctx, key)
}

func (s *mixing) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	s.change(&key)
	return s.Memory.Save(ctx, key, data, revision)
}

func (s *mixing) Delete(ctx context.Context, key statestore.Key, revision string) error {
	s.change(&key)
	return s.Memory.Delete(ctx, key, revision)
}

// aliasing shares memory with its callers.
type aliasing struct {
	*statestore.Memory
	save, load bool
	mu         sync.Mutex
	data       map[statestore.Key][]byte
}

func (s *aliasing) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	got, err := s.Memory.Save(ctx, key, data, revision)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.data == nil {
			s.data = map[statestore.Key][]byte{}
		}
		if s.data[key] = data; !s.save {
			s.data[key] = append([]byte{}, data...)
		}
	}
	return got, err
}

func (s *aliasing) Load(ctx context.Context, key statestore.Key) (statestore.Record, error) {
	record, err := s.Memory.Load(ctx, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if record.Data = s.data[key]; !s.load {
		record.Data = append([]byte{}, record.Data...)
	}
	return record, err
}

type deaf struct{ *statestore.Memory }

func (s deaf) Load(_ context.Context, key statestore.Key) (statestore.Record, error) {
	return s.Memory.Load(context.Background(), key)
}

func (s deaf) Claim(_ context.Context, owner fds.OwnerKey) (func(), error) {
	return s.Memory.Claim(context.Background(), owner)
}

type loud struct{ *statestore.Memory }

func (s loud) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	got, err := s.Memory.Save(ctx, key, data, revision)
	if err != nil {
		err = fmt.Errorf("%s %s: %w", key.Owner, key.ClientID, err)
	}
	return got, err
}

// slow has a moment between its look and its save.
type slow struct {
	*statestore.Memory
	mu sync.Mutex
}

func (s *slow) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	if stored := current(ctx, s.Memory, key); stored != revision {
		return "", fds.ErrConflict
	}
	<-time.After(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Memory.Save(ctx, key, data, current(ctx, s.Memory, key))
}

type tearing struct{ *statestore.Memory }

func (s tearing) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	if len(data) < 2 {
		return s.Memory.Save(ctx, key, data, revision)
	}
	revision, err := s.Memory.Save(ctx, key, data[:len(data)/2], revision)
	if err != nil {
		return "", err
	}
	<-time.After(time.Millisecond)
	return s.Memory.Save(ctx, key, data, revision)
}

// caching reads a record once.
type caching struct {
	*statestore.Memory
	mu    sync.Mutex
	known map[statestore.Key]statestore.Record
}

func (s *caching) Load(ctx context.Context, key statestore.Key) (statestore.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if record, ok := s.known[key]; ok {
		return record, nil
	}
	record, err := s.Memory.Load(ctx, key)
	if s.known == nil {
		s.known = map[statestore.Key]statestore.Record{}
	}
	s.known[key] = record
	return record, err
}

type unclaimed struct{ *statestore.Memory }

func (unclaimed) Claim(ctx context.Context, owner fds.OwnerKey) (func(), error) {
	return func() {}, ctx.Err()
}

type half struct{ *statestore.Memory }

func (s half) Claim(ctx context.Context, owner fds.OwnerKey) (func(), error) {
	if owner.Issuer != "" {
		owner.Issuer = "any"
	}
	release, err := s.Memory.Claim(ctx, owner)
	return release, err
}

// eager has releases that end whichever claim there is.
type eager struct {
	*statestore.Memory
	mu   sync.Mutex
	last map[fds.OwnerKey]func()
}

func (s *eager) Claim(ctx context.Context, owner fds.OwnerKey) (func(), error) {
	release, err := s.Memory.Claim(ctx, owner)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[fds.OwnerKey]func(){}
	}
	s.last[owner] = release
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last[owner]()
	}, nil
}

// few tells owners by the first byte of their IDs.
type few struct{ *statestore.Memory }

func (s few) Claim(ctx context.Context, owner fds.OwnerKey) (func(), error) {
	owner.Issuer = owner.SubscriptionID.String()[:2]
	owner.SubscriptionID, _ = fds.ParseSubscriptionID("9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f")
	return s.Memory.Claim(ctx, owner)
}

const brokenStore = "STATESTORE_TEST_BROKEN"

// TestABrokenStore runs statetest on a broken store, in the process that
// TestABrokenStoreDoesNotPass starts and alone there.
func TestABrokenStore(t *testing.T) {
	broken, ok := brokenStores[os.Getenv(brokenStore)]
	if !ok {
		return // it is for the process that another test starts
	}
	memory := map[statestore.Store]*statestore.Memory{}
	statetest.Run(t, func(*testing.T) statestore.Store {
		m := new(statestore.Memory)
		s := broken.make(m)
		memory[s] = m
		return s
	}, statetest.Options{
		Reopen: func(_ *testing.T, s statestore.Store) statestore.Store {
			switch s.(type) {
			case *aliasing, *eager: // which keep something of their own
				return s
			}
			return broken.make(memory[s])
		},
	})
}

func TestABrokenStoreDoesNotPass(t *testing.T) {
	for name, broken := range brokenStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestABrokenStore$/^"+broken.part+"$")
			run.Env = append(os.Environ(), brokenStore+"="+name)
			out, err := run.CombinedOutput()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() < 1 ||
				strings.Contains(string(out), "panic:") || !strings.Contains(string(out), fmt.Sprintf("--- FAIL: TestABrokenStore/%s ", broken.part)) {
				t.Errorf("%s did not notice: %v\n%s", broken.part, err, out)
			}
		})
	}
}
