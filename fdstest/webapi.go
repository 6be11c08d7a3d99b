package fdstest

import (
	"slices"
	"strings"
	"unicode"

	"github.com/fds-sdk/fds-go/fdstest/internal/webapi"
)

// WebAPI says how the Web API's lists are asked for and answered, where FDS
// leaves it open. The zero value is this box's own way: IDs separated by commas,
// arrays, no other parameters. The names of parameters differ from one another,
// from ids and from those of Options.TimeRange; one that is not named is not
// known, and a request with it is answered 400 invalid_parameter.
//
// Whatever it is, every list, and a tag asked for alone, has a strong ETag, and
// If-None-Match is answered 304 (RFC 9110 section 13.1.2).
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
	// SubscriptionMember is the member, below the root with dots, in which every item
	// but an event specification, and every message that tells one, names its owner's
	// subscription ID as Owner.Spelling has it. Default "subscription_id", or none where
	// there is a SubscriptionParameter. An item given by hand that lacks the member gets
	// it in front of its others; one that has it keeps what it says. A tag belongs to
	// the owner that it names, which must be one of the token's, or to the token's first.
	SubscriptionMember string
	// SubscriptionParameter is a query parameter of every request, tags' included, that
	// names one of the token's owners, whose items are then the only ones; default none.
	// An owner that the token does not cover is 403 forbidden.
	SubscriptionParameter string
	// Paging is how a long list is split; default not at all.
	Paging Paging
	// NumericIDs has the made-up devices' IDs be JSON numbers, as in "device_id": 4711,
	// in items, messages and requests; default strings. Those of items given by hand are
	// as they are given, numbers too.
	NumericIDs bool
	// Compress sends every answer of the Web API in gzip to clients that accept it;
	// default never. A list then has another ETag in gzip than without.
	Compress bool
}

// Paging splits every list into pages. PageParameter, OffsetParameter and
// CursorParameter exclude one another; LinkHeader and NextMember go with each of them
// and alone, MoreMember with any. All of them count items from
// the start of the list as it is at each request: what is added at its end, as
// events and tags are, comes on a later page, but an item that is added or taken
// away in front of a page shifts what is behind it, which is then missed or comes
// twice. Nothing is kept between two requests, and no page lapses.
type Paging struct {
	// PageParameter is a query parameter with a page's number; without it the
	// first is answered, and past the last an empty list.
	PageParameter string
	// FirstPage is the number of the first page; default 0.
	FirstPage int

	// OffsetParameter is a query parameter with the number of items in front of a page;
	// without it the first is answered, and past the last item an empty list. Where
	// SizeParameter is its limit a page may begin anywhere.
	OffsetParameter string

	// CursorParameter is a query parameter with the cursor of a page, an opaque
	// string that has to be escaped in a query; without it the first is answered.
	CursorParameter string
	// CursorMember is the member of the answer that holds the next page's cursor,
	// below the root with dots, as paging.next; ListMember must be set too. The last
	// of several pages has an empty one, and a list of one page none. It stands
	// behind the list on the first, third, ... page, and in front of it on others.
	CursorMember string

	// LinkHeader has each page but the last lead to the next in a header
	// Link: <...>; rel="next" (RFC 8288), with the request's other parameters: as a
	// reference relative to the request on the first, third, ... page, as an absolute
	// URL on others. It uses PageParameter or CursorParameter, and without them a
	// parameter "next" that holds a cursor.
	LinkHeader bool
	// NextMember is the member of the answer that holds the URL to which LinkHeader
	// would lead, below the root with dots, as links.next; null on the last page.
	// MoreMember is the member that is true where there are more items behind the page
	// and false elsewhere, as has_more. ListMember must be set too.
	NextMember, MoreMember string

	// SizeParameter is a query parameter with the wanted number of items a page,
	// from 1 to 10,000; default none.
	SizeParameter string
	// Size is the number of items a page without it, at most 10,000; default 100.
	Size int
}

// faults names everything that no provider can be like, in sentences.
func (w WebAPI) faults(span *TimeRange, fault func(format string, args ...any)) {
	if strings.ContainsFunc(w.IDsSeparator, func(c rune) bool { return c == '-' || c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) }) {
		fault("WebAPI.IDsSeparator is %.100q; choose one without letters, digits, - and _, which IDs are made of", w.IDsSeparator)
	}
	if root, _, below := strings.Cut(w.SubscriptionMember, "."); slices.Contains(ownMembers, root) || root == "generic" && !below ||
		w.SubscriptionMember != "" && slices.Contains(strings.Split(w.SubscriptionMember, "."), "") {
		fault("WebAPI.SubscriptionMember is %.100q; choose a member that items do not use for something else, with a name before, between and after dots", w.SubscriptionMember)
	}
	w.Paging.faults(fault)
	w.memberFaults(fault)
	from, to := "from", "to"
	if span != nil {
		from, to = span.From, span.To
	}
	owner := map[string]string{"ids": "the choice of IDs", from: "TimeRange.From", to: "TimeRange.To"}
	for _, p := range w.parameters() {
		if other := owner[p.name]; other != "" && p.name != "" {
			fault("WebAPI.%s uses the parameter %.100q, as does %s; give every parameter a name of its own", p.field, p.name, other)
		}
		owner[p.name] = "WebAPI." + p.field
	}
}

