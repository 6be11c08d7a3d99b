package pull_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
)

func TestAChangeOnAnyPageGivesTheWholeList(t *testing.T) {
	for name, paging := range map[string]fdstest.Paging{
		"one answer": {},
		"numbers":    {PageParameter: "page", Size: 5},
		"cursors":    {CursorParameter: "after", CursorMember: "paging.next", Size: 5},
		"links":      {LinkHeader: true, Size: 5},
	} {
		for _, compress := range []bool{false, true} {
			w := newWay(fdstest.WebAPI{ListMember: "items", Paging: paging, Compress: compress}, nil, 0)
			p, config := filled(t, w, 13)
			client := newClient(t, config)
			var known pull.Version
			read := func() (int, error) {
				got, err := raws(client.Items(t.Context(), pull.Specifications, pull.Query{Version: &known}))
				return len(got), err
			}
			if n, err := read(); n != 13 || err != nil {
				t.Fatalf("%s: %d, %v", name, n, err)
			}
			before := p.Requests(fdstest.APIEndpoint)
			if n, err := read(); n != 0 || !errors.Is(err, fds.ErrUnchanged) || !isOnly(err, nil) || pull.Retryable(err) {
				t.Errorf("%s: %d, %v", name, n, err)
			}
			for _, r := range p.APIRequests()[before:] {
				if r.Status != http.StatusNotModified {
					t.Errorf("%s: ?%s was answered %d", name, r.Query, r.Status)
				}
			}
			for _, changed := range []int{0, 6, 12} { // on each page of three
				item := fmt.Sprintf(`{"device_id":"D_%04d","generic":{"device_type":"dispenser"},"changed":true}`, changed)
				if err := p.AddDevice(p.Owners()[0], []byte(item)); err != nil {
					t.Fatal(err)
				}
				if n, err := read(); n != 13 || err != nil {
					t.Errorf("%s: with %d changed: %d, %v", name, changed, n, err)
				}
				if _, err := read(); !errors.Is(err, fds.ErrUnchanged) {
					t.Errorf("%s: afterwards: %v", name, err)
				}
			}
		}
	}
}

// tagged answers three pages with entity tags, as long as nothing is said otherwise.
// The reader of a loop that ended early may still ask it.
type tagged struct {
	mu    sync.Mutex
	asked []string // page and entity tag
	odd   map[string]func(*http.Request) *http.Response
	state string
}

func (a *tagged) RoundTrip(r *http.Request) (*http.Response, error) {
	page, known := r.URL.Query().Get("after"), r.Header.Get("If-None-Match")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, page+" "+known)
	if odd := a.odd[page]; odd != nil {
		if response := odd(r); response != nil {
			return response, nil
		}
	}
	tag := `W/"` + page + a.state + `"`
	if known == tag {
		return reply(r, 304, "", "ETag", tag), nil
	}
	next := map[string]string{"": "b", "b": "c", "c": ""}[page]
	return reply(r, 200, fmt.Sprintf(`{"list":[{},{}],"paging":{"next":%q}}`, next), "ETag", tag), nil
}

// become changes the state, and which pages answer oddly.
func (a *tagged) become(state string, odd map[string]func(*http.Request) *http.Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state, a.odd = state, odd
}

