package pull_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// pagesOf cuts n items into pages.
func pagesOf(n, size int) (pages []string) {
	for from := 0; from < n; from += size {
		var items []string
		for i := from; i < min(from+size, n); i++ {
			items = append(items, fmt.Sprintf(`{"n":%d}`, i))
		}
		pages = append(pages, "["+strings.Join(items, ",")+"]")
	}
	return pages
}

func numbers(n int) (want []string) {
	for i := range n {
		want = append(want, fmt.Sprintf(`{"n":%d}`, i))
	}
	return want
}

// wrapped is an answer with a list and what leads on.
func wrapped(list, more string) string {
	if more == "" {
		return `{"list":` + list + `}`
	}
	return `{"list":` + list + `,` + more + `}`
}

// TestEveryConventionOfAListsEndIsKnown serves lists of zero to seven items, in pages of
// three, and ends them as servers do. Each item must come once, whichever the convention.
func TestEveryConventionOfAListsEndIsKnown(t *testing.T) {
	type answers func(r *http.Request, pages []string, page int) *http.Response
	page := func(pages []string, n int) string {
		if n < len(pages) {
			return pages[n]
		}
		return "[]"
	}
	refusing := func(status int, body string) answers {
		return func(r *http.Request, pages []string, n int) *http.Response {
			if n > 0 && n >= len(pages) {
				return reply(r, status, body)
			}
			return reply(r, 200, page(pages, n))
		}
	}
	wrappedNumbers := func(beyond string) answers {
		return func(r *http.Request, pages []string, n int) *http.Response {
			if n >= len(pages) {
				return reply(r, 200, beyond)
			}
			return reply(r, 200, wrapped(pages[n], ""))
		}
	}
	cursor := func(next func(pages []string, n int) string, beyond func(r *http.Request) *http.Response) answers {
		return func(r *http.Request, pages []string, n int) *http.Response {
			if n >= max(len(pages), 1) {
				return beyond(r)
			}
			return reply(r, 200, wrapped(page(pages, n), next(pages, n)))
		}
	}
	unasked := func(r *http.Request) *http.Response { return reply(r, 500, "") }
	always := func(_ []string, n int) string { return fmt.Sprintf(`"next":"%d"`, n+1) }
	last := func(end string) func([]string, int) string {
		return func(pages []string, n int) string {
			if n+1 < len(pages) {
				return fmt.Sprintf(`"next":"%d"`, n+1)
			}
			return end
		}
	}
	itself := func(pages []string, n int) string { return fmt.Sprintf(`"next":"%d"`, max(1, min(n+1, len(pages)-1))) }
	url := func(form string) func([]string, int) string {
		return func(pages []string, n int) string {
			if n+1 < len(pages) {
				return fmt.Sprintf(form, n+1)
			}
			return `"next":null`
		}
	}
	more := func(with func([]string, int) string, yes, no string) func([]string, int) string {
		return func(pages []string, n int) string {
			says := no
			if n+1 < len(pages) {
				says = yes
			}
			return strings.Trim(with(pages, n)+`,"has_more":`+says, ",")
		}
	}
	none := func([]string, int) string { return "" }
	byNumber := fds.Dialect{Paging: fds.Paging{PageParameter: "page"}}
	inMember := fds.Dialect{ListMember: "list", Paging: fds.Paging{PageParameter: "page"}}
	withMore := fds.Dialect{ListMember: "list", Paging: fds.Paging{PageParameter: "page", MoreMember: "has_more"}}
	byOffset := fds.Dialect{Paging: fds.Paging{OffsetParameter: "skip", SizeParameter: "limit", Size: 3}}
	byCursor := fds.Dialect{ListMember: "list", Paging: fds.Paging{CursorParameter: "page", CursorMember: "next"}}
	cursorWithMore := fds.Dialect{ListMember: "list", Paging: fds.Paging{CursorParameter: "page", CursorMember: "next", MoreMember: "has_more"}}
	byURL := func(member string) fds.Dialect {
		return fds.Dialect{ListMember: "list", Paging: fds.Paging{NextMember: member}}
	}
	sized := byNumber
	sized.Paging.SizeParameter, sized.Paging.Size = "size", 3
	link := func(target func(pages []string, n int) string) answers {
		return func(r *http.Request, pages []string, n int) *http.Response {
			return reply(r, 200, page(pages, n), "Link", target(pages, n))
		}
	}
	for name, test := range map[string]struct {
		dialect fds.Dialect
		answer  answers
		skip    []int // lists of so many items that nothing can tell the end of
	}{
		"numbers, an empty page":             {byNumber, refusing(200, "[]"), nil},
		"numbers, null":                      {byNumber, refusing(200, "null"), nil},
		"numbers, 404":                       {byNumber, refusing(404, ""), nil},
		"numbers, 404 as an error object":    {byNumber, refusing(200, `{"status":404,"message":"not_found"}`), nil},
		"numbers, 404 as a page":             {byNumber, refusing(404, "<html>"), nil},
		"numbers, 400":                       {byNumber, refusing(400, `{"status":400,"message":"invalid_parameter"}`), nil},
		"numbers, 422":                       {byNumber, refusing(422, `{"detail":"page out of range"}`), nil},
		"numbers, 416":                       {byNumber, refusing(416, ""), nil},
		"numbers, 204":                       {byNumber, refusing(204, ""), nil},
		"numbers, an empty list in a member": {inMember, wrappedNumbers(`{"list":[]}`), nil},
		"numbers, null in a member":          {inMember, wrappedNumbers(`{"list":null}`), nil},
		"numbers, no member":                 {inMember, wrappedNumbers(`{}`), nil},
		"numbers, no member but counts":      {inMember, wrappedNumbers(`{"total":7,"page":{"number":4,"size":3},"_links":{"self":{"href":"/x"}},"last":true,"items":[]}`), nil},
		"numbers, the last page again": {sized, func(r *http.Request, pages []string, n int) *http.Response {
			return reply(r, 200, page(pages, max(0, min(n, len(pages)-1))))
		}, []int{3}},
		"numbers, has_more":         {withMore, cursor(more(none, "true", "false"), unasked), nil},
		"numbers, has_more as text": {withMore, cursor(more(none, `"True"`, `"False"`), unasked), nil},
		"numbers, has_more as 1":    {withMore, cursor(more(none, `1`, `0`), unasked), nil},
		"numbers, has_more missing": {withMore, wrappedNumbers(`{"list":[]}`), nil},
		"offsets, an empty page":    {byOffset, refusing(200, "[]"), nil},
		"offsets, 404":              {byOffset, refusing(404, ""), nil},
		"offsets, 416":              {byOffset, refusing(416, ""), nil},
		"offsets, 400":              {byOffset, refusing(400, `{"status":400,"message":"invalid_parameter"}`), nil},
		"cursors, no member":        {byCursor, cursor(last(""), unasked), nil},
		"cursors, null":             {byCursor, cursor(last(`"next":null`), unasked), nil},
		"cursors, an empty text":    {byCursor, cursor(last(`"next":""`), unasked), nil},
		"cursors, false":            {byCursor, cursor(last(`"next":false`), unasked), nil},
		"cursors, 0":                {byCursor, cursor(last(`"next":0`), unasked), nil},
		"cursors, to itself":        {byCursor, cursor(itself, unasked), []int{0, 1, 2, 3}},
		"cursors, to an empty page that leads to itself": {byCursor, cursor(always, func(r *http.Request) *http.Response {
			return reply(r, 200, wrapped("[]", fmt.Sprintf(`"next":%q`, r.URL.Query().Get("page"))))
		}), nil},
		"cursors, to an empty page that leads back": {byCursor, cursor(always, func(r *http.Request) *http.Response {
			n, _ := strconv.Atoi(r.URL.Query().Get("page"))
			return reply(r, 200, wrapped("[]", fmt.Sprintf(`"next":"%d"`, max(n-1, 1))))
		}), nil},
		"cursors, to an empty page": {byCursor, cursor(always, func(r *http.Request) *http.Response { return reply(r, 200, `{"list":[]}`) }), nil},
		"cursors, to empty pages without end": {byCursor, cursor(always, func(r *http.Request) *http.Response {
			return reply(r, 200, wrapped("[]", fmt.Sprintf(`"next":"%sx"`, r.URL.Query().Get("page"))))
		}), nil},
		"cursors, to 404":              {byCursor, cursor(always, func(r *http.Request) *http.Response { return reply(r, 404, "") }), nil},
		"cursors, to 204":              {byCursor, cursor(always, func(r *http.Request) *http.Response { return reply(r, 204, "") }), nil},
		"cursors, has_more beside one": {cursorWithMore, cursor(more(always, "true", "false"), unasked), nil},
		"URLs, relative":               {byURL("next"), cursor(url(`"next":"?page=%d"`), unasked), nil},
		"URLs, absolute paths":         {byURL("next"), cursor(url(`"next":"/fds/v2/spaces?page=%d"`), unasked), nil},
		"URLs, over http":              {byURL("next"), cursor(url(`"next":"http://api.example.com/fds/v2/spaces?page=%d"`), unasked), nil},
		"URLs, over http on 80":        {byURL("next"), cursor(url(`"next":"http://API.example.com:80/fds/v2/spaces?page=%d"`), unasked), nil},
		"URLs, as OData":               {byURL("@odata.nextLink"), cursor(url(`"@odata.nextLink":"https://api.example.com/fds/v2/spaces?page=%d"`), unasked), nil},
		"URLs, as JSON:API":            {byURL("links.next"), cursor(url(`"links":{"self":"x","next":"?page=%d"}`), unasked), nil},
		"URLs, JSON:API objects":       {byURL("links.next"), cursor(url(`"links":{"next":{"href":"?page=%d","meta":{}}}`), unasked), nil},
		"URLs, as HAL":                 {byURL("_links.next.href"), cursor(url(`"_links":{"self":{"href":"x"},"next":{"href":"?page=%d"}}`), unasked), nil},
		"URLs, HAL's link":             {byURL("_links.next"), cursor(url(`"_links":{"next":{"href":"?page=%d","templated":false}}`), unasked), nil},
		"URLs, the text null": {byURL("next"), cursor(func(p []string, n int) string {
			return strings.Replace(url(`"next":"?page=%d"`)(p, n), "null", `"null"`, 1)
		}, unasked), nil},
		"URLs, an empty text": {byURL("next"), cursor(func(p []string, n int) string {
			return strings.Replace(url(`"next":"?page=%d"`)(p, n), "null", `" "`, 1)
		}, unasked), nil},
		"URLs, to 404": {byURL("next"), cursor(func(_ []string, n int) string { return fmt.Sprintf(`"next":"?page=%d"`, n+1) }, func(r *http.Request) *http.Response { return reply(r, 404, "") }), nil},
		"links, to itself": {fds.Dialect{}, link(func(pages []string, n int) string {
			if n+1 >= len(pages) {
				return map[bool]string{true: "<?page=" + strconv.Itoa(n) + ">; rel=next", false: "<https://API.example.com:443/fds/v2/spaces#x>; rel=next"}[n > 0]
			}
			return fmt.Sprintf("<http://api.example.com/fds/v2/spaces?page=%d>; rel=next", n+1)
		}), nil},
		"links, to an empty page": {fds.Dialect{}, link(func(pages []string, n int) string { return fmt.Sprintf("<?page=%d>; rel=next", min(n+1, len(pages))) }), nil},
	} {
		for n := range 8 {
			if slices.Contains(test.skip, n) {
				continue
			}
			asked := 0
			client := offline(t, script(func(r *http.Request) (*http.Response, error) {
				asked++
				at := r.URL.Query()
				page, _ := strconv.Atoi(strings.TrimRight(at.Get("page"), "x"))
				if skip := at.Get("skip"); skip != "" {
					items, _ := strconv.Atoi(skip)
					page = (items + 2) / 3
				}
				return test.answer(r, pagesOf(n, 3), page), nil
			}), func(c *pull.Config) { c.Dialect, c.MaxPages = test.dialect, 100 })
			got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
			if !slices.Equal(got, numbers(n)) || err != nil || asked > 16 {
				t.Errorf("%s: %d items: %q in %d requests, %v", name, n, got, asked, err)
			}
		}
	}
}

