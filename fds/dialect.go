package fds

import (
	"fmt"
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

	// FromParameter and ToParameter are the query parameters that bound statuses,
	// statistics and events by date-time; default none: they are not sent, since a
	// provider refuses a name that it does not know, and the whole collection is
	// read.
	FromParameter, ToParameter string
	// TimeMember is the member of a status or an event message that holds its
	// date-time, a string or the number of seconds or milliseconds since 1970; below the
	// root with dots, as generic.date_time. Default none: items have no known date-time.
	TimeMember string
	// TimeLayout is the form of these date-times, as package time writes layouts; one
	// without a zone is in UTC. Default time.RFC3339, which also reads fractions of
	// a second. What names its zone in another form of ISO 8601 is read whatever the
	// layout.
	TimeLayout string

	// SubscriptionMember is the member of an item that holds its owner's subscription
	// ID, a string; below the root with dots. SubscriptionParameter is the query
	// parameter by which a request asks for the items of one owner; its value is the
	// subscription ID. Default none. Where several owners sign in together, one token
	// reads the data of all of them, and nothing else says whose an item is.
	SubscriptionMember, SubscriptionParameter string

	// EventTopic and StatusTopic are the topics below fds/v2/<subscription_id>/ on which
	// events and statuses are published, as devices/{device_id}/events: {...} stands for
	// a member of the item, a string or a number, below the root with dots. Default none:
	// on which topic an item was published nobody knows.
	EventTopic, StatusTopic string

	LanguageParameter string // query parameter that chooses the language of texts; default none: it is not sent
	TagParameter      string // query parameter that chooses a tag by its ID; default none: all tags are read and the one is picked

	IDsSeparator string // between the IDs in the query parameter ids; default ","
	ListMember   string // member that holds the array in a list answer, where that is an object; default none: the answer is the array
	Paging       Paging // how a long list is split
}

// Paging says how a provider splits a long list over several answers. By default
// an answer is all of the list, unless its Link header leads to a next one
// (RFC 8288, rel="next"), which is followed. With PageParameter pages are asked for
// by number until one is empty; with CursorParameter and CursorMember by what the
// page before names as the next. Only one of the two can be set.
type Paging struct {
	PageParameter string // query parameter with a page's number
	FirstPage     int    // its number; default 0

	CursorParameter string // query parameter with the cursor
	// CursorMember is the member of an answer that holds the next page's cursor, a
	// string or a number; below the root with dots, as paging.next. The last page
	// has none, null or an empty one. An answer is then an object, and
	// Dialect.ListMember names its list: after a plain array nobody could tell whether
	// there are more pages, so that the list ends with an error after its items.
	CursorMember string

	SizeParameter string // query parameter with the wanted number of items a page; default none: it is not sent
	Size          int    // its value
}

// Faults names every setting that contradicts another, in a sentence each: what
// would send a parameter twice, which FDS forbids, or end a list before its last
// page.
func (d Dialect) Faults() (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf("Dialect."+format, args...)) }
	p := d.Paging
	taken := map[string]string{"ids": "FDS itself"}
	for _, named := range []struct{ setting, name string }{
		{"FromParameter", d.FromParameter}, {"ToParameter", d.ToParameter}, {"LanguageParameter", d.LanguageParameter}, {"SubscriptionParameter", d.SubscriptionParameter},
		{"Paging.PageParameter", p.PageParameter}, {"Paging.CursorParameter", p.CursorParameter}, {"Paging.SizeParameter", p.SizeParameter},
	} {
		if by, twice := taken[named.name]; twice {
			fault("%s is %.100q, which is given a meaning by %s already", named.setting, named.name, by)
		}
		if named.name != "" {
			taken[named.name] = "Dialect." + named.setting
		}
	}
	if d.SubscriptionParameter != "" && d.TagParameter == d.SubscriptionParameter {
		fault("TagParameter is %.100q, which is given a meaning by Dialect.SubscriptionParameter already", d.TagParameter)
	}
	for _, topic := range []struct{ setting, template string }{{"EventTopic", d.EventTopic}, {"StatusTopic", d.StatusTopic}} {
		if _, why := parseTemplate(topic.template); topic.template != "" && why != "" {
			fault("%s is %.100q, which is no topic below fds/v2/<subscription_id>/: %s", topic.setting, topic.template, why)
		}
	}
	if cursor, _, _ := strings.Cut(p.CursorMember, "."); cursor != "" && (d.ListMember == "" || d.ListMember == cursor) {
		fault("ListMember is %.100q; with a CursorMember an answer is an object, in which they are two members", d.ListMember)
	}
	if p.PageParameter != "" && p.CursorParameter != "" {
		fault("Paging: PageParameter and CursorParameter are both set; a provider pages in one way")
	}
	if (p.CursorParameter == "") != (p.CursorMember == "") {
		fault("Paging: CursorParameter and CursorMember go together")
	}
	if p.FirstPage < 0 || p.FirstPage != 0 && p.PageParameter == "" {
		fault("Paging: FirstPage needs a PageParameter, and is not negative")
	}
	if p.Size < 0 || (p.Size == 0) != (p.SizeParameter == "") {
		fault("Paging: SizeParameter and a positive Size go together")
	}
	return faults
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

// Subscription reads whose an item is; false: it does not say.
func (d Dialect) Subscription(item Item) (SubscriptionID, bool) {
	if d.SubscriptionMember == "" {
		return SubscriptionID{}, false
	}
	id, err := ParseSubscriptionID(item.text(strings.Split(d.SubscriptionMember, ".")))
	return id, err == nil
}
