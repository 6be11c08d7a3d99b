package following

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

const (
	seenUsual = 200  // messages remembered per owner: 16 bytes each, 4 KiB with the room that append makes
	seenMost  = 8192 // while a gap is open or was just closed
)

// seen remembers digests of the messages that an owner's handler had last, so that the
// overlap of live messages and a backfill shows.
type seen struct {
	entries []digests
	unsaved bool // the store lacks some of them
}

// digests are those of one message, the same in every process.
type digests struct {
	what uint64 // the event's ID, or the whole payload
	of   uint64 // whose state it is: the device, else the topic; 0 for what is known to be an event, and for what an earlier process had
}

// superseded is the bit in what that says of a message that another one of the same device or
// topic came after it in the same process. Should both be events, which a broker's messages do
// need not tell, it is known for all that.
const superseded uint64 = 1

// digestsOf reads what a message with that item is compared by. named: by an ID of its
// own. Where the provider calls a device's ID and a message's the same, none is taken for a
// message's: the statuses of a device are no duplicates.
func digestsOf(m *delivery.Message, item fds.Item, dialect fds.Dialect) (d digests, named bool) {
	if m.Kind != delivery.KindStatus && dialect.MessageID != dialect.DeviceID {
		if id := textMember(item, dialect.MessageID); id != "" {
			return digests{what: digestOfSeen([]byte("id " + id))}, true
		}
	}
	d.what = digestOfSeen(m.Payload)
	if m.Kind != delivery.KindEvent {
		subject := "topic " + m.Topic
		if id := textMember(item, dialect.DeviceID); id != "" {
			subject = "device " + id
		}
		d.of = digest([]byte(subject))
	}
	return d, false
}

func digest(data []byte) uint64 {
	sum := sha256.Sum256(data)
	return binary.BigEndian.Uint64(sum[:])
}

// digestOfSeen is digest without the bit.
func digestOfSeen(data []byte) uint64 { return digest(data) &^ superseded }

// textMember returns the string at the root of an item, or "".
func textMember(item fds.Item, name string) string {
	var text string
	if raw, ok := item.Member(name); !ok || json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return text
}

// holdsAfter is holds once the handler has had those, too, in that order.
func (r *seen) holdsAfter(those []digests, d digests) bool {
	for _, e := range slices.Backward(those) {
		if e.what == d.what {
			return true
		}
		if d.of != 0 && e.of == d.of {
			return false
		}
	}
	return r.holds(d)
}

// holds reports whether the handler had that message. A state counts only while no other
// state of the same device or topic has come since.
func (r *seen) holds(d digests) bool {
	for i := len(r.entries) - 1; i >= 0; i-- {
		e := r.entries[i]
		if e.what&^superseded == d.what {
			return d.of == 0 || e.what&superseded == 0
		}
		if d.of != 0 && e.of == d.of {
			return false
		}
	}
	return false
}

// add remembers a message that was handled, more of them where a backfill may hold it too.
func (r *seen) add(d digests, overlap bool) {
	most := seenUsual
	if overlap {
		most = seenMost
	}
	if d.of != 0 {
		for i := len(r.entries) - 1; i >= 0; i-- {
			if e := &r.entries[i]; e.of == d.of {
				e.what |= superseded // those before it are so already
				break
			}
		}
	}
	r.entries = append(r.entries, d)
	over := len(r.entries) - most
	switch {
	case most == seenUsual && cap(r.entries) > 2*seenUsual: // an overlap is over
		r.entries = slices.Clone(r.entries[max(over, 0):])
	case over > most/4:
		r.entries = slices.Delete(r.entries, 0, over)
	}
}

const digestBytes = 8

// bytes returns the last entries for the next process, the last one first.
func (r *seen) bytes() []byte {
	last := r.entries[max(len(r.entries)-seenUsual, 0):]
	if len(last) == 0 {
		return nil
	}
	all := make([]byte, 0, digestBytes*len(last))
	for _, e := range slices.Backward(last) {
		all = binary.BigEndian.AppendUint64(all, e.what)
	}
	return all
}

// restore takes what bytes returned, in an earlier process.
func (r *seen) restore(stored []byte) {
	r.entries = nil
	for _, what := range slices.Backward(digestsIn(stored)) {
		r.entries = append(r.entries, digests{what: what})
	}
}

func digestsIn(stored []byte) (all []uint64) {
	for ; len(stored) >= digestBytes; stored = stored[digestBytes:] {
		all = append(all, binary.BigEndian.Uint64(stored))
	}
	return all
}
