package live

import (
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// Gravity is how grave an event is, as far as that is known.
type Gravity uint8

// The gravities, from the least.
const (
	GravityUnknown Gravity = iota
	GravityDebug
	GravityInfo
	GravityWarning
	GravityError
)

// Sign is how a gravity is seen by those who see no colour.
func (g Gravity) Sign(s terminal.Style) string {
	switch g {
	case GravityError:
		return s.Sign("✖", "!!")
	case GravityWarning:
		return s.Sign("▲", "!")
	case GravityInfo:
		return s.Sign("●", "i")
	case GravityDebug:
		return s.Sign("·", ".")
	}
	return s.Sign("○", "-")
}

// Facts are what a message says.
type Facts struct {
	Device   string // its ID
	Severity string // the provider's word
	Gravity  Gravity
	Code     string
	Time     time.Time // its own; zero: it has none
	Summary  string
	Readings []Reading
}

// Reading is a value of a device's.
type Reading struct {
	Name   string
	Text   string
	Number bool // Value is one
	Level  bool // Value is a percentage
	Value  float64
}

// Device is what a list says of a device.
type Device struct {
	ID       string
	Name     string
	Type     string
	Place    []string  // its site, building and floor, as far as they are known
	Room     string    // the space on that floor
	Readings []Reading // the first maxReadings are kept
	Time     time.Time // of the readings
	Raw      []byte    // the item that they are from, or else that of the device; one that is longer than MaxItem is not kept
}

// Mood is how well something is.
type Mood uint8

// The moods, from the best.
const (
	Well Mood = iota
	Soon      // it is worth a look
	Ill
	Unknown
)

// Owner is how an owner fares.
type Owner struct {
	Key  fds.OwnerKey
	Name string

	Connection Standing
	Broker     string
	RetryAt    time.Time
	Polled     bool

	Grant       Standing
	Certificate Standing

	GapSince time.Time // zero: no gap
	GapWhy   string

	Last    time.Time // when a message was taken
	Waiting int       // messages that wait for the view
	Failing string
}

// Standing is how something of an owner's is.
type Standing struct {
	Mood    Mood
	Text    string    // in a word or two
	Time    time.Time // since when, or until when it is good
	Problem string    // a sentence
}

// entry is a message as the view keeps it.
type entry struct {
	Facts
	seq   uint64
	key   string // what it is known by, whichever way it comes; "": by nothing
	owner fds.OwnerKey
	at    time.Time

	topic     string // safe to print
	kind      delivery.Kind
	source    delivery.Source
	qos       byte
	retained  bool
	duplicate bool

	raw  []byte // its beginning, where it is long
	size int    // of the whole
	text string // in lower case, for the filter
}

const maxRaw = 64 << 10 // bytes of a payload that are kept

func entryOf(m delivery.Message, f Facts) *entry {
	e := &entry{
		Facts: f, owner: m.Owner, at: m.ReceivedAt, topic: terminal.Short(strings.Join(m.Levels, "/")), kind: m.Kind,
		source: m.Source, qos: m.QoS, retained: m.Retained, duplicate: m.Duplicate, raw: m.Payload, size: len(m.Payload),
	}
	e.key, _ = m.Key()
	if len(e.raw) > maxRaw { // the whole of it may go
		e.raw = append([]byte(nil), e.raw[:maxRaw]...)
	}
	e.text = strings.ToLower(strings.Join([]string{f.Device, string(m.Kind), f.Severity, f.Code, f.Summary, e.topic}, " "))
	return e
}

// event reports whether the entry is one.
func (e *entry) event() bool { return e.kind == delivery.KindEvent || e.Severity != "" || e.Code != "" }

// cost is about how much memory it takes.
func (e *entry) cost() int { return 512 + len(e.raw) + 2*len(e.text) + costOf(e.Readings) }

func costOf(readings []Reading) int {
	n := 0
	for _, r := range readings {
		n += 64 + len(r.Name) + len(r.Text)
	}
	return n
}

// notice is a line for the person at the terminal.
type notice struct {
	at   time.Time
	text string
	mood Mood
}

func noticesOf(text string, now time.Time) []notice {
	var list []notice
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		n := notice{at: now, text: terminal.Escape(strings.TrimPrefix(line, "fdsdemo: "))}
		switch {
		case strings.HasPrefix(n.text, "error"):
			n.mood = Ill
		case n.text != line:
			n.mood = Soon
		}
		list = append(list, n)
	}
	return list
}
