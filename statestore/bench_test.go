package statestore

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
)

// BenchmarkClaims is what a process pays that claims 10,000 owners.
func BenchmarkClaims(b *testing.B) {
	const owners = 10_000
	for b.Loop() {
		b.StopTimer()
		f := openTestFolder(b)
		all := make([]fds.OwnerKey, owners)
		for n := range all {
			all[n] = newOwner()
		}
		releases := make([]func(), owners)
		b.StartTimer()
		for n, owner := range all {
			releases[n] = mustClaim(b, f, owner)
		}
		b.StopTimer()
		for _, release := range releases {
			release()
		}
		b.StartTimer()
	}
}

// BenchmarkSaves is what a process pays that saves many owners' records, so many at a time.
func BenchmarkSaves(b *testing.B) {
	const owners = 1024
	data := []byte(`{"position":"2026-01-02T03:04:05.678Z","recent":"` + strings.Repeat("A", 400) + `"}`)
	for _, atOnce := range []int{1, 16, 64, owners} {
		b.Run(strconv.Itoa(atOnce), func(b *testing.B) {
			f := openTestFolder(b)
			var revisions [owners]string
			var keys [owners]Key
			for n := range keys {
				keys[n] = Key{ClientID: "app", Owner: newOwner(), Name: stateName}
			}
			saves := func(count int) {
				var all sync.WaitGroup
				for first := range atOnce {
					all.Go(func() {
						for n := first; n < count; n += atOnce {
							var err error
							if revisions[n%owners], err = f.Save(b.Context(), keys[n%owners], data, revisions[n%owners]); err != nil {
								b.Error(err)
							}
						}
					})
				}
				all.Wait()
			}
			saves(owners)
			b.ResetTimer()
			saves(b.N)
		})
	}
}
