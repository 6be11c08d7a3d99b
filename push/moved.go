package push

import "github.com/fds-sdk/fds-go/delivery"

// Message is delivery.Message.
//
// Deprecated: use delivery.Message; this name goes with the next release.
type Message = delivery.Message

// Handler is delivery.Handler.
//
// Deprecated: use delivery.Handler; this name goes with the next release.
type Handler = delivery.Handler

// Source is delivery.Source.
//
// Deprecated: use delivery.Source; this name goes with the next release.
type Source = delivery.Source

// Kind is delivery.Kind.
//
// Deprecated: use delivery.Kind; this name goes with the next release.
type Kind = delivery.Kind

// How a message came, and what it is about.
//
// Deprecated: use those of package delivery; these names go with the next release.
const (
	FromPush     = delivery.FromPush
	FromBackfill = delivery.FromBackfill
	FromPoll     = delivery.FromPoll
	FromWebhook  = delivery.FromWebhook

	KindUnknown = delivery.KindUnknown
	KindEvent   = delivery.KindEvent
	KindStatus  = delivery.KindStatus
)
