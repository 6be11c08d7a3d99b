package fdstest

import (
	"strings"
	"unicode"

	"github.com/fds-sdk/fds-go/fdstest/internal/webapi"
)

// WebAPI says how the Web API's lists are asked for and answered, where FDS
// leaves it open. The zero value is this box's own way: IDs separated by commas,
// arrays, no other parameters. The names of parameters differ from one another,
// from ids and from those of Options.TimeRange; one that is not named is not
// known, and a request with it is answered 400 invalid_parameter.
type WebAPI struct {
	// IDsSeparator is between the IDs in the query parameter ids; default ",". It
	// holds no letter, digit, "-" or "_", which IDs are made of.
	IDsSeparator string
	// ListMember is the member of an answer that holds the array of items; a dot in
	// it is a part of the name. Default none: the answer is the array.
	ListMember string
	// LanguageParameter is a query parameter of every list that chooses a language
	// by a tag of RFC 5646, as de-CH; default none. The answer's Content-Language
	// echoes it, so that a test sees that it arrived; the items are the same in
	// every language.
	LanguageParameter string
	// TagParameter is a query parameter of GET /fds/v2/tag that chooses one tag by
	// its ID; default none. The answer is then the tag itself and no list, and 404
	// when there is no such tag; ids cannot be sent with it.
	TagParameter string
}

// faults names everything that no provider can be like, in sentences.
func (w WebAPI) faults(span *TimeRange, fault func(format string, args ...any)) {
	if strings.ContainsFunc(w.IDsSeparator, func(c rune) bool { return c == '-' || c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) }) {
		fault("WebAPI.IDsSeparator is %.100q; choose one without letters, digits, - and _, which IDs are made of", w.IDsSeparator)
	}
	from, to := "from", "to"
	if span != nil {
		from, to = span.From, span.To
	}
	owner := map[string]string{"ids": "the parameter of IDs", from: "TimeRange.From", to: "TimeRange.To"}
	delete(owner, "")
	for _, p := range w.parameters() {
		if p.name == "" {
			continue
		}
		if other := owner[p.name]; other != "" {
			fault("WebAPI.%s is %.100q, as is %s; give every parameter a name of its own", p.field, p.name, other)
		}
		owner[p.name] = "WebAPI." + p.field
	}
}

type namedParameter struct{ field, name string }

func (w WebAPI) parameters() []namedParameter {
	return []namedParameter{
		{"LanguageParameter", w.LanguageParameter},
		{"TagParameter", w.TagParameter},
	}
}

func (w WebAPI) dialect() webapi.Dialect {
	return webapi.Dialect{
		IDsSeparator:      w.IDsSeparator,
		ListMember:        w.ListMember,
		LanguageParameter: w.LanguageParameter,
		TagParameter:      w.TagParameter,
	}
}
