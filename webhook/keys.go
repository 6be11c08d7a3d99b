package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/internal/keyset"
	"github.com/fds-sdk/fds-go/internal/single"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	keysEvery   = 15 * time.Minute // about how often the keys are fetched anew
	keysTimeout = 30 * time.Second // of one fetch
	unknownKey  = 30 * time.Second // between two fetches for a key ID that the set lacks
	unknownWait = 5 * time.Second  // how long the one waits for whom one is made
)

// keys are the issuer's, kept fresh in the background. What was fetched last serves on until a
// fetch succeeds.
type keys struct {
	fetch func(context.Context) ([]byte, error)
	log   *slog.Logger
	ctx   context.Context // of all fetches: no caller's end is theirs

	flight single.Flight[*keyset.Set]
	set    atomic.Pointer[keyset.Set] // nil: none yet
	begun  chan struct{}              // closed once the first fetch has ended, however

	mu    sync.Mutex
	raw   []byte // of set
	at    time.Time
	err   error     // of the last fetch
	asked time.Time // when an unknown key ID last caused one
}

// now returns the keys; nil: they could not be fetched yet.
func (k *keys) now() *keyset.Set {
	if k == nil {
		return nil
	}
	return k.set.Load()
}

// first returns the keys, for which it waits a while where the first fetch is under way; nil: they
// could not be fetched yet.
func (k *keys) first(ctx context.Context) *keyset.Set {
	if set := k.set.Load(); set != nil {
		return set
	}
	timer := time.NewTimer(unknownWait)
	defer timer.Stop()
	select {
	case <-k.begun:
	case <-timer.C:
	case <-ctx.Done():
	}
	return k.set.Load()
}

// refresh keeps the keys fresh until ctx ends.
func (k *keys) refresh() {
	began := sync.OnceFunc(func() { close(k.begun) })
	retries := backoff.New(backoff.Policy{Initial: time.Second, Max: time.Minute, StableAfter: time.Minute})
	for {
		wait := keysEvery/2 + rand.N(keysEvery)
		if _, err := k.get(k.ctx); err != nil {
			wait = retries.Next()
		} else {
			retries.Up()
		}
		began()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-k.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// get fetches the keys, unless that is under way: then it waits for what that brings.
func (k *keys) get(ctx context.Context) (*keyset.Set, error) {
	return k.flight.Do(ctx, keysTimeout, func() (set *keyset.Set, err error) {
		within, cancel := context.WithTimeout(k.ctx, keysTimeout)
		defer cancel()
		raw, err := k.fetch(within)
		if err == nil {
			set, err = k.take(raw)
		}
		k.mu.Lock()
		first := k.err == nil
		if k.err = err; err == nil {
			k.at = time.Now()
		}
		k.mu.Unlock()
		if err != nil && first && k.ctx.Err() == nil {
			text := "the issuer's keys cannot be fetched; those of before serve on"
			if k.set.Load() == nil {
				text = "the issuer's keys cannot be fetched; until they are senders are asked to come again"
			}
			k.log.LogAttrs(k.ctx, slog.LevelWarn, text, slog.Any("error", tlspolicy.Shown(err)))
		}
		return set, err
	})
}

// take takes a set into use. One that has not changed stays the same value, by which tokens that
// were verified with it count on.
func (k *keys) take(raw []byte) (*keyset.Set, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if set := k.set.Load(); set != nil && bytes.Equal(raw, k.raw) {
		return set, nil
	}
	set, err := keyset.Parse(raw)
	if err == nil && set.Len() == 0 {
		err = errors.New("none of the set can be used")
	}
	if err != nil {
		return nil, fmt.Errorf("webhook: the issuer's keys: %w", err)
	}
	k.raw = bytes.Clone(raw)
	k.set.Store(set)
	return set, nil
}

// ask fetches the keys for an ID that the set lacks, once in a while, and returns them if it is
// there now; nil: it is not, or somebody has asked just before. An error says that they cannot be
// fetched, so that nobody knows.
func (k *keys) ask(ctx context.Context, id string) (*keyset.Set, error) {
	now := time.Now()
	k.mu.Lock()
	if !k.asked.IsZero() && now.Sub(k.asked) < unknownKey {
		defer k.mu.Unlock()
		return nil, k.err
	}
	k.asked = now
	k.mu.Unlock()
	waiting, cancel := context.WithTimeout(ctx, unknownWait)
	defer cancel()
	set, err := k.get(waiting)
	if err != nil || !set.Names(id) {
		return nil, err
	}
	return set, nil
}

// state returns when the keys were fetched last, and why they could not be since.
func (k *keys) state() (at time.Time, err error) {
	if k == nil {
		return time.Time{}, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.at, k.err
}
