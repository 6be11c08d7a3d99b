package fdsclient

import (
	"reflect"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/webhook"
)

// Hooks are called where the thing happens, outside the work that Client.Close waits for,
// and may call anything of this package but must be fast: who asked for a token waits for
// them too. What a hook panics with is logged.

// GrantEvent is what happened to a grant. Do not make a metric's label of an
// owner: there may be ten thousand.
type GrantEvent struct {
	Owners []fds.OwnerKey
	Expiry time.Time // of the access token; for renewals
	Since  time.Time // of the first failure in a row; for failures
	Err    error     // for failures and lapses
}

// HookRenewed is told when a grant was renewed and saved.
type HookRenewed interface{ OnRenewed(GrantEvent) }

// HookRenewalFailing is told of each failed renewal that will be tried again.
type HookRenewalFailing interface{ OnRenewalFailing(GrantEvent) }

// HookSignInNeeded is told once when a grant has lapsed: Err matches
// fds.ErrSignInRequired.
type HookSignInNeeded interface{ OnSignInNeeded(GrantEvent) }

// HookStoreUnavailable is told when grants cannot be read or saved.
type HookStoreUnavailable interface{ OnStoreUnavailable(error) }

// HookConnection is told of every change of the state of an owner's push connection; of an owner
// who is polled, why that has ended. push.HookConnect is told of each attempt to connect.
type HookConnection interface {
	OnConnection(fds.OwnerKey, push.State)
}

// HookCertificate is told when an owner's certificate, or with the zero owner the
// application's own, cannot be read or used, and the one before it serves on; and once
// when other users of this machine may read its private key, which is used all the same.
type HookCertificate interface {
	OnCertificate(fds.OwnerKey, error)
}

// hookTypes are all interfaces that a hook may implement, of one method each.
var hookTypes = []reflect.Type{
	reflect.TypeFor[HookRenewed](), reflect.TypeFor[HookRenewalFailing](), reflect.TypeFor[HookSignInNeeded](),
	reflect.TypeFor[HookStoreUnavailable](), reflect.TypeFor[HookConnection](), reflect.TypeFor[HookCertificate](),
	reflect.TypeFor[HookGap](), reflect.TypeFor[HookPoll](),
	reflect.TypeFor[push.HookConnect](), reflect.TypeFor[push.HookHandled](), reflect.TypeFor[push.HookDiscarded](), reflect.TypeFor[push.HookSlowHandler](),
	reflect.TypeFor[webhook.HookAnswer](),
}
