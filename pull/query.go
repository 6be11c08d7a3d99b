package pull

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Kind names a collection of the Web API.
type Kind string

// The collections of FDS V2.
const (
	Specifications      Kind = "specifications"       // devices and their lifelong properties
	Statuses            Kind = "statuses"             // latest status of devices
	Statistics          Kind = "statistics"           // figures aggregated over a period
	Diagnostics         Kind = "diagnostics"          // future state: service, refill
	Spaces              Kind = "spaces"               // spaces and their specifications
	Events              Kind = "events"               // history of event messages
	EventSpecifications Kind = "event_specifications" // what an event's code means
)

// Kinds gives all collections.
func Kinds() []Kind {
	return []Kind{Specifications, Statuses, Statistics, Diagnostics, Spaces, Events, EventSpecifications}
}

const (
	idsParameter = "ids"
	maxURLBytes  = 4 << 10 // below what servers and proxies commonly take
)

// Query narrows a list. The zero value asks for all of it.
type Query struct {
	// IDs of the devices or spaces wanted; none means all. So many that the URL
	// would exceed 4 KiB are asked for in several requests, one after the other. An
	// ID must not be empty or hold the dialect's IDsSeparator.
	IDs []string

	// Parameters are further query parameters by name. FDS names none, and a
	// provider refuses a name that it does not know (ErrInvalidParameter). "ids" is
	// not allowed here.
	Parameters map[string]string

	// Answered is told of each answer that is a list, before its first item: date is
	// the provider's own time when it answered, in whole seconds (RFC 9110 section
	// 6.6.1), or zero when the answer does not say. Nil: not told.
	Answered func(date time.Time)
}

// targets gives the URLs to ask, at least one.
func (c *Client) targets(kind Kind, query Query) ([]*url.URL, error) {
	fail := func(format string, args ...any) ([]*url.URL, error) {
		return nil, &Error{Operation: "get " + quoted(string(kind)), class: ErrQuery, detail: fmt.Sprintf(format, args...)}
	}
	if !slices.Contains(Kinds(), kind) {
		return fail("FDS has no collection of that name")
	}
	var fixed []string
	for _, name := range slices.Sorted(maps.Keys(query.Parameters)) {
		switch name {
		case "":
			return fail("a parameter has no name")
		case idsParameter:
			return fail("the parameter ids is set by Query.IDs")
		}
		fixed = append(fixed, escape(name)+"="+escape(query.Parameters[name]))
	}
	base := *c.base
	base.Path += string(kind)
	if base.RawPath != "" {
		base.RawPath += string(kind)
	}
	if len(query.IDs) > 0 {
		fixed = append(fixed, idsParameter+"=")
	}
	prefix := strings.Join(fixed, "&")
	room := maxURLBytes - len(base.String()) - len("?") - len(prefix)
	if room < 0 {
		return fail("the parameters make a URL of over %d bytes", maxURLBytes)
	}

	var targets []*url.URL
	add := func(ids string) {
		target := base
		target.RawQuery = prefix + ids
		targets = append(targets, &target)
	}
	if len(query.IDs) == 0 {
		add("")
		return targets, nil
	}
	separator := escape(c.dialect.IDsSeparator)
	var ids strings.Builder
	for _, id := range query.IDs {
		switch {
		case id == "":
			return fail("an ID is empty")
		case strings.Index(id+c.dialect.IDsSeparator, c.dialect.IDsSeparator) != len(id): // also "a|" before "||"
			return fail("ID %q holds %q, which separates IDs; ask for all items and choose", cut(id), c.dialect.IDsSeparator)
		}
		escaped := escape(id)
		if len(escaped) > room {
			return fail("ID %q makes a URL of over %d bytes", cut(id), maxURLBytes)
		}
		if ids.Len() > 0 && ids.Len()+len(separator)+len(escaped) > room {
			add(ids.String())
			ids.Reset()
		}
		if ids.Len() > 0 {
			ids.WriteString(separator)
		}
		ids.WriteString(escaped)
	}
	add(ids.String())
	return targets, nil
}

// escape writes a space as %20, which both readings of a query know.
func escape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
