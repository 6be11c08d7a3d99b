package following

import (
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// TestThatTheKindIsKnownChangesNoDigest: what an earlier version has stored of messages of which it
// did not know the kind.
func TestThatTheKindIsKnownChangesNoDigest(t *testing.T) {
	for name, dialect := range map[string]fds.Dialect{
		"no name": {}, "topics": {EventTopic: "devices/{generic.device_id}/events", StatusTopic: "devices/{device_id}/status"}, "one ID": {MessageID: "device_id"},
	} {
		dialect = dialect.WithDefaults()
		for _, payload := range []string{
			`{"message_id":"m","generic":{"device_id":"d"}}`, `{"message_id":7,"generic":{"device_id":"d"}}`, `{"generic":{"device_id":"d"}}`, `{"device_id":"d"}`, `{"device_id":"d","message_id":""}`, `text`,
		} {
			for _, topic := range []string{"devices/d/events", "devices/d/status"} {
				m := delivery.Message{Topic: topic, Levels: strings.Split(topic, "/"), Source: delivery.FromPush, Payload: []byte(payload)}
				item, _ := m.Item()
				before, namedBefore := digestsOf(&m, item, dialect)
				m = m.In(&dialect)
				if now, named := digestsOf(&m, item, dialect); now.what != before.what || named != namedBefore {
					t.Errorf("%s: %s on %s, of kind %q, is known by %x, and was by %x", name, payload, topic, m.Kind, now.what, before.what)
				}
			}
		}
	}
}

// A status that has a message's ID, too, is fetched and pushed under one digest.
func TestAStatusIsKnownByItsBytesWhateverIDItHas(t *testing.T) {
	dialect := fds.Dialect{KindMember: "kind", EventKind: "event", StatusKind: "status"}.WithDefaults()
	pushed := delivery.Message{Source: delivery.FromPush, Payload: []byte(`{"message_id":"m","device_id":"d","kind":"status"}`)}.In(&dialect)
	fetched := delivery.Message{Source: delivery.FromBackfill, Kind: delivery.KindStatus, Payload: pushed.Payload}.In(&dialect)
	item, _ := pushed.Item()
	a, namedA := digestsOf(&pushed, item, dialect)
	b, namedB := digestsOf(&fetched, item, dialect)
	if a != b || namedA || namedB {
		t.Errorf("%x %v, %x %v", a, namedA, b, namedB)
	}
}
