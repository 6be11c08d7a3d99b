package webapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

// kinds are the lists there are.
var kinds = []world.Kind{world.Specifications, world.Statuses, world.Statistics, world.Diagnostics, world.Spaces, world.Events,
	world.EventSpecifications, world.Tags}

// ranged are the lists that a time range narrows.
var ranged = []world.Kind{world.Statuses, world.Statistics, world.Events}

// query is what a list is asked for.
type query struct {
	world.Query
	language string // "": none
	tag      string // the one tag that is wanted; "": all
	page     page
	owner    fds.SubscriptionID // the one whose items are wanted; zero: all of the token's
}

// ownerReader adds the parameter that names an owner, where the dialect has one.
func (a *API) ownerReader(known map[string]func(value string) bool, q *query) {
	if a.cfg.Dialect.SubscriptionParameter == "" {
		return
	}
	known[a.cfg.Dialect.SubscriptionParameter] = func(value string) bool {
		id, err := fds.ParseSubscriptionID(value)
		q.owner = id
		return err == nil
	}
}

// ownersAsked returns the one of the token's owners whose items are wanted, or all. A token
// that does not cover that one is refused, although what it does not cover is otherwise
// as if it did not exist: who names an owner shall learn of a mistake.
func (q query) ownersAsked(owners []fds.SubscriptionID) ([]fds.SubscriptionID, *answer) {
	switch {
	case q.owner.IsZero():
		return owners, nil
	case slices.Contains(owners, q.owner):
		return []fds.SubscriptionID{q.owner}, nil
	}
	ans := failure(http.StatusForbidden, "")
	return nil, &ans
}

// readers give the parameters that a list knows, each with what takes its value
// into q and reports whether it is usable.
func (a *API) readers(kind world.Kind, q *query) map[string]func(value string) bool {
	date := func(into *time.Time) func(string) bool {
		return func(value string) (ok bool) {
			at, err := time.Parse(a.cfg.TimeRange.Layout, value)
			*into = at
			return err == nil
		}
	}
	known := map[string]func(string) bool{
		"ids": func(value string) bool {
			q.IDs = strings.Split(value, a.cfg.Dialect.IDsSeparator)
			return !slices.Contains(q.IDs, "")
		},
		a.cfg.Dialect.LanguageParameter: func(value string) bool {
			q.language = value
			return isLanguage(value)
		},
	}
	if slices.Contains(ranged, kind) {
		known[a.cfg.TimeRange.From], known[a.cfg.TimeRange.To] = date(&q.From), date(&q.To)
	}
	if kind == world.Tags {
		known[a.cfg.Dialect.TagParameter] = func(value string) bool {
			q.tag = value
			return value != ""
		}
	}
	a.ownerReader(known, q)
	a.cfg.Dialect.Paging.readers(known, &q.page)
	delete(known, "") // what has no name is not known
	return known
}

// readQuery takes the parameters of a list; message says what is wrong.
func (a *API) readQuery(raw string, kind world.Kind) (q query, message string) {
	q.page = a.cfg.Dialect.Paging.first()
	if message := take(raw, a.readers(kind, &q)); message != "" {
		return q, message
	}
	switch {
	case q.tag != "" && q.IDs != nil:
		return q, msgParameter
	case !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From):
		return q, msgValue
	}
	return q, ""
}

// take hands each parameter to its reader.
func take(raw string, known map[string]func(value string) bool) (message string) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return msgParameter
	}
	for name := range values {
		if known[name] == nil {
			return msgParameter
		}
	}
	for _, given := range values {
		if len(given) > 1 {
			return msgTwice
		}
	}
	for name, given := range values {
		if !known[name](given[0]) {
			return msgValue
		}
	}
	return ""
}

// isLanguage checks the form of a language tag (RFC 5646 section 2.1), as far as
// it goes without a list of them: subtags of at most 8 letters and digits, the
// first of letters.
func isLanguage(value string) bool {
	const longest = 64
	for i, subtag := range strings.Split(value, "-") {
		if subtag == "" || len(subtag) > 8 {
			return false
		}
		for _, c := range []byte(subtag) {
			letter := 'a' <= c|0x20 && c|0x20 <= 'z'
			if !letter && (i == 0 || c < '0' || c > '9') {
				return false
			}
		}
	}
	return len(value) <= longest
}
