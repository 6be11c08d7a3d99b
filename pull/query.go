package pull

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
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

// Kinds returns all collections.
func Kinds() []Kind {
	return []Kind{Specifications, Statuses, Statistics, Diagnostics, Spaces, Events, EventSpecifications}
}

const (
	idsParameter  = "ids"
	maxURLBytes   = 4 << 10 // below what servers and proxies commonly take
	maxQueryBytes = 2000    // of IDs that could be split: some servers take 2,048
)

// Query narrows a list. The zero value asks for all of it. What the Dialect names
// no parameter for is not sent, since a provider refuses a name that it does not
// know: the answer then holds more than was asked for.
type Query struct {
	// IDs of the devices or spaces wanted; none means all. So many that the query of
	// the URL would exceed 2,000 bytes are asked for in several requests, one after the
	// other, and so are those for which the provider says that the URL is too long (HTTP
	// 414 or 431). An ID must not be empty or hold the dialect's IDsSeparator.
	IDs []string

	// From and To bound statuses, statistics and events by date-time; zero means no
	// bound. Where Dialect.TimeLayout is coarser than they are, they are widened to
	// hold the whole span. Sent where Dialect.FromParameter and ToParameter name them.
	From, To time.Time

	// Language of texts, such as "de" (RFC 5646). Sent where
	// Dialect.LanguageParameter names it.
	Language string

	// Parameters are further query parameters by name. FDS names none, and a
	// provider refuses a name that it does not know (fds.ErrInvalidParameter). "ids" is
	// not allowed here, nor what the Dialect names.
	Parameters map[string]string

	// Version, when it is not nil, has the list yield nothing but fds.ErrUnchanged as
	// long as it is what was read before with the same Version.
	Version *Version

	// Answered is told of each answer that is a list, before its first item: date is
	// the provider's own time when it answered, in whole seconds (RFC 9110 section
	// 6.6.1), or zero when the answer does not say. Nil: not told.
	Answered func(date time.Time)

	// Progress is told how far the list is, at most ten times a second and at its
	// end. Nil: not told. It is called, as Answered is, by the goroutine of the loop.
	Progress func(Progress)
}

// part is one list of those that make up an answer: all, or of some IDs.
type part struct {
	at  *url.URL
	ids []string // written for a URL
}

// halves are two parts in place of one, or none where it cannot be split.
func (p part) halves(separator string) []part {
	if len(p.ids) < 2 {
		return nil
	}
	var both []part
	query := strings.TrimSuffix(p.at.RawQuery, strings.Join(p.ids, separator))
	for _, ids := range [][]string{p.ids[:len(p.ids)/2], p.ids[len(p.ids)/2:]} {
		at := *p.at
		at.RawQuery = query + strings.Join(ids, separator)
		both = append(both, part{&at, ids})
	}
	return both
}

// parts returns the URLs to ask, at least one.
func (c *Client) parts(kind Kind, query Query) ([]part, error) {
	fail := func(format string, args ...any) ([]part, error) {
		return nil, &Error{Operation: "get " + quoted(string(kind)), class: fds.ErrQuery, detail: fmt.Errorf(format, args...).Error()}
	}
	parameters, err := c.parameters(kind, query)
	if err != nil {
		return fail("%w", err)
	}
	var fixed []string
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		fixed = append(fixed, escape(name)+"="+escape(parameters[name]))
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
	most := maxURLBytes - len(base.String()) - len("?") - len(prefix) // of one ID
	room := min(most, maxQueryBytes-len(prefix))                      // of several
	if most < 0 {
		return fail("the parameters make a URL of over %d bytes", maxURLBytes)
	}

	separator := c.idsSeparator()
	var parts []part
	add := func(ids []string) {
		target := base
		target.RawQuery = prefix + strings.Join(ids, separator)
		parts = append(parts, part{&target, ids})
	}
	if len(query.IDs) == 0 {
		add(nil)
		return parts, nil
	}
	var ids []string
	bytes := 0
	for _, id := range query.IDs {
		switch {
		case id == "":
			return fail("an ID is empty")
		case strings.Index(id+c.dialect.IDsSeparator, c.dialect.IDsSeparator) != len(id): // also "a|" before "||"
			return fail("ID %q holds %q, which separates IDs; ask for all items and choose", cut(id), c.dialect.IDsSeparator)
		}
		escaped := escape(id)
		if len(escaped) > most {
			return fail("ID %q makes a URL of over %d bytes", cut(id), maxURLBytes)
		}
		if len(ids) > 0 && bytes+len(separator)+len(escaped) > room {
			add(ids)
			ids, bytes = nil, 0
		}
		if len(ids) > 0 {
			bytes += len(separator)
		}
		ids = append(ids, escaped)
		bytes += len(escaped)
	}
	add(ids)
	return parts, nil
}

