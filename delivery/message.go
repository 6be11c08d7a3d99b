package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Source says how a message came.
type Source string

// How a message came.
const (
	FromPush     Source = "push"     // published to the owner's MQTT connection
	FromBackfill Source = "backfill" // fetched from the Web API to fill a gap
	FromPoll     Source = "poll"     // fetched from the Web API at intervals
	FromWebhook  Source = "webhook"  // delivered to the application's webhook
)

// Kind says what a message is about: by the list that it was fetched from, else as Message.In reads
// it.
type Kind string

// What a message is about.
const (
	KindUnknown Kind = ""
	KindEvent   Kind = "event"
	KindStatus  Kind = "status"
)

// Message is one delivery of an FDS object to the application.
//
// A message can come again: after an error of the handler, a broken connection, an outage, a
// process that was killed; and another way than before. Know it by its Key. Where it has none, since
// the item or the dialect does not say which it is, one that came the same way is known by its Owner,
// Kind, Topic and the bytes of its Payload. Duplicate says that it may have come before, and false
// does not say that it has not: let the handler do the same thing twice without harm.
type Message struct {
	Owner fds.OwnerKey
	Topic string // as sent; empty for sources other than push
	// Levels are those of the topic below the owner's root; empty for sources other than push.
	// They are what the provider wrote and MQTT allows: a level may be "..", empty, begin with $,
	// and hold backslashes or characters that cannot be seen. NEVER make a path, a query or a
	// command of one as it is: compare it with what is expected, or see filepath.Localize.
	Levels     []string
	QoS        byte // quality of service of this delivery, 0 to 2
	Retained   bool // the broker had kept it: a last known state, not news
	Duplicate  bool // it may have been handed over before; see Message
	Source     Source
	Kind       Kind
	ReceivedAt time.Time // by this machine's clock
	// Payload is as sent, JSON or not. The handler may keep it, and must not change it: when
	// it does and fails, the message is handed over again as it came, for which a payload of
	// over 4 KiB costs the connection.
	Payload []byte

	dialect *fds.Dialect // of its provider; see In
	item    fds.Item     // of the payload, where In has parsed it
}

// Item parses the payload. Errors match fds.ErrItem.
func (m Message) Item() (fds.Item, error) {
	if raw := m.item.Raw(); len(raw) > 0 && len(raw) == len(m.Payload) && &raw[0] == &m.Payload[0] {
		return m.item, nil
	}
	return fds.ParseItem(m.Payload)
}

// String names the message without its content. A long topic is cut.
func (m Message) String() string {
	return fmt.Sprintf("message of %d bytes from %s for %s on %q", len(m.Payload), m.Source, m.Owner, shortened(m.Topic))
}

// LogValue logs the message without its content. What a topic holds that is not to be
// printed is escaped, and a long one is cut.
func (m Message) LogValue() slog.Value {
	topic := strconv.Quote(shortened(m.Topic))
	return slog.GroupValue(
		slog.Any("owner", m.Owner),
		slog.String("source", string(m.Source)),
		slog.String("topic", topic[1:len(topic)-1]),
		slog.Int("bytes", len(m.Payload)),
		slog.Bool("duplicate", m.Duplicate),
	)
}

// Handler is the application's: nil says that the message is done with, which is then
// acknowledged where there is someone to tell; an error has it handed over again after a
// while, before any other message of that owner, or at a webhook when its sender comes again;
// a panic counts as an error. An error by Terminate, RetryAfter or NotNow says more: that no call
// will ever do, when to call again, or that it is not the message's fault. The end of its goroutine
// costs a push connection: the message comes again on the next one, where attempts are counted
// anew, and one of quality of service 0 does not. The context ends when delivery is being stopped
// and its drain time is over; a handler must then return soon, since it is waited for. Handlers of
// different owners run at the same time, and those of one never do, whichever ways of one
// fdsclient.Client call them.
type Handler func(ctx context.Context, m Message) error

// Failing is a message that the handler fails on, again and again.
type Failing struct {
	Message  Message
	Attempts int   // without those that the handler called Unavailable
	Err      error // of the last one
	Since    time.Time
}

const maxShown = 256 // bytes

// shortened cuts what may be long, for a text.
func shortened(s string) string {
	if len(s) > maxShown {
		return strings.ToValidUTF8(s[:maxShown], "")
	}
	return s
}