// TestAttackNoListEndsBeforeItsLastPage: what could be a list's end is one only where
// nothing says that there is more. What is left out silently nobody misses.
func TestAttackNoListEndsBeforeItsLastPage(t *testing.T) {
	byNumber := fds.Dialect{ListMember: "list", Paging: fds.Paging{PageParameter: "page", MoreMember: "more"}}
	byOffset := fds.Dialect{ListMember: "list", Paging: fds.Paging{OffsetParameter: "page", MoreMember: "more"}}
	byCursor := fds.Dialect{ListMember: "list", Paging: fds.Paging{CursorParameter: "page", CursorMember: "next", MoreMember: "more"}}
	byURL := fds.Dialect{ListMember: "list", Paging: fds.Paging{NextMember: "next"}}
	answer := func(text string) func(*http.Request) *http.Response {
		return func(r *http.Request) *http.Response { return reply(r, 200, text) }
	}
	refusal := func(status int, text string) func(*http.Request) *http.Response {
		return func(r *http.Request) *http.Response { return reply(r, status, text) }
	}
	const a, b, c = `{"list":[{"n":0},{"n":1}],"next":"1"}`, `{"list":[{"n":2},{"n":3}],"next":"2"}`, `{"list":[{"n":4}],"next":"2"}`
	for name, test := range map[string]struct {
		dialect fds.Dialect
		answers []func(*http.Request) *http.Response
		items   int
		class   error
	}{
		"a 404 where more was promised":              {byNumber, []func(*http.Request) *http.Response{answer(`{"list":[{"n":0}],"more":true}`), refusal(404, "")}, 1, fds.ErrNotFound},
		"a 400 where more was promised":              {byNumber, []func(*http.Request) *http.Response{answer(`{"list":[{"n":0}],"more":true}`), refusal(400, "")}, 1, fds.ErrInvalidParameter},
		"a page again where more was promised":       {byNumber, []func(*http.Request) *http.Response{answer(a), answer(b), answer(`{"list":[{"n":2},{"n":3}],"more":true}`)}, 4, fds.ErrAnswer},
		"an empty page where more is promised":       {byNumber, []func(*http.Request) *http.Response{answer(`{"list":[],"more":true}`), answer(`{"list":[{"n":0}],"more":false}`)}, 1, nil},
		"an empty offset where more is promised":     {byOffset, []func(*http.Request) *http.Response{answer(`{"list":[],"more":true}`)}, 0, fds.ErrAnswer},
		"no cursor where more is promised":           {byCursor, []func(*http.Request) *http.Response{answer(`{"list":[{"n":0}],"more":true}`)}, 1, fds.ErrAnswer},
		"the same cursor where more is promised":     {byCursor, []func(*http.Request) *http.Response{answer(a), answer(`{"list":[{"n":2}],"next":"1","more":true}`)}, 3, fds.ErrAnswer},
		"more is no answer":                          {byCursor, []func(*http.Request) *http.Response{answer(`{"list":[{"n":0}],"more":"maybe"}`)}, 1, fds.ErrAnswer},
		"the first page again":                       {byNumber, []func(*http.Request) *http.Response{answer(a), answer(a)}, 2, fds.ErrAnswer},
		"the first page again, to itself":            {byCursor, []func(*http.Request) *http.Response{answer(a), answer(a)}, 4, fds.ErrAnswer},
		"back to a page further back":                {byCursor, []func(*http.Request) *http.Response{answer(a), answer(b), answer(`{"list":[{"n":4}],"next":"1"}`)}, 5, fds.ErrAnswer},
		"to itself":                                  {byCursor, []func(*http.Request) *http.Response{answer(a), answer(b), answer(c)}, 5, nil},
		"empty pages before others":                  {byCursor, []func(*http.Request) *http.Response{answer(`{"list":[],"next":"1"}`), answer(`{"list":[],"next":"2"}`), answer(`{"list":null,"next":"3"}`), answer(`{"next":"4"}`), answer(`{"list":[{"n":0}]}`)}, 1, nil},
		"a refused cursor":                           {byCursor, []func(*http.Request) *http.Response{answer(a), refusal(400, "")}, 2, fds.ErrInvalidParameter},
		"a cursor that is gone":                      {byCursor, []func(*http.Request) *http.Response{answer(a), refusal(410, "")}, 2, nil},
		"a page that needs another token":            {byNumber, []func(*http.Request) *http.Response{answer(a), refusal(401, "")}, 2, fds.ErrUnauthorized},
		"a page that is away":                        {byNumber, []func(*http.Request) *http.Response{answer(a), refusal(503, "")}, 2, fds.ErrUnavailable},
		"a window":                                   {byNumber, []func(*http.Request) *http.Response{answer(a), refusal(400, `{"status":400,"message":"Result window is too large"}`)}, 2, fds.ErrInvalidParameter},
		"a search that is cut":                       {byNumber, []func(*http.Request) *http.Response{answer(a), refusal(422, `{"status":422,"message":"Only the first 1000 results are available"}`)}, 2, nil},
		"the first page is unknown":                  {byNumber, []func(*http.Request) *http.Response{refusal(404, "")}, 0, fds.ErrNotFound},
		"the first page is refused":                  {byNumber, []func(*http.Request) *http.Response{refusal(400, "")}, 0, fds.ErrInvalidParameter},
		"the list is not there, but something is":    {byURL, []func(*http.Request) *http.Response{answer(`{"data":[{"n":0}]}`)}, 0, fds.ErrAnswer},
		"the list is an object of items":             {byURL, []func(*http.Request) *http.Response{answer(`{"devices":{"D1":{"n":0}}}`)}, 0, fds.ErrAnswer},
		"the list is not there, but an error is":     {byURL, []func(*http.Request) *http.Response{answer(`{"error":"overload"}`)}, 0, fds.ErrAnswer},
		"the list is not there, but a code":          {byURL, []func(*http.Request) *http.Response{answer(`{"code":17}`)}, 0, fds.ErrAnswer},
		"a page without a list, but with an error":   {byURL, []func(*http.Request) *http.Response{answer(`{"list":[{"n":0}],"next":"?1"}`), answer(`{"error":{"code":1}}`)}, 1, fds.ErrAnswer},
		"a next page that is a number":               {byURL, []func(*http.Request) *http.Response{answer(`{"list":[{"n":0}],"next":1}`)}, 1, fds.ErrAnswer},
		"a next page in an object without one":       {byURL, []func(*http.Request) *http.Response{answer(`{"list":[{"n":0}],"next":{"href":7}}`)}, 1, fds.ErrAnswer},
		"a next page elsewhere":                      {byURL, []func(*http.Request) *http.Response{answer(`{"list":[{"n":0}],"next":"https://evil.example/"}`)}, 1, fds.ErrAnswer},
		"a next page elsewhere over http":            {byURL, []func(*http.Request) *http.Response{answer(`{"list":[{"n":0}],"next":"http://evil.example/"}`)}, 1, fds.ErrAnswer},
		"a next page on another port":                {byURL, []func(*http.Request) *http.Response{answer(`{"list":[{"n":0}],"next":"http://api.example.com:8080/"}`)}, 1, fds.ErrAnswer},
		"a next page by another scheme":              {byURL, []func(*http.Request) *http.Response{answer(`{"list":[{"n":0}],"next":"ftp://api.example.com/"}`)}, 1, fds.ErrAnswer},
		"a next page with a user":                    {byURL, []func(*http.Request) *http.Response{answer(`{"list":[{"n":0}],"next":"https://u:p@api.example.com/"}`)}, 1, fds.ErrAnswer},
		"a plain list where a next page is a member": {byURL, []func(*http.Request) *http.Response{answer(`[{"n":0}]`)}, 1, fds.ErrAnswer},
	} {
		asked := 0
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			if r.URL.Scheme != "https" || r.URL.Host != "api.example.com" {
				t.Errorf("%s: asked %s", name, r.URL)
			}
			asked++
			return test.answers[min(asked, len(test.answers))-1](r), nil
		}), func(c *pull.Config) { c.Dialect, c.MaxPages = test.dialect, 100 })
		got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		isUnclassed := name == "a cursor that is gone" || name == "a search that is cut" // an error of no class
		if len(got) != test.items || !isOnly(err, test.class) || (err == nil) != (test.class == nil && !isUnclassed) || asked > 20 {
			t.Errorf("%s: %q in %d requests, %v", name, got, asked, err)
		}
	}
}

