package fds

import (
	"strings"
	"time"
)

// Dialect holds the names and forms that FDS V2 leaves open, so that a provider
// that chose others needs a setting and no patch. An empty field means the
// default that its comment names. Where a wrong guess could make a provider
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

	// KindMember is the member of an item that says what it is about, a string or a number;
	// below the root with dots. EventKind and StatusKind are what it holds in an event and in
	// a status. Default none: an item that has a message's ID is an event, and what another
	// is about it does not say itself.
	KindMember, EventKind, StatusKind string
	// SequenceMember is the member of an item that holds a number or a string which no other
	// item of its kind and device has, ever, such as one that is counted up; below the root
	// with dots. With kind and device it tells two items apart, where TimeMember does not.
	// Default none.
	SequenceMember string
	// SeverityMember and CodeMember are the members of an event that say how grave it is, and
	// which of the provider's events it is, each a string or a number; below the root with dots,
	// as generic.severity. Default none: nobody knows. They are for people alone.
	SeverityMember, CodeMember string

	// EventTopic and StatusTopic are the topics below fds/v2/<subscription_id>/ on which
	// events and statuses are published, as devices/{device_id}/events: {...} stands for
	// a member of the item, a string or a number, below the root with dots. Default none:
	// on which topic an item was published nobody knows.
	EventTopic, StatusTopic string

	LanguageParameter string // query parameter that chooses the language of texts; default none: it is not sent
	TagParameter      string // query parameter that chooses a tag by its ID; default none: all tags are read and the one is picked

	IDsSeparator string // between the IDs in the query parameter ids; default ","
	// ListMember is the member of an answer that holds the list, where the answer is an
	// object; a name as it is, or below the root with dots, as _embedded.devices. Default
	// none: the answer is the list. One that is null is an empty list; so is one that is
	// missing where nothing else could hold items, nor an error.
	ListMember string
	Paging     Paging // how a long list is split
}

// Faults returns every setting that cannot be used or contradicts another: what would send a
// parameter twice, which FDS forbids, or end a list before its last page. A fault's Field is
// the setting's path from the Dialect down.
func (d Dialect) Faults() []Fault {
	var e ConfigError
	p := d.Paging
	taken := map[string]string{"ids": ""} // which is FDS' own
	for _, named := range []struct{ setting, name string }{
		{"FromParameter", d.FromParameter}, {"ToParameter", d.ToParameter}, {"LanguageParameter", d.LanguageParameter}, {"SubscriptionParameter", d.SubscriptionParameter},
		{"Paging.PageParameter", p.PageParameter}, {"Paging.OffsetParameter", p.OffsetParameter}, {"Paging.CursorParameter", p.CursorParameter}, {"Paging.SizeParameter", p.SizeParameter},
	} {
		if by, twice := taken[named.name]; twice && by == "" {
			e.Add(named.setting, "", "is %.100q, which is a parameter of FDS itself", named.name)
		} else if twice {
			e.Add(named.setting, "", "is %.100q, which means something else already", named.name).Other = by
		}
		if named.name != "" {
			taken[named.name] = named.setting
		}
	}
	if d.SubscriptionParameter != "" && d.TagParameter == d.SubscriptionParameter {
		e.Add("TagParameter", "", "is %.100q, which means something else already", d.TagParameter).Other = "SubscriptionParameter"
	}
	d.itself(&e)
	for _, topic := range []struct{ setting, template string }{{"EventTopic", d.EventTopic}, {"StatusTopic", d.StatusTopic}} {
		if _, why := parseTemplate(topic.template); topic.template != "" && why != "" {
			e.Add(topic.setting, "", "is %.100q, which is no topic below fds/v2/<subscription_id>/: %s", topic.template, why)
		}
	}
	p.faults(d.ListMember, &e)
	return e.Faults
}

// itself adds the faults of what says which item an item is.
func (d Dialect) itself(e *ConfigError) {
	switch {
	case d.KindMember == "" && (d.EventKind != "" || d.StatusKind != ""):
		e.Add("KindMember", "name the member that holds EventKind or StatusKind", "is missing")
	case d.KindMember != "" && d.EventKind == "" && d.StatusKind == "":
		e.Add("KindMember", "say what it holds in an event and in a status", "is %.100q, of which nothing is known to mean anything", d.KindMember).Other = "EventKind"
	case d.KindMember != "" && d.EventKind == d.StatusKind:
		e.Add("StatusKind", "", "is %.100q, which means an event already", d.StatusKind).Other = "EventKind"
	}
	d = d.WithDefaults()
	for _, same := range []struct{ setting, member string }{{"DeviceID", d.DeviceID}, {"KindMember", d.KindMember}, {"SubscriptionMember", d.SubscriptionMember}} {
		if d.SequenceMember != "" && d.SequenceMember == same.member {
			e.Add("SequenceMember", "leave it out where there is none", "is %.100q, which many items have in common", d.SequenceMember).Other = same.setting
		}
	}
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

// Severity returns how grave an event is, in the provider's words; "": it does not say.
func (d Dialect) Severity(event Item) string { return event.scalarAt(d.SeverityMember) }

// Code returns which of the provider's events an event is; "": it does not say.
func (d Dialect) Code(event Item) string { return event.scalarAt(d.CodeMember) }

// Subscription reads whose an item is; false: it does not say.
func (d Dialect) Subscription(item Item) (SubscriptionID, bool) {
	if d.SubscriptionMember == "" {
		return SubscriptionID{}, false
	}
	id, err := ParseSubscriptionID(item.text(strings.Split(d.SubscriptionMember, ".")))
	return id, err == nil
}