func TestAVersionStaysAsItWasUnlessAListWasReadToItsEnd(t *testing.T) {
	provider := &tagged{state: "1"}
	client := offline(t, provider, cursors)
	var known pull.Version
	read := func(query pull.Query) (int, error) {
		query.Version = &known
		got, err := raws(client.Items(t.Context(), pull.Spaces, query))
		return len(got), err
	}
	if n, err := read(pull.Query{}); n != 6 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	unchanged := func(after string) {
		t.Helper()
		provider.become("1", nil)
		if n, err := read(pull.Query{}); n != 0 || !errors.Is(err, fds.ErrUnchanged) {
			t.Errorf("after %s: %d items, %v", after, n, err)
		}
	}
	unchanged("the first")

	provider.become("2", nil)
	for range client.Items(t.Context(), pull.Spaces, pull.Query{Version: &known}) {
		break
	}
	unchanged("a loop that ended early")

	provider.become("2", map[string]func(*http.Request) *http.Response{"c": func(r *http.Request) *http.Response { return reply(r, 500, "") }})
	if n, err := read(pull.Query{}); n != 4 || !isOnly(err, fds.ErrUnavailable) {
		t.Errorf("%d items, %v", n, err)
	}
	unchanged("a failure")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	provider.become("2", nil)
	for range client.Items(ctx, pull.Spaces, pull.Query{Version: &known}) {
		cancel()
	}
	unchanged("a context's end")

	if n, err := read(pull.Query{IDs: []string{"x"}}); n != 6 || err != nil {
		t.Errorf("another query: %d items, %v", n, err)
	}
	if n, err := read(pull.Query{}); n != 6 || err != nil { // it knows the other one now
		t.Errorf("the first query again: %d items, %v", n, err)
	}
}

// A provider forgets cursors; that is no reason to fail for ever.
// Of a longer list a Version would know the first pages alone.
func TestAListOfManyPagesIsReadWheneverItIsAskedFor(t *testing.T) {
	for _, test := range []struct {
		pages int
		known bool
	}{{100, true}, {101, false}, {150, false}} {
		var version pull.Version
		last, want := "old", 2*test.pages-1 // the last page is not full
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			n, _ := strconv.Atoi(r.URL.RawQuery)
			tag := fmt.Sprintf(`"%d"`, n)
			if n == test.pages-1 {
				tag = `"` + last + `"`
			}
			if r.Header.Get("If-None-Match") == tag {
				return reply(r, 304, ``), nil
			}
			if n == test.pages-1 {
				return reply(r, 200, `[{}]`, "ETag", tag), nil
			}
			return reply(r, 200, `[{},{}]`, "ETag", tag, "Link", fmt.Sprintf(`<?%d>; rel=next`, n+1)), nil
		}))
		read := func() (int, error) {
			got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{Version: &version}))
			return len(got), err
		}
		if n, err := read(); n != want || err != nil {
			t.Fatalf("%d of %d items, %v", n, want, err)
		}
		if n, err := read(); test.known && (n != 0 || !errors.Is(err, fds.ErrUnchanged)) || !test.known && (n != want || err != nil) {
			t.Errorf("again %d of %d items, %v", n, want, err)
		}
		last = "new"
		if n, err := read(); n != want || err != nil {
			t.Errorf("after a change of the last page %d of %d items, %v", n, want, err)
		}
	}
}

func TestAPageThatLapsedIsAChange(t *testing.T) {
	for name, status := range map[string]int{"unknown": 404, "gone": 410, "refused": 400, "not implemented": 204, "elsewhere": 302, "unasked": 206} {
		provider := &tagged{state: "1"}
		client := offline(t, provider, cursors)
		query := pull.Query{Version: new(pull.Version)}
		if got, err := raws(client.Items(t.Context(), pull.Spaces, query)); len(got) != 6 || err != nil {
			t.Fatalf("%d, %v", len(got), err)
		}
		provider.odd = map[string]func(*http.Request) *http.Response{"b": func(r *http.Request) *http.Response {
			if r.Header.Get("If-None-Match") != "" {
				return reply(r, status, "", "Location", "https://evil.example/")
			}
			return nil
		}}
		if got, err := raws(client.Items(t.Context(), pull.Spaces, query)); len(got) != 6 || err != nil {
			t.Errorf("%s: %d items, %v", name, len(got), err)
		}
	}
	for name, status := range map[string]int{"unauthorized": 401, "busy": 429, "down": 503} {
		provider := &tagged{state: "1"}
		client := offline(t, provider, cursors)
		query := pull.Query{Version: new(pull.Version)}
		_, _ = raws(client.Items(t.Context(), pull.Spaces, query))
		provider.asked = nil
		provider.odd = map[string]func(*http.Request) *http.Response{"b": func(r *http.Request) *http.Response { return reply(r, status, "") }}
		if got, err := raws(client.Items(t.Context(), pull.Spaces, query)); len(got) != 0 || err == nil || len(provider.asked) != 2 {
			t.Errorf("%s: %d items in %q, %v", name, len(got), provider.asked, err)
		}
	}
}