func TestAListThatManyEmptyPagesEndIsLogged(t *testing.T) {
	asked := 0
	var log bytes.Buffer
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		asked++
		return reply(r, 200, fmt.Sprintf(`{"list":[],"paging":{"next":"%d"}}`, asked)), nil
	}), cursors, func(c *pull.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
	if len(got) > 0 || err != nil || asked != 10 || strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), "MoreMember") {
		t.Errorf("%d items in %d requests, %v, %s", len(got), asked, err, &log)
	}
}

func TestAListBelowTheRootIsFound(t *testing.T) {
	for body, want := range map[string]int{
		`{"_embedded":{"devices":[{"n":0},{"n":1}]},"_links":{"next":{"href":"?page=1"}}}`: 3,
		`{"_links":{},"_embedded":{"x":[1],"devices":[{"n":0}]},"page":{"size":20}}`:       1,
		`{"_embedded.devices":[{"n":0}]}`:                                                  1,
		`{"_embedded":{"devices":[]}}`:                                                     0,
		`{"_embedded":{"devices":null}}`:                                                   0,
		`{"_embedded":{}}`:                                                                 0,
		`{"_embedded":null}`:                                                               0,
		`{"_embedded":[]}`:                                                                 0,
		`{"_links":{"self":{"href":"/fds/v2/spaces"}},"page":{"size":20,"totalElements":0}}`: 0,
		`{"_embedded":{"others":[{"n":0}]}}`:                                                 -1,
		`{"_embedded":[{"n":0}]}`:                                                            -1,
		`{"_embedded":{"devices":[{"n":0}]},"_embedded":{"devices":[{"n":1}]}}`:              -1,
	} {
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			if r.URL.RawQuery != "" {
				return reply(r, 200, `{"_embedded":{"devices":[{"n":2}]}}`), nil
			}
			return reply(r, 200, body), nil
		}), func(c *pull.Config) {
			c.Dialect = fds.Dialect{ListMember: "_embedded.devices", Paging: fds.Paging{NextMember: "_links.next.href"}}
		})
		got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		if (err != nil) != (want < 0) || err == nil && len(got) != want {
			t.Errorf("%s: %q, %v", body, got, err)
		}
	}
	// The list and what leads on may stand in one object.
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		if r.URL.RawQuery != "" {
			return reply(r, 200, `{"data":{"next":null,"items":[{"n":1}]}}`), nil
		}
		return reply(r, 200, `{"data":{"items":[{"n":0}],"next":"a"}}`), nil
	}), func(c *pull.Config) {
		c.Dialect = fds.Dialect{ListMember: "data.items", Paging: fds.Paging{CursorParameter: "after", CursorMember: "data.next"}}
	})
	if got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{})); !slices.Equal(got, numbers(2)) || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWhatIsHeldBackOfAPageComesWhenThePageIsCutShort(t *testing.T) {
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		return reply(r, 200, []string{`[{"n":0},{"n":1}]`, `[{"n":0},{"n`}[pageOf(r)]), nil
	}), func(c *pull.Config) { c.Dialect.Paging.PageParameter = "page" })
	got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
	if len(got) != 3 || !isOnly(err, fds.ErrUnavailable) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestAttackAPageThatBeginsAsTheOneBeforeIsNotHeldAsAWhole: what is held back for the loop
