package fds

import "strings"

// Paging says how a provider splits a long list over several answers. By default
// an answer is all of the list, unless its Link header leads to a next one
// (RFC 8288, rel="next"), which is followed. Otherwise only one of PageParameter,
// OffsetParameter, CursorParameter and NextMember can be set.
//
// The members of an answer are named as they are, as @odata.nextLink, or below the root
// with dots, as paging.next. An answer is then an object, and Dialect.ListMember names
// its list: after a plain array nobody could tell whether there are more pages, so that
// the list ends with an error after its items.
//
// Providers end a list in many ways, of which these are known:
//
//   - There is no next page: no link, and no member or one that is null, false, "", 0, -1,
//     [], {} or a text such as "null".
//   - A page after the first is answered 404 or 204. One by number or offset may also be
//     answered 400, 416 or 422, unless the text is that lists are cut there.
//   - A page by number or offset is empty, or is the same as the one before, which is not
//     taken twice. That the second page is the same as the first ends the list only where
//     the first had fewer items than Size: the parameter may not be known.
//   - A page leads to itself, or an empty one leads back. One with items that leads back
//     to a page further back is an error, and so is one that repeats the page before and
//     leads to itself.
//   - An empty page that leads on is passed over; ten in a row are the end, which is logged
//     as a warning.
//
// Where MoreMember is true none of them is the end, but an error.
type Paging struct {
	PageParameter string // query parameter with a page's number
	FirstPage     int    // its number; default 0

	OffsetParameter string // query parameter with the number of items before a page, at first 0; SizeParameter may be its limit

	CursorParameter string // query parameter with the cursor
	CursorMember    string // member of an answer that holds the next page's cursor, a string or a number

	// NextMember is the member of an answer that holds the next page's URL, a string or an
	// object with a member href, as next, links.next or _links.next.href. It may be
	// relative. One of the provider's own origin is asked over https also where it is
	// written with http; elsewhere nothing is asked.
	NextMember string

	// MoreMember is the member of an answer that reports whether there is a next page, true or
	// false, as has_more, beside a PageParameter, OffsetParameter or CursorParameter. An
	// answer without it is judged as if it were not set.
	MoreMember string

	SizeParameter string // query parameter with the wanted number of items a page; default none: it is not sent
	Size          int    // its value
}

// faults adds what contradicts.
func (p Paging) faults(list string, e *ConfigError) {
	members := []struct{ setting, name string }{{"CursorMember", p.CursorMember}, {"NextMember", p.NextMember}, {"MoreMember", p.MoreMember}}
	for i, m := range members {
		if m.name != "" && (list == "" || isWithin(m.name, list) || isWithin(list, m.name)) {
			e.Add("ListMember", "where a member leads to the next page an answer is an object: name its other member, which holds the list", "is %.100q, beside the member %.100q that leads to the next page", list, m.name).Other = "Paging." + m.setting
		}
		for _, other := range members[:i] {
			if m.name != "" && m.name == other.name {
				e.Add("Paging."+m.setting, "", "is %.100q, which means something else already", m.name).Other = "Paging." + other.setting
			}
		}
	}
	ways := []struct{ setting, name string }{{"PageParameter", p.PageParameter}, {"OffsetParameter", p.OffsetParameter}, {"CursorParameter", p.CursorParameter}, {"NextMember", p.NextMember}}
	for i, way := range ways {
		for _, other := range ways[:i] {
			if way.name != "" && other.name != "" {
				e.Add("Paging."+way.setting, "take one away: a provider pages in one way", "is set beside another way to page").Other = "Paging." + other.setting
			}
		}
	}
	if (p.CursorParameter == "") != (p.CursorMember == "") && p.PageParameter == "" && p.OffsetParameter == "" {
		e.Add("Paging.CursorMember", "", "goes together with the cursor's parameter").Other = "Paging.CursorParameter"
	}
	if p.MoreMember != "" && p.PageParameter == "" && p.OffsetParameter == "" && p.CursorParameter == "" {
		e.Add("Paging.MoreMember", "", "needs a parameter for the page, the offset or the cursor")
	}
	if p.FirstPage < 0 || p.FirstPage != 0 && p.PageParameter == "" {
		e.Add("Paging.FirstPage", "", "needs a parameter for the page, and is not negative").Other = "Paging.PageParameter"
	}
	if p.Size < 0 || (p.Size == 0) != (p.SizeParameter == "") {
		e.Add("Paging.SizeParameter", "", "goes together with a positive size").Other = "Paging.Size"
	}
}

// isWithin reports whether a member is another or stands below it.
func isWithin(member, other string) bool {
	return member == other || strings.HasPrefix(member, other+".")
}
