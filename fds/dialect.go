package fds

import (
	"strings"
	"time"
)

// Dialect holds the names and forms that FDS V2 leaves open, so that a provider
// that chose others needs a setting and no patch. An empty field means the
// default that its comment gives. Where a wrong guess could make a provider
// refuse a request there is no default, and the thing is not sent.
type Dialect struct {
	DeviceID  string // member at the root of a device that holds its ID; default "device_id"
	MessageID string // member at the root of an event message that holds its ID; default "message_id"
	TagID     string // member at the root of a tag that holds its ID; default "tag_id"

	// FromParameter and ToParameter are the query parameters that bound statuses and
	// events by date-time; default none: they are not sent, since a provider refuses
	// a name that it does not know, and the whole collection is read.
	FromParameter, ToParameter string
	// TimeMember is the member of a status or an event message that holds its
	// date-time, a string; below the root with dots, as generic.date_time. Default
	// none: items have no known date-time.
	TimeMember string
	// TimeLayout is the form of these date-times, as package time writes layouts; one
	// without a zone is in UTC. Default time.RFC3339, which also reads fractions of
	// a second.
	TimeLayout string

	IDsSeparator string // between the IDs in the query parameter ids; default ","
	ListMember   string // member that holds the array in a list answer; default none: the answer is the array
}

// WithDefaults fills the empty fields that have a default.
func (d Dialect) WithDefaults() Dialect {
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fill(&d.DeviceID, "device_id")
	fill(&d.MessageID, "message_id")
	fill(&d.TagID, "tag_id")
	fill(&d.IDsSeparator, ",")
	fill(&d.TimeLayout, time.RFC3339)
	return d
}

// Time reads the date-time of a status or an event message; false: it has none
// that the dialect names.
func (d Dialect) Time(item Item) (time.Time, bool) {
	if d.TimeMember == "" {
		return time.Time{}, false
	}
	text := item.text(strings.Split(d.TimeMember, "."))
	at, err := time.Parse(d.WithDefaults().TimeLayout, text)
	return at, text != "" && err == nil
}