func TestALoopThatHasEndedReadsNoVersion(t *testing.T) {
	provider := &tagged{state: "1"}
	client := offline(t, provider, cursors)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 { // the race detector sees it when the reader begins late
		var known pull.Version
		if got, err := raws(client.Items(ended, pull.Spaces, pull.Query{Version: &known})); len(got) != 0 || !errors.Is(err, context.Canceled) {
			t.Fatalf("%q, %v", got, err)
		}
		if got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{Version: &known})); len(got) != 6 || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestAttackOnlyAnEntityTagThatCanBeSentBackIsKept(t *testing.T) {
	for tag, kept := range map[string]bool{
		`"a"`: true, `W/"a"`: true, `""`: true, `"ä"`: true, `"a,b"`: true,
		``: false, `a`: false, `"a`: false, `a"`: false, `"`: false, `w/"a"`: false, `"a" "b"`: false, "\"a\tb\"": false, "\"a\x7f\"": false,
		`"` + strings.Repeat("x", 254) + `"`: true, `"` + strings.Repeat("x", 255) + `"`: false,
	} {
		sent := ""
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			if sent = r.Header.Get("If-None-Match"); sent != "" {
				return reply(r, 304, ""), nil
			}
			response := reply(r, 200, `[{}]`)
			response.Header["Etag"] = []string{tag}
			return response, nil
		}), func(c *pull.Config) { c.Dialect = fds.Dialect{} })
		query := pull.Query{Version: new(pull.Version)}
		_, _ = raws(client.Items(t.Context(), pull.Spaces, query))
		_, err := raws(client.Items(t.Context(), pull.Spaces, query))
		if kept && (sent != tag || !errors.Is(err, fds.ErrUnchanged)) || !kept && (sent != "" || err != nil) {
			t.Errorf("%.40q: sent back as %.40q, %v", tag, sent, err)
		}
	}
}

// A provider whose entity tags are made of the body alone, with two items a page.
func TestAPageAfterTheLastOneIsAChange(t *testing.T) {
	for name, c := range map[string]struct {
		before, after int
		header        bool // an answer without content has the Link header as well
	}{
		"that was half full":                       {3, 4, false},
		"that was full":                            {4, 5, false},
		"that was full and the only one":           {2, 3, true},
		"that was full, and a link with each":      {4, 5, true},
		"that was half full, and a link with each": {3, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			items := c.before
			client := offline(t, script(func(r *http.Request) (*http.Response, error) {
				page, _ := strconv.Atoi(r.URL.Query().Get("at"))
				var list []string
				for i := 2 * page; i < min(2*page+2, items); i++ {
					list = append(list, fmt.Sprintf(`{"n":%d}`, i))
				}
				body := "[" + strings.Join(list, ",") + "]"
				var header []string
				if 2*page+2 < items {
					header = []string{"Link", fmt.Sprintf(`</fds/v2/events?at=%d>; rel="next"`, page+1)}
				}
				tag := fmt.Sprintf("%q", strings.ReplaceAll(body, `"`, ""))
				if r.Header.Get("If-None-Match") != tag {
					return reply(r, 200, body, append(header, "ETag", tag)...), nil
				}
				if !c.header {
					header = nil
				}
				return reply(r, 304, "", append(header, "ETag", tag)...), nil
			}))
			query := pull.Query{Version: new(pull.Version)}
			for range 2 {
				got, err := raws(client.Items(t.Context(), pull.Events, query))
				if len(got) != items && !errors.Is(err, fds.ErrUnchanged) {
					t.Fatalf("%d items, %v", len(got), err)
				}
			}
			items = c.after
			if got, err := raws(client.Items(t.Context(), pull.Events, query)); len(got) != items || err != nil {
				t.Errorf("%d items of %d, %v", len(got), items, err)
			}
		})
	}
}
