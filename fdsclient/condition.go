package fdsclient

import (
	"context"
	"fmt"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/push"
)

// Condition is how an owner fares at one moment. To show it elsewhere pick from it, and write
// errors by their text: encoding/json leaves their text out, and puts the whole message in.
type Condition struct {
	// Connection is that of the push connection, as Owner.Connection returns it.
	Connection push.State
	Polled     bool      // a Run reads the owner's lists at intervals, and there is no connection
	Gap        *Gap      // what may have been lost and was not fetched yet; nil: nothing
	Last       time.Time // when the handler was done with a message last; zero: not in this Run
	// Failing is the message that the handler fails on, with how often and why; nil: none.
	// It may be a fetched one, while Connection is well and its Err nil.
	Failing *delivery.Failing
	Waiting int // messages that have come and wait for the handler
}

// Condition returns how the owner fares at this moment. Without a Run nothing but
// Connection is known. It asks nobody and is cheap.
func (o *Owner) Condition() Condition {
	condition := Condition{Connection: o.Connection()}
	condition.Failing, condition.Waiting = condition.Connection.Failing, condition.Connection.Waiting
	a := o.connected()
	if a == nil {
		return condition
	}
	seen := a.follower.Seen()
	condition.Polled, condition.Last = a.connection == nil, seen.Last
	if seen.Gap != nil {
		gap := Gap(*seen.Gap)
		condition.Gap = &gap
	}
	if seen.Failing != nil {
		condition.Failing = seen.Failing
	}
	return condition
}

// StoredGap returns the gap that is noted in the store of states: what a Run, of whichever
// process, has still to fetch, or will have when there is one; nil: nothing. Connections are
// not looked at.
func (o *Owner) StoredGap(ctx context.Context) (*Gap, error) {
	stored, err := o.client.followers.StoredGap(ctx, o.key)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: gap of subscription %s: %w", o.key.SubscriptionID, err)
	}
	if stored == nil {
		return nil, nil
	}
	gap := Gap(*stored)
	return &gap, nil
}

// HasSession reports whether the store of states notes that a Run, of whichever process, has
// subscribed as the owner, so that the broker may keep a session that is this application's. A Run
// of an owner of whom it notes nothing takes over from whoever is connected elsewhere: the client
// ID is the owner's subscription ID (M4), and a broker has one connection of a client ID.
func (o *Owner) HasSession(ctx context.Context) (bool, error) {
	filters, err := o.client.followers.Stored(ctx, o.key)
	if err != nil {
		return false, fmt.Errorf("fdsclient: session of subscription %s: %w", o.key.SubscriptionID, err)
	}
	return len(filters) > 0, nil
}
