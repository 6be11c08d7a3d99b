package fdsclient

import (
	"encoding/json"
	"hash/maphash"
	"slices"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

const (
	recentUsual = 200  // messages remembered per owner: 16 bytes each, 4 KiB with the room that append makes
	recentMost  = 8192 // while a gap is open or was just closed
)

var digestSeed = maphash.MakeSeed()

// recent remembers digests of the messages that an owner's handler had last, so
// that the overlap of live messages and a backfill shows.
type recent struct {
	entries []digests
}

// digests are those of one message.
type digests struct {
	what uint64 // the event's ID, or the whole payload
	of   uint64 // whose state it is: the device, else the topic; 0 for events
}

// digestsOf reads what a message with that item is compared by. named: by an ID of
// its own. Where the provider calls a device's ID and a message's the same, none
// is taken for a message's: the statuses of a device are no duplicates.
func digestsOf(m delivery.Message, item fds.Item, dialect fds.Dialect) (d digests, named bool) {
	if m.Kind != delivery.KindStatus && dialect.MessageID != dialect.DeviceID {
		if id := textMember(item, dialect.MessageID); id != "" {
			return digests{what: maphash.String(digestSeed, "id "+id)}, true
		}
	}
	d.what = maphash.Bytes(digestSeed, m.Payload)
	if m.Kind != delivery.KindEvent {
		subject := "topic " + m.Topic
		if id := textMember(item, dialect.DeviceID); id != "" {
			subject = "device " + id
		}
		d.of = maphash.String(digestSeed, subject)
	}
	return d, false
}

// textMember gives the string at the root of an item, or "".
func textMember(item fds.Item, name string) string {
	var text string
	if raw, ok := item.Member(name); !ok || json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return text
}

// holds says whether the handler had that message. A state counts only while no
// other state of the same device or topic has come since.
func (r *recent) holds(d digests) bool {
	for i := len(r.entries) - 1; i >= 0; i-- {
		e := r.entries[i]
		if e.what == d.what {
			return true
		}
		if d.of != 0 && e.of == d.of {
			return false
		}
	}
	return false
}

// add remembers a message, at most so many.
func (r *recent) add(d digests, most int) {
	r.entries = append(r.entries, d)
	over := len(r.entries) - most
	switch {
	case most == recentUsual && cap(r.entries) > 2*recentUsual: // an overlap is over
		r.entries = slices.Clone(r.entries[max(over, 0):])
	case over > most/4:
		r.entries = slices.Delete(r.entries, 0, over)
	}
}