// is bounded.
func TestAttackAPageThatBeginsAsTheOneBeforeIsNotHeldAsAWhole(t *testing.T) {
	const items, size = 30, 100 << 10
	var page bytes.Buffer
	if err := devices(&page, items, size); err != nil {
		t.Fatal(err)
	}
	seen := make(chan struct{})
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		switch pageOf(r) {
		case 0:
			return reply(r, 200, page.String()), nil
		case 1:
			begin, end := page.String()[:page.Len()/2], page.String()[page.Len()/2:]
			return stream(r, 200, io.MultiReader(strings.NewReader(begin), &awaiting{seen, strings.NewReader(end)})), nil
		}
		return reply(r, 200, `[]`), nil
	}), func(c *pull.Config) {
		c.Dialect.Paging.PageParameter = "page"
		c.Dialect.Paging.SizeParameter, c.Dialect.Paging.Size = "size", 1000
	})
	n, err := inTime(t, func() (n int, err error) {
		for _, err := range client.Items(t.Context(), pull.Spaces, pull.Query{}) {
			if err != nil {
				return n, err
			}
			if n++; n == items+1 {
				close(seen)
			}
		}
		return n, nil
	})
	if n != 2*items || err != nil {
		t.Errorf("%d items, %v", n, err)
	}
}