// memberFaults is about the members of an answer.
func (w WebAPI) memberFaults(fault func(format string, args ...any)) {
	named := []namedParameter{{"CursorMember", w.Paging.CursorMember}, {"NextMember", w.Paging.NextMember}, {"MoreMember", w.Paging.MoreMember}}
	for i, m := range named {
		first, _, _ := strings.Cut(m.name, ".")
		switch {
		case m.name == "":
			continue
		case w.ListMember == "":
			fault("WebAPI.Paging.%s needs an object to be in; set WebAPI.ListMember too", m.field)
		case first == w.ListMember:
			fault("WebAPI.Paging.%s begins with %.100q, as WebAPI.ListMember does; name another member", m.field, first)
		}
		if slices.Contains(strings.Split(m.name, "."), "") {
			fault("WebAPI.Paging.%s is %.100q; there must be a name before, between and after dots", m.field, m.name)
		}
		for _, other := range named[:i] {
			if other.name != "" && (other.name == m.name || strings.HasPrefix(other.name, m.name+".") || strings.HasPrefix(m.name, other.name+".")) {
				fault("WebAPI.Paging.%s and %s are %.100q and %.100q; neither can be in the other", other.field, m.field, other.name, m.name)
			}
		}
	}
}

func (p Paging) faults(fault func(format string, args ...any)) {
	pages := p.PageParameter != "" || p.OffsetParameter != "" || p.CursorParameter != "" || p.LinkHeader || p.NextMember != ""
	if p.PageParameter != "" && p.CursorParameter != "" {
		fault("WebAPI.Paging has both a PageParameter and a CursorParameter; pages have numbers or cursors, so leave one out")
	}
	if p.OffsetParameter != "" && (p.PageParameter != "" || p.CursorParameter != "") {
		fault("WebAPI.Paging has an OffsetParameter and another way to name a page; leave one out")
	}
	if p.MoreMember != "" && !pages {
		fault("WebAPI.Paging has a MoreMember but no pages; set a parameter of pages, LinkHeader or NextMember")
	}
	if (p.CursorParameter == "") != (p.CursorMember == "") {
		fault("WebAPI.Paging has one of CursorParameter and CursorMember; set both or neither")
	}
	if p.FirstPage < 0 || p.FirstPage != 0 && p.PageParameter == "" {
		fault("WebAPI.Paging.FirstPage is %d; it needs a PageParameter and cannot be negative", p.FirstPage)
	}
	if p.Size < 0 || p.Size > webapi.MaxPageSize {
		fault("WebAPI.Paging.Size is %d; it is at most %d, or 0 for the default", p.Size, webapi.MaxPageSize)
	}
	if !pages && (p.Size != 0 || p.SizeParameter != "") {
		fault("WebAPI.Paging has a size but no pages; set PageParameter, OffsetParameter, CursorParameter, LinkHeader or NextMember")
	}
}

// ownMembers are those at an item's root that hold something else.
var ownMembers = []string{"device_id", "space_id", "tag_id", "message_id", "entities", "device_type_specific", "space_type_specific"}

// subscriptionMember is SubscriptionMember with its default.
func (w WebAPI) subscriptionMember() string {
	if w.SubscriptionMember == "" && w.SubscriptionParameter == "" {
		return "subscription_id"
	}
	return w.SubscriptionMember
}

type namedParameter struct{ field, name string }

// leads reports whether a page tells the next one's URL.
func (p Paging) leads() bool { return p.LinkHeader || p.NextMember != "" }

func (w WebAPI) parameters() []namedParameter {
	named := []namedParameter{
		{"LanguageParameter", w.LanguageParameter},
		{"TagParameter", w.TagParameter},
		{"SubscriptionParameter", w.SubscriptionParameter},
		{"Paging.PageParameter", w.Paging.PageParameter},
		{"Paging.OffsetParameter", w.Paging.OffsetParameter},
		{"Paging.CursorParameter", w.Paging.CursorParameter},
		{"Paging.SizeParameter", w.Paging.SizeParameter},
	}
	if p := w.Paging; p.leads() && p.PageParameter == "" && p.OffsetParameter == "" && p.CursorParameter == "" {
		field := "Paging.LinkHeader"
		if !p.LinkHeader {
			field = "Paging.NextMember"
		}
		named = append(named, namedParameter{field, webapi.LinkParameter})
	}
	return named
}

func (w WebAPI) dialect() webapi.Dialect {
	return webapi.Dialect{
		IDsSeparator:          w.IDsSeparator,
		ListMember:            w.ListMember,
		LanguageParameter:     w.LanguageParameter,
		TagParameter:          w.TagParameter,
		SubscriptionParameter: w.SubscriptionParameter,
		Paging:                webapi.Paging(w.Paging),
		Compress:              w.Compress,
	}
}
