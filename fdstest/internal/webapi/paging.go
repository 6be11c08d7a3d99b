package webapi

import (
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

	CursorParameter string
	CursorMember    string // member of the answer with the next page's cursor, below the root with dots

	LinkHeader bool // the header Link leads to the next page, by one of the parameters above or by LinkParameter

	SizeParameter string // the number of items a page, at most MaxPageSize
	Size          int    // without that parameter; default 100
}

// LinkParameter is the parameter of the cursor in a Link header where Paging
// names neither PageParameter nor CursorParameter.
const LinkParameter = "next"

func (p Paging) on() bool { return p.PageParameter != "" || p.CursorParameter != "" || p.LinkHeader }

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
	case p.CursorParameter != "" || !p.LinkHeader:
		return p.CursorParameter
	}
	return LinkParameter
}

// readers adds the parameters of a page.
func (p Paging) readers(known map[string]func(value string) bool, into *page) {
	known[p.parameter()] = func(value string) (ok bool) {
		if p.PageParameter == "" {
			into.offset, ok = offsetOf(value)
			return ok
		}
		number, err := strconv.Atoi(value)
		into.number = number - p.FirstPage
		return err == nil && number >= p.FirstPage
	}
	known[p.SizeParameter] = func(value string) bool {
		size, err := strconv.Atoi(value)
		into.size = size
		return err == nil && 1 <= size && size <= MaxPageSize
	}
}

// bounds gives the page's first item and the one behind its last; a page past
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

// link leads to another page with the same other parameters: relative to the
// request on a page of an odd number, counted from 1, and absolute on others.
// Clients must take both (RFC 8288 section 3.1).
func (p Paging) link(r *http.Request, position string, even bool) string {
	query := r.URL.Query()
	query.Set(p.parameter(), position)
	reference := "?" + query.Encode()
	if even {
		reference = "https://" + r.Host + r.URL.EscapedPath() + reference
	}
	return fmt.Sprintf(`<%s>; rel="next"`, reference)
}

// position names a page: by its number, counted from 0, or by its first item.
func (p Paging) position(number, offset int) string {
	if p.PageParameter != "" {
		return strconv.Itoa(p.FirstPage + number)
	}
	return cursorTo(offset)
}

// cursorMark begins every cursor, as "+/+/": who does not escape a cursor in a
// query sends another one.
const cursorMark = "\xfb\xff\xbf"

// cursorTo gives the cursor of the page that begins with an item.
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

type ownNext struct{}

// WithOwnNext has a page of a list name itself as the next one.
func WithOwnNext(ctx context.Context) context.Context {
	return context.WithValue(ctx, ownNext{}, true)
}

// next gives the position of the page after that which has the items from from
// to to, of a list of so many; "" after the last one.
func (p Paging) next(ctx context.Context, asked page, from, to, items int) string {
	switch own, _ := ctx.Value(ownNext{}).(bool); {
	case asked.size == 0:
		return ""
	case own:
		return p.position(asked.number, from)
	case to < items:
		return p.position(asked.number+1, to)
	}
	return ""
}