// awaiting is a body that goes on when the channel is closed.
type awaiting struct {
	begins <-chan struct{}
	io.Reader
}

func (a *awaiting) Read(p []byte) (int, error) {
	<-a.begins
	return a.Reader.Read(p)
}

// TestAPageThatComesAfterARefusedOneIsRead: no entity tag stands for what was not there.
func TestAPageThatComesAfterARefusedOneIsRead(t *testing.T) {
	pages := 2
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		n := pageOf(r)
		switch tag := fmt.Sprintf(`"%d"`, n); {
		case n >= pages:
			return reply(r, 404, ""), nil
		case r.Header.Get("If-None-Match") == tag:
			return reply(r, 304, "", "ETag", tag), nil
		default:
			return reply(r, 200, fmt.Sprintf(`[{"n":%d}]`, n), "ETag", tag), nil
		}
	}), func(c *pull.Config) { c.Dialect.Paging.PageParameter = "page" })
	query := pull.Query{Version: new(pull.Version)}
	for ; pages < 4; pages++ {
		if got, err := raws(client.Items(t.Context(), pull.Spaces, query)); !slices.Equal(got, numbers(pages)) || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// The newest come first, in pages of two, and two more come while they are read: the third
// page is as the second.
func TestAttackAPageThatIsAsTheOneBeforeIsNotTheEndWhereOthersFollow(t *testing.T) {
	for name, dialect := range map[string]fds.Dialect{
		"numbers":           {Paging: fds.Paging{PageParameter: "page"}},
		"numbers of a size": {Paging: fds.Paging{PageParameter: "page", SizeParameter: "size", Size: 2}},
		"offsets":           {Paging: fds.Paging{OffsetParameter: "skip"}},
	} {
		all, asked := []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, 0
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			from := 2 * pageOf(r)
			if skip := r.URL.Query().Get("skip"); skip != "" {
				_, _ = fmt.Sscan(skip, &from)
			}
			if asked++; asked == 3 {
				all = append([]int{11, 10}, all...)
			}
			var items []string
			for i := min(from, len(all)); i < min(from+2, len(all)); i++ {
				items = append(items, fmt.Sprintf(`{"n":%d}`, all[i]))
			}
			return reply(r, 200, "["+strings.Join(items, ",")+"]"), nil
		}), func(c *pull.Config) { c.Dialect, c.MaxPages = dialect, 100 })
		got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		if len(got) != 10 || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
