package webapi

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// MaxPageSize is the largest number of items a page that may be asked for.
const MaxPageSize = 10_000

const defaultPageSize = 100

// Paging says how a list is split; the zero value does not split it. Pages are
// counted in items from the start of the list as it is at each request, so an
// item that is added in front of a page, or taken away there, shifts what is
// behind it: between two requests an item can be seen twice or missed.
type Paging struct {
	PageParameter string // a page's number
	FirstPage     int    // its number

	OffsetParameter string // the number of items in front of a page

	CursorParameter string
	CursorMember    string // member of the answer with the next page's cursor, below the root with dots

	LinkHeader bool   // the header Link leads to the next page, by one of the parameters above or by LinkParameter
	NextMember string // member of the answer with the URL that it would lead to, below the root with dots; null on the last page
	MoreMember string // member of the answer that reports whether there is a next page, below the root with dots

	SizeParameter string // the number of items a page, at most MaxPageSize
	Size          int    // without that parameter; default 100
}

// LinkParameter is the parameter of the cursor in a Link header where Paging
// names neither PageParameter nor CursorParameter.
const LinkParameter = "next"

func (p Paging) on() bool {
	return p.PageParameter != "" || p.CursorParameter != "" || p.OffsetParameter != "" || p.LinkHeader || p.NextMember != ""
}

// page is the part of a list that is asked for.
type page struct {
	number int // from 0 on, where pages have numbers
	offset int // of the first item, where they have cursors
	size   int // 0: all of the list
}

func (p Paging) first() page {
	switch {
	case !p.on():
		return page{}
	case p.Size == 0:
		return page{size: defaultPageSize}
	}
	return page{size: p.Size}
}

// parameter names the one that leads to a page.
func (p Paging) parameter() string {
	switch {
	case p.PageParameter != "":
		return p.PageParameter
	case p.OffsetParameter != "":
		return p.OffsetParameter
	case p.CursorParameter == "" && (p.LinkHeader || p.NextMember != ""):
		return LinkParameter
	}
	return p.CursorParameter
}

// readers adds the parameters of a page.
func (p Paging) readers(known map[string]func(value string) bool, into *page) {
	known[p.parameter()] = func(value string) (ok bool) {
		if p.PageParameter == "" && p.OffsetParameter == "" {
			into.offset, ok = offsetOf(value)
			return ok
		}
		number, err := strconv.Atoi(value)
		if p.OffsetParameter != "" {
			into.offset = number
			return err == nil && number >= 0
		}
		into.number = number - p.FirstPage
		return err == nil && number >= p.FirstPage
	}
	known[p.SizeParameter] = func(value string) bool {
		size, err := strconv.Atoi(value)
		into.size = size
		return err == nil && 1 <= size && size <= MaxPageSize
	}
}

// bounds returns the page's first item and the one behind its last; a page past
// the end is empty.
func (p page) bounds(items int) (from, to int) {
	if p.size == 0 {
		return 0, items
	}
	from = items
	if p.number <= items/p.size { // a page of a larger number could overflow
		from = min(min(p.offset, items)+p.number*p.size, items)
	}
	return from, from + min(p.size, items-from)
}

// reference leads to another page with the same other parameters: relative to the
// request on a page of an odd number, counted from 1, and absolute on others.
// Clients must take both (RFC 8288 section 3.1).
func (p Paging) reference(r *http.Request, position string, even bool) string {
	query := r.URL.Query()
	query.Set(p.parameter(), position)
	reference := "?" + query.Encode()
	switch {
	case oddOf(r.Context()).HTTPNext:
		return "http://" + r.Host + r.URL.EscapedPath() + reference
	case even:
		return "https://" + r.Host + r.URL.EscapedPath() + reference
	}
	return reference
}

// position names a page: by its number, counted from 0, or by its first item.
func (p Paging) position(number, offset int) string {
	if p.PageParameter != "" {
		return strconv.Itoa(p.FirstPage + number)
	}
	if p.OffsetParameter != "" {
		return strconv.Itoa(offset)
	}
	return cursorTo(offset)
}

// cursorMark begins every cursor, as "+/+/": who does not escape a cursor in a
// query sends another one.
const cursorMark = "\xfb\xff\xbf"

// cursorTo returns the cursor of the page that begins with an item.
func cursorTo(offset int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s%d", cursorMark, offset))
}

func offsetOf(cursor string) (offset int, ok bool) {
	text, err := base64.StdEncoding.DecodeString(cursor)
	if err != nil {
		return 0, false
	}
	offset, err = strconv.Atoi(strings.TrimPrefix(string(text), cursorMark))
	return offset, err == nil && offset >= 0 && cursorTo(offset) == cursor
}

// Odd is how lists deviate from what this box has.
type Odd struct {
	OwnNext   bool // every page leads to itself
	LastLeads Lead // where the last page leads
	PastEnd   int  // the status of a page past the end; 0: 200 and an empty list
	Null      bool // an empty list is null
	HTTPNext  bool // the next page's URL is absolute and begins with http
}

// Lead is where a last page leads.
type Lead int

// The places.
const (
	Nowhere       Lead = iota
	ToEmpty            // to an empty page, which leads nowhere
	ToEmptyItself      // to an empty page, which leads to itself
	ToItself           // unless it is the only one, whose address names no page
)

type oddKey struct{}

// WithOdd has lists deviate, besides what they do already.
func WithOdd(ctx context.Context, odd Odd) context.Context {
	before := oddOf(ctx)
	odd.OwnNext = odd.OwnNext || before.OwnNext
	odd.LastLeads = cmp.Or(odd.LastLeads, before.LastLeads)
	odd.PastEnd = cmp.Or(odd.PastEnd, before.PastEnd)
	odd.Null = odd.Null || before.Null
	odd.HTTPNext = odd.HTTPNext || before.HTTPNext
	return context.WithValue(ctx, oddKey{}, odd)
}

func oddOf(ctx context.Context) Odd {
	odd, _ := ctx.Value(oddKey{}).(Odd)
	return odd
}

// next returns the position of the page after that which has the items from from
// to to, of a list of so many; "" after the last one.
func (p Paging) next(odd Odd, asked page, from, to, items int) string {
	isLast, isEmpty := to == items && (from < to || items == 0), from == to && items > 0
	switch {
	case asked.size == 0:
		return ""
	case odd.OwnNext, isLast && odd.LastLeads == ToItself && from > 0, isEmpty && odd.LastLeads == ToEmptyItself:
		return p.position(asked.number, from)
	case to < items, isLast && (odd.LastLeads == ToEmpty || odd.LastLeads == ToEmptyItself):
		return p.position(asked.number+1, to)
	}
	return ""
}
