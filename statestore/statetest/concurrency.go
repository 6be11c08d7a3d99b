package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/statestore"
)

// timeout bounds what a store may take under load; it is not waited for.
const timeout = 60 * time.Second

func saveRace(t *testing.T, handles []statestore.Store) {
	const rounds, savers = 6, 8
	for _, name := range names {
		key := newKey(name)
		revision := ""
		for round := range rounds {
			var (
				wg      sync.WaitGroup
				mu      sync.Mutex
				winners []string
				data    []byte
			)
			for n := range savers {
				wg.Go(func() {
					mine := fmt.Appendf(nil, "%d-%d", round, n)
					got, err := handles[n%len(handles)].Save(t.Context(), key, mine, revision)
					switch {
					case err == nil:
						mu.Lock()
						defer mu.Unlock()
						winners, data = append(winners, got), mine
					case !errors.Is(err, fds.ErrConflict):
						t.Errorf("Save beside others: %v", err)
					}
				})
			}
			wg.Wait()
			if len(winners) != 1 {
				t.Fatalf("%d of %d Saves of one revision succeed", len(winners), savers)
			}
			revision = winners[0]
			want(t, handles, key, data, revision)
		}
	}
}

// increment adds one to a number, however many do the same.
func increment(ctx context.Context, s statestore.Store, key statestore.Key) error {
	for {
		record, err := s.Load(ctx, key)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		number := 0
		if record.Revision != "" {
			if number, err = strconv.Atoi(string(record.Data)); err != nil {
				return fmt.Errorf("load: %w", err)
			}
		}
		_, err = s.Save(ctx, key, strconv.AppendInt(nil, int64(number+1), 10), record.Revision)
		if !errors.Is(err, fds.ErrConflict) {
			return err
		}
	}
}

func counting(t *testing.T, handles []statestore.Store) {
	const goroutines, rounds = 6, 15
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for _, name := range names {
		key := newKey(name)
		var wg sync.WaitGroup
		for n := range goroutines {
			wg.Go(func() {
				for range rounds {
					if err := increment(ctx, handles[n%len(handles)], key); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		record, err := handles[0].Load(ctx, key)
		if err != nil || string(record.Data) != strconv.Itoa(goroutines*rounds) {
			t.Errorf("%d additions come to %s, %v", goroutines*rounds, record.Data, err)
		}
	}
}

func readers(t *testing.T, handles []statestore.Store) {
	for _, name := range names {
		key := newKey(name)
		version := func(n int) []byte { // small and large in turn
			text := strconv.Itoa(n)
			if n%2 == 1 {
				return bytes.Repeat([]byte(text+" "), 20_000)
			}
			return []byte(text)
		}
		const versions = 16
		revision := save(t, handles[0], key, version(0), "")
		var (
			wg   sync.WaitGroup
			done atomic.Bool
		)
		for r := range 3 {
			wg.Go(func() {
				for last := 0; !done.Load(); {
					record, err := handles[r%len(handles)].Load(t.Context(), key)
					if err != nil {
						t.Errorf("Load during saves: %v", err)
						return
					}
					n := last
					for n < versions && !bytes.Equal(record.Data, version(n)) {
						n++
					}
					if n == versions {
						t.Error("Load during saves returns what was never saved, or goes back to an older record")
						return
					}
					last = n
				}
			})
		}
		for n := range versions - 1 {
			var err error
			if revision, err = handles[0].Save(t.Context(), key, version(n+1), revision); err != nil {
				t.Errorf("Save beside readers: %v", err)
				break
			}
		}
		done.Store(true)
		wg.Wait()
	}
}
