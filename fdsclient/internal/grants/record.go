package grants

import (
	"fmt"
	"slices"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// IDs returns the subscription IDs of their spellings.
func IDs(spellings []string) map[fds.SubscriptionID]bool {
	set := make(map[fds.SubscriptionID]bool, len(spellings))
	for _, s := range spellings {
		if id, err := fds.ParseSubscriptionID(s); err == nil {
			set[id] = true
		}
	}
	return set
}

// Others returns whose data the tokens of a grant read besides that of its owners: as the
// record has it, and as the access token itself says. A record of an earlier version has
// nothing of it.
func (a *Grants) Others(record tokenstore.Grant) []string {
	return OtherThan(record.Subscriptions, slices.Concat(record.Others, a.Server.Named(record.AccessToken)))
}

// Shared reports whether the tokens of a grant read the data of several owners.
func (a *Grants) Shared(record tokenstore.Grant) bool {
	return len(record.Subscriptions)+len(a.Others(record)) > 1
}

// stillFor compares those whom a renewed token names with those whom the grant is for. An
// owner whom the provider took out of the grant ends, and the others go on. A token that
// names strangers alone is refused, since an owner's ID never changes.
func stillFor(subscriptions []string, named map[fds.SubscriptionID]bool) (kept []string, gone []fds.SubscriptionID, err error) {
	for _, spelling := range subscriptions {
		id, err := fds.ParseSubscriptionID(spelling)
		switch {
		case err == nil && named[id]:
			kept = append(kept, spelling)
		case err == nil:
			gone = append(gone, id)
		}
	}
	if len(kept) == 0 {
		return subscriptions, nil, fmt.Errorf("fdsclient: renewal: %w: %w: none of %s is named in it; ask the provider", fds.ErrSignInRequired, fds.ErrSubscriptionChanged, authserver.Describe(fmt.Sprint(subscriptions)))
	}
	return kept, gone, nil
}

// OtherThan returns those of the spelled IDs that are not among the subscriptions.
func OtherThan(subscriptions, ids []string) (others []string) {
	known := IDs(subscriptions)
	for _, spelling := range ids {
		if id, err := fds.ParseSubscriptionID(spelling); err == nil && !known[id] {
			known[id] = true
			others = append(others, spelling)
		}
	}
	return others
}

// Without takes owners out of a grant whose tokens go on to read their data.
func Without(record tokenstore.Grant, gone map[fds.SubscriptionID]bool) tokenstore.Grant {
	var kept, others []string
	for _, spelling := range record.Subscriptions {
		switch id, err := fds.ParseSubscriptionID(spelling); {
		case err != nil: // not stored by us
		case gone[id]:
			others = append(others, spelling)
		default:
			kept = append(kept, spelling)
		}
	}
	record.Subscriptions, record.Others = kept, slices.Concat(record.Others, others)
	return record
}
