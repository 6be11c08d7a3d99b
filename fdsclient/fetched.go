package fdsclient

import (
	"log/slog"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// fetched makes a message of an item of the Web API.
func (f *follower) fetched(source delivery.Source, kind pull.Kind, item fds.Item) delivery.Message {
	m := delivery.Message{Owner: f.owner.key, Source: source, Kind: delivery.KindEvent, ReceivedAt: time.Now(), Payload: item.Raw()}
	if kind == pull.Statuses {
		m.Kind = delivery.KindStatus
	}
	return m
}

// owns says whether an item is this owner's, as far as it says: the token may be that
// of several owners who signed in together.
func (f *follower) owns(item fds.Item) bool {
	id, named := f.client.cfg.Provider.Dialect.Subscription(item)
	return !named || id == f.owner.key.SubscriptionID
}

// unknownNames tells that a provider refuses what is sent to it alone where the
// Dialect names it.
func (f *follower) unknownNames(kind pull.Kind) {
	f.client.log.Warn("the provider does not know Dialect.FromParameter or ToParameter there; the whole collection is read",
		"collection", string(kind), "subscription", f.owner.key.SubscriptionID.String())
}

// leftOut tells of items that were not handed over.
func (f *follower) leftOut(reading string, kind pull.Kind, items int) {
	if items > 0 {
		f.client.log.LogAttrs(f.ctx, slog.LevelWarn, reading+": items that are not FDS objects were left out", f.itemAttrs(kind, items)...)
	}
}

func (f *follower) itemAttrs(kind pull.Kind, items int) []slog.Attr {
	return []slog.Attr{
		slog.String("collection", string(kind)), slog.Int("items", items),
		slog.String("subscription", f.owner.key.SubscriptionID.String()),
	}
}
