package statestore

import (
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
