package following

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

const (
	// Each list of digests fits into a record of its own.
	maxSeen   = 40_000 // digests of a list
	maxGone   = 256    // of events that the last reads did not hold any more, or as many as they held
	maxHanded = 32_000 // pairs of a list that are stored: after a restart in the middle, what is over that comes again

	// lasting is the bit in an event's digest that says that another one cannot have the
	// same: it has an ID or a date.
	lasting uint64 = 1
)

// list is one collection.
type list struct {
	kind      pull.Kind
	from      time.Time
	seen      []uint64 // sorted
	gone      []uint64 // sorted: of events that were seen before, and may come again
	part      bool
	unbounded bool // the provider does not know the parameter
	version   pull.Version
	whole     time.Time         // when it was read to its end
	handed    map[uint64]uint64 // by whose it is: since seen was made, in reads that did not come to their end
	fresh     int               // handed over in this read
	date      time.Time         // of this read's first answer
	ahead     time.Duration     // of our clock was the provider's then
}

func (l *list) load(stored listRecord) {
	l.from, l.part = stored.From, stored.Part
	l.seen = digestsIn(stored.Seen)
	slices.Sort(l.seen)
	handed := digestsIn(stored.Handed)
	for ; len(handed) >= 2; handed = handed[2:] {
		l.hand(handed[0], handed[1])
	}
}

// store returns what load takes, with what was handed over of a read under way.
func (l *list) store() listRecord {
	stored := listRecord{From: l.from, Part: l.part, Seen: make([]byte, 0, digestBytes*(len(l.seen)+len(l.gone)))}
	for _, some := range [][]uint64{l.seen, l.gone} {
		for _, d := range some {
			stored.Seen = binary.BigEndian.AppendUint64(stored.Seen, d)
		}
	}
	for whose, d := range l.handed {
		if len(stored.Handed) == 2*digestBytes*maxHanded {
			break
		}
		stored.Handed = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(stored.Handed, whose), d)
	}
	return stored
}

// hand notes what was handed over.
func (l *list) hand(whose, d uint64) {
	if l.handed == nil {
		l.handed = make(map[uint64]uint64)
	}
	l.handed[whose] = d
}

// knows reports whether the handler has had that. What came of a device before another
// status of it is new again.
func (l *list) knows(whose, d uint64) bool {
	if last, found := l.handed[whose]; found {
		return last == d
	}
	return holds(l.seen, d) || holds(l.gone, d)
}

// holds looks for a digest among sorted ones.
func holds(sorted []uint64, d uint64) bool {
	_, found := slices.BinarySearchFunc(sorted, d&^lasting, func(one, d uint64) int { return cmp.Compare(one&^lasting, d) })
	return found
}

// readItem is an item of a read.
type readItem struct {
	digest uint64
	at     time.Time
	dated  bool
}

// latest returns the date of the last item of a read that is not dated past now, which
// is not believed; zero: none is.
func latest(read []readItem, now time.Time) (last time.Time) {
	for _, item := range read {
		if item.dated && item.at.After(last) && !item.at.After(now) {
			last = item.at
		}
	}
	return last
}

// since returns the time from which items are of interest, as the dialect's layout
// can say it; zero: all are.
func (l *list) since(margin time.Duration, dialect fds.Dialect) time.Time {
	if l.from.IsZero() {
		return time.Time{}
	}
	return asWritten(dialect, l.from.Add(-margin))
}

// complete takes a read that came to its end; part: it left out what is old. What is
// to come is dated by whoever dated the last item, whose clock may be another than
// that of the answers, and who may take its time.
func (l *list) complete(read []readItem, part bool, margin time.Duration, dialect fds.Dialect) error {
	part = part || l.kind == pull.Events && len(read) > maxSeen
	from := l.date
	if last := latest(read, l.date); !last.IsZero() {
		from = last
	}
	seen := recurring(read, part, from, margin, dialect)
	if len(seen) > maxSeen {
		from = l.date
		seen = recurring(read, part, from, margin, dialect)
	}
	if len(seen) > maxSeen {
		return fmt.Errorf("fdsclient: poll: %w: the list of %s holds over %d items that may be new; Dialect.FromParameter and TimeMember, or a smaller Poll.Margin, make it shorter", fds.ErrConfig, l.kind, maxSeen)
	}
	l.take(from, seen, part)
	return nil
}

// recurring returns the digests of the items that the next read may hold again.
func recurring(read []readItem, part bool, from time.Time, margin time.Duration, dialect fds.Dialect) (seen []uint64) {
	next := list{from: from}
	since := next.since(margin, dialect)
	for _, item := range read {
		if !part || !item.dated || !item.at.Before(since) {
			seen = append(seen, item.digest)
		}
	}
	slices.Sort(seen)
	return slices.Clip(slices.Compact(seen))
}

func (l *list) take(from time.Time, seen []uint64, part bool) {
	l.gone = l.missing(seen)
	l.from, l.part, l.seen, l.handed = from, part, seen, nil
}

// missing returns what was known and is not among seen. It may be back: where pages
// shift while they are read, where the provider is several machines that do not all
// have the same, where its clock is set back. A status that is back is news.
func (l *list) missing(seen []uint64) (gone []uint64) {
	if l.kind != pull.Events {
		return nil
	}
	add := func(d uint64) {
		if d&lasting != 0 && !holds(seen, d) {
			gone = append(gone, d)
		}
	}
	for _, d := range l.seen {
		add(d)
	}
	for _, d := range l.handed {
		add(d)
	}
	most := min(max(maxGone, len(seen)), maxSeen-len(seen))
	if len(gone)+len(l.gone) <= most {
		for _, d := range l.gone {
			add(d)
		}
	}
	slices.Sort(gone)
	gone = slices.Compact(gone)
	return slices.Clip(gone[:min(len(gone), most)])
}

// stableDigests are what an item is known by, the same in every process, and whose it
// is: the device's whose state it tells, else its own.
func stableDigests(m *delivery.Message, item fds.Item, dated bool, dialect fds.Dialect) (whose, d uint64) {
	d = digest(m.Payload)
	switch m.Kind {
	case delivery.KindEvent:
		id := textMember(item, dialect.MessageID)
		if id != "" {
			d = digest([]byte("id " + id))
		}
		if d &^= lasting; id != "" || dated {
			d |= lasting
		}
	case delivery.KindStatus:
		if id := textMember(item, dialect.DeviceID); id != "" {
			return digest([]byte("device " + id)), d
		}
	}
	return d, d
}