// idsSeparator stands between IDs in a URL.
func (c *Client) idsSeparator() string { return escape(c.dialect.IDsSeparator) }

// parameters returns the query parameters but for ids, each once: FDS refuses one that
// is given twice.
func (c *Client) parameters(kind Kind, query Query) (map[string]string, error) {
	all := make(map[string]string)
	for name, value := range query.Parameters {
		switch name {
		case "":
			return nil, errors.New("a parameter has no name")
		case idsParameter:
			return nil, errors.New("the parameter ids is set by Query.IDs")
		}
		all[name] = value
	}
	d := c.dialect
	for _, named := range []struct{ name, by string }{
		{d.FromParameter, "Query.From"}, {d.ToParameter, "Query.To"}, {d.LanguageParameter, "Query.Language"}, {d.SubscriptionParameter, "Config.Root"},
		{d.Paging.PageParameter, "fds.Dialect.Paging"}, {d.Paging.OffsetParameter, "fds.Dialect.Paging"}, {d.Paging.CursorParameter, "fds.Dialect.Paging"}, {d.Paging.SizeParameter, "fds.Dialect.Paging"},
	} {
		if _, given := all[named.name]; given && named.name != "" {
			return nil, fmt.Errorf("the parameter %q is set by %s", cut(named.name), named.by)
		}
	}
	if !query.From.IsZero() && !query.To.IsZero() && query.To.Before(query.From) {
		return nil, fmt.Errorf("Query.To, %v, is before Query.From, %v", query.To, query.From)
	}
	set := func(name, value string) {
		if name != "" && value != "" {
			all[name] = value
		}
	}
	if !query.From.IsZero() {
		set(d.FromParameter, atMost(query.From, d.TimeLayout))
	}
	if !query.To.IsZero() {
		set(d.ToParameter, atLeast(query.To, d.TimeLayout))
	}
	set(d.LanguageParameter, query.Language)
	set(c.ownerParameter(kind), c.root.ClientID())
	if d.Paging.PageParameter != "" {
		set(d.Paging.PageParameter, strconv.Itoa(d.Paging.FirstPage))
	}
	set(d.Paging.OffsetParameter, "0")
	if d.Paging.SizeParameter != "" {
		set(d.Paging.SizeParameter, strconv.Itoa(d.Paging.Size))
	}
	return all, nil
}

// atMost writes a time in a layout, which cuts what it has no room for. It returns ""
// when what is written cannot be read back as a time at or before t: it would bound
// too much.
func atMost(t time.Time, layout string) string {
	text := t.UTC().Format(layout)
	if back, err := time.Parse(layout, text); err != nil || back.After(t) {
		return ""
	}
	return text
}

// atLeast writes the first time that the layout can express at or after t, or "".
func atLeast(t time.Time, layout string) string {
	const day = 24 * time.Hour
	for _, step := range []time.Duration{0, time.Millisecond, time.Second, time.Minute, time.Hour, day, 31 * day, 366 * day} {
		text := t.Add(step).UTC().Format(layout)
		if back, err := time.Parse(layout, text); err == nil && !back.Before(t) {
			return text
		}
	}
	return ""
}

// escape writes a space as %20, which both readings of a query know.
func escape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
