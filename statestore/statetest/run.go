package statetest

import (
	"testing"

	"github.com/fds-sdk/fds-go/statestore"
)

// Options adapts the test to a store.
type Options struct {
	// Reopen returns another handle to what store keeps, as another process would open it.
	// Nil skips what needs two: for a store that keeps nothing beyond itself.
	Reopen func(t *testing.T, store statestore.Store) statestore.Store
}

// Run checks the store that open returns. It is called for each part of the test and returns
// an empty store each time; use t.Cleanup to close it. Parts do not run in parallel with one
// another, but use the store from several goroutines at once.
func Run(t *testing.T, open func(t *testing.T) statestore.Store, options Options) {
	type part struct {
		name string
		test func(t *testing.T, handles []statestore.Store)
	}
	parts := []part{
		{"WhatWasNeverSavedIsNoRecord", noRecord},
		{"ARecordIsLoadedAsItWasSaved", roundTrip},
		{"ASaveReplacesOnlyTheRecordThatWasLoaded", conditionalSave},
		{"ADeleteRemovesOnlyTheRecordThatWasLoaded", conditionalDelete},
		{"ARevisionIsNeverGivenAgain", freshRevisions},
		{"WhatIsTooLargeIsRefused", tooLarge},
		{"KeysDoNotTouchOneAnother", isolation},
		{"WhatIsNoKeyIsRefused", badKeys},
		{"WhatACallerChangesIsItsOwn", ownCopies},
		{"AnEndedContextEndsEveryCall", endedContext},
		{"ErrorsForgeNoLineAndFloodNone", quietErrors},
		{"OneOfManySavesOfOneRevisionSucceeds", saveRace},
		{"AmongManyWhoCountNothingIsLost", counting},
		{"ReadersSeeTheOldOrTheNewRecordWhole", readers},
		{"HandlesSeeOneAnothersRecords", handlesAgree},
		{"OneAtATimeHasAnOwner", claims},
		{"OneOfManyClaimsSucceeds", claimRace},
		{"ClaimsOfManyOwnersAreIndependent", manyClaims},
		{"AnEndedContextClaimsNothing", endedClaim},
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) {
			handles := []statestore.Store{open(t)}
			if options.Reopen != nil {
				handles = append(handles, options.Reopen(t, handles[0]))
			}
			part.test(t, handles)
		})
	}
}
