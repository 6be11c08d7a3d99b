package storetest

import (
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/tokenstore"
)

// Options adapts the test to a store.
type Options struct {
	// LargeToken is the length, in bytes, of the tokens in the test of large
	// grants; default 65,536. A store that allows less sets what it allows.
	LargeToken int

	// Reopen returns another handle to what store keeps, as another process would
	// open it, and is needed for the tests of durability and of locks between
	// handles. Nil skips these: for a store that keeps nothing beyond itself.
	Reopen func(t *testing.T, store tokenstore.Store) tokenstore.Store

	// LeaseTime is how long a lock lasts in a store that must prolong it, such as a
	// row with an expiry in a database. The test holds a lock three times as long.
	// Zero: a lock lasts until it is released or its process ends.
	LeaseTime time.Duration

	// Break makes writing to the place where store keeps its records fail, as a full
	// disk or a database without a primary does, until mend is called, and is needed
	// for the tests of what Reserve is for. Reading may fail too. Nil skips these.
	Break func(t *testing.T, store tokenstore.Store) (mend func())

	// SavesWhenBroken says that a Save after a Reserve succeeds although the store is
	// broken, as on a full disk, where room was made sure of. Without it such a Save
	// may fail, but must leave what Reserve has written.
	SavesWhenBroken bool
}

// Run checks the store that open returns. It is called for each part of the test and
// returns an empty store each time; use t.Cleanup to close it. Parts do not run in
// parallel with one another, but use the store from several goroutines at once.
func Run(t *testing.T, open func(t *testing.T) tokenstore.Store, options Options) {
	if options.LargeToken == 0 {
		options.LargeToken = 64 << 10
	}
	type part struct {
		name string
		test func(*testing.T, tokenstore.Store, Options)
	}
	parts := []part{
		{"AnEmptyStoreIsReadyAndListsNothing", emptyStore},
		{"AGrantIsLoadedAsItWasSaved", roundTrip},
		{"ALargeGrantIsLoadedAsItWasSaved", largeGrant},
		{"MembersOfANewerVersionSurviveARewrite", newerMembers},
		{"ASaveReplacesTheWholeGrant", overwrite},
		{"AGrantGrowsAndShrinks", growAndShrink},
		{"WhatACallerChangesIsItsOwn", ownCopies},
		{"AMissingGrantIsNotFound", notFound},
		{"ADeletedGrantIsGone", deletion},
		{"KeysDoNotTouchOneAnother", isolation},
		{"WhatCannotBeStoredIsRefused", refusals},
		{"AListCanBeLeftEarly", leaveList},
		{"AnEndedContextEndsEveryCall", endedContext},
		{"OneHolderAtATimeHasALock", lockExclusion},
		{"AWaiterForALockObeysItsContext", lockContext},
		{"LocksOfDifferentKeysAreIndependent", lockIndependence},
		{"GrantsCanBeUsedUnderTheirLock", useUnderLock},
		{"SavesOfDifferentKeysDoNotDisturbOneAnother", concurrentKeys},
		{"ReadersSeeTheOldOrTheNewGrantWhole", concurrentReaders},
		{"ErrorsShowNoSecret", quietErrors},
		{"ASaveReplacesOnlyTheGrantThatWasLoaded", conditionalSave},
		{"ASaveCanBeRepeated", repeatedSave},
		{"OneOfManySavesOfOneRevisionSucceeds", saveRace},
		{"AReservationMarksTheGrantAndKeepsItsTokens", reservation},
		{"ARenewalEndsWithItsRefreshToken", endOfRenewal},
		{"ALockIsHeldAsLongAsTheWorkTakes", longLease},
		{"WorkThatNobodyWaitsForIsDoneToo", unattended},
	}
	if options.Reopen != nil {
		parts = append(parts,
			part{"AGrantOutlivesItsHandle", durability},
			part{"HandlesExcludeOneAnother", lockBetweenHandles},
			part{"AMarkOutlivesItsHandle", markAfterCrash})
	}
	if options.Break != nil {
		parts = append(parts,
			part{"WhatWasReservedForIsNotLostInABrokenStore", brokenBetween},
			part{"AReservationThatFailsChangesNothing", brokenBefore})
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { part.test(t, open(t), options) })
	}
}
