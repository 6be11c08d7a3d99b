package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook/internal/marks"
)

// maxItems bounds the items of one delivery.
const maxItems = 1000

// parse takes a body apart: one object, or an array of them.
func (r *Receiver) parse(body []byte) ([]fds.Message, error) {
	refuse := func() ([]fds.Message, error) {
		return nil, malformed(http.StatusBadRequest, "the body is neither a JSON object nor an array of objects, in UTF-8")
	}
	body = bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")
	if !bytes.HasPrefix(body, []byte("[")) {
		item, err := fds.ParseMessage(body, r.cfg.Dialect)
		if err != nil {
			return refuse()
		}
		return []fds.Message{item}, nil
	}
	if !json.Valid(body) {
		return refuse()
	}
	var items []fds.Message
	in := json.NewDecoder(bytes.NewReader(body))
	_, _ = in.Token() // [
	for in.More() {   // one after the other: what is refused takes no memory
		if len(items) == maxItems {
			return nil, malformed(http.StatusRequestEntityTooLarge, "the body holds over 1,000 items")
		}
		var raw json.RawMessage
		if in.Decode(&raw) != nil {
			return refuse()
		}
		item, err := fds.ParseMessage(raw, r.cfg.Dialect)
		if err != nil {
			return refuse()
		}
		items = append(items, item)
	}
	return items, nil
}

// firstNamed returns the owner whom the items name first, where the token is for several.
func (r *Receiver) firstNamed(items []fds.Message, known *claims) (fds.SubscriptionID, error) {
	for _, item := range items {
		if id, ok := r.cfg.Dialect.Subscription(item.Item); ok {
			if !slices.Contains(known.owners, id) {
				return id, forbidden("an item names an owner whom the token does not")
			}
			return id, nil
		}
	}
	return fds.SubscriptionID{}, forbidden("the token is for several owners, and neither path nor payload says which; name one as {subscription_id} in the path, or set Dialect.SubscriptionMember")
}

// ofOne refuses items of which not each is that owner's. One that names nobody is the owner's whom
// token or path name; where the token is for several and the path names nobody, each has to.
func (r *Receiver) ofOne(items []fds.Message, id fds.SubscriptionID, each bool) error {
	member := r.cfg.Dialect.SubscriptionMember
	if member == "" {
		return nil
	}
	for _, item := range items {
		raw, is := item.Member(strings.Split(member, ".")...)
		is = is && string(raw) != "null"
		switch named, ok := r.cfg.Dialect.Subscription(item.Item); {
		case is && (!ok || named != id):
			return forbidden("an item names another owner than token and path, in its member " + member)
		case !is && each:
			return forbidden("an item names no owner, and the token is for several")
		}
	}
	return nil
}

// What marks stand for.
const (
	markDelivery = "delivery" // a webhook-id
	markEvent    = "event"    // an event's ID
	markBytes    = "bytes"    // of an item
	markPart     = "part"     // an item of a webhook-id whose delivery failed behind it
)

// markOf names what was handled of an owner.
func markOf(owner fds.OwnerKey, what string, of ...[]byte) (m marks.Mark) {
	h := sha256.New()
	var length [8]byte
	for _, part := range append([][]byte{[]byte(owner.Issuer), []byte(owner.SubscriptionID.String()), []byte(what)}, of...) {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
	copy(m[:], h.Sum(nil))
	return m
}

// eventID returns the ID of an item of that kind, as the dialect names an event's; "": it has none.
// Where the dialect calls a device's ID and an event's the same, none is an event's: the statuses of
// a device are no duplicates.
func (r *Receiver) eventID(item fds.Message, kind delivery.Kind) string {
	if r.cfg.Dialect.MessageID == r.cfg.Dialect.DeviceID || kind != delivery.KindEvent {
		return ""
	}
	return item.ID()
}

// unescaped decodes the name of a query's parameter, or returns it as it is.
func unescaped(name string) string {
	if decoded, err := url.QueryUnescape(name); err == nil {
		return decoded
	}
	return name
}
