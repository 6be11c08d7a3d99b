package delivery

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

// In returns the message as one of a provider that speaks that dialect, by which Key reads it, and
// with its Kind where that is not known yet: what KindMember holds, or else that of an event where
// it has a message's ID, or else that of the topic where EventTopic or StatusTopic fits it. Every
// message that a handler is called with has its provider's dialect; a test of a handler makes its
// messages by In. The dialect must not be changed afterwards; nil: none is known.
func (m Message) In(dialect *fds.Dialect) Message {
	if m.dialect = dialect; dialect == nil || m.Kind != KindUnknown {
		return m
	}
	item, err := m.Item()
	if err != nil {
		return m
	}
	m.item = item
	var told bool
	d := dialect.WithDefaults()
	if m.Kind, told = kindOf(&d, item); told || len(m.Levels) == 0 {
		return m
	}
	below := strings.Join(m.Levels, "/")
	event, ofEvent := d.TopicOfEvent(item)
	status, ofStatus := d.TopicOfStatus(item)
	switch ofEvent, ofStatus = ofEvent && event == below, ofStatus && status == below; {
	case ofEvent && !ofStatus:
		m.Kind = KindEvent
	case ofStatus && !ofEvent:
		m.Kind = KindStatus
	}
	return m
}

// Key returns what the event or the status is known by, whichever way and however often it comes:
// by push, again, by a backfill, a poll or a webhook. It is for an index that lets a thing be done
// once. It is made of the owner and of what the item itself says by the names of the dialect: an
// event's ID (Dialect.MessageID, where that is not DeviceID); or else the device, the kind
// (KindMember) and what tells it from others, which is SequenceMember's or else TimeMember's
// date-time, however that is spelt. Two items of one device and kind that have the same number, or
// no number and the same date-time, have the same key: where a device may have two in one moment,
// name a SequenceMember, or no TimeMember, or compare payloads too.
//
// False: the item does not say it, or the message is not an item. It is 44 letters, digits, - and
// _, of which the first tells the way it is made, is the same in every process, and tells nothing
// of the item. It is made anew at each call.
func (m Message) Key() (string, bool) {
	if m.dialect == nil {
		return "", false
	}
	item, err := m.Item()
	if err != nil {
		return "", false
	}
	d := m.dialect.WithDefaults()
	kind, _ := kindOf(&d, item)
	id, device := "", text(item, d.DeviceID)
	if kind == KindEvent {
		id = messageID(&d, item)
	}
	switch {
	case id != "":
		return m.key("id", id), true
	case kind == KindUnknown || device == "":
		return "", false
	}
	if number := at(item, d.SequenceMember); number != "" {
		return m.key("number", device, string(kind), number), true
	}
	if t, ok := d.Time(item); ok {
		moment := binary.BigEndian.AppendUint64(nil, uint64(t.Unix()))
		return m.key("time", device, string(kind), string(binary.BigEndian.AppendUint32(moment, uint32(t.Nanosecond())))), true
	}
	return "", false
}

// keyVersion is the first letter of a key, and another one when keys are made in another way.
const keyVersion = "1"

// key makes one of the parts by which an owner's item is known.
func (m *Message) key(parts ...string) string {
	h := sha256.New()
	for _, part := range append([]string{m.Owner.Issuer, m.Owner.SubscriptionID.String()}, parts...) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return keyVersion + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// kindOf returns what an item itself says that it is about, and whether it says that: of neither an
// event nor a status, too.
func kindOf(d *fds.Dialect, item fds.Item) (kind Kind, told bool) {
	switch said := at(item, d.KindMember); {
	case said == "" && messageID(d, item) != "":
		return KindEvent, true
	case said == "":
		return KindUnknown, false
	case said == d.EventKind:
		return KindEvent, true
	case said == d.StatusKind:
		return KindStatus, true
	}
	return KindUnknown, true
}

// messageID returns an event's ID, or "". Where the dialect calls a device's ID and an event's the
// same, none is an event's.
func messageID(d *fds.Dialect, item fds.Item) string {
	if d.MessageID == d.DeviceID {
		return ""
	}
	return text(item, d.MessageID)
}

// at is text of a member below the root, with dots; "": none is named.
func at(item fds.Item, member string) string {
	if member == "" {
		return ""
	}
	return text(item, strings.Split(member, ".")...)
}

// text returns a string, or a number as it is spelt; "": there is none, or one that could not be told
// from another, since it is no Unicode.
func text(item fds.Item, path ...string) string {
	raw, _ := item.Member(path...)
	switch {
	case len(raw) == 0:
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		return string(raw)
	case raw[0] == '"':
		var s string
		if json.Unmarshal(raw, &s) == nil && !strings.ContainsRune(s, utf8.RuneError) {
			return s
		}
	}
	return ""
}
