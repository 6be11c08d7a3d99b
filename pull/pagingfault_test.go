package pull_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
)

// cursors has pages by a cursor below the root.
func cursors(c *pull.Config) {
	c.Dialect.ListMember = "list"
	c.Dialect.Paging = fds.Paging{CursorParameter: "after", CursorMember: "paging.next"}
}

func TestAttackAPageThatLeadsToItselfEndsTheList(t *testing.T) {
	for name, paging := range map[string]fdstest.Paging{
		"cursor": {CursorParameter: "after", CursorMember: "paging.next", Size: 3},
		"link":   {LinkHeader: true, Size: 3},
	} {
		w := newWay(fdstest.WebAPI{ListMember: "items", Paging: paging}, nil, 0)
		p, config := filled(t, w, 7)
		config.MaxPages = 100 // so that a list without end fails soon
		off := p.Inject(fdstest.NextPageIsItself(fdstest.APIEndpoint))
		got, err := raws(newClient(t, config).Items(t.Context(), pull.Specifications, pull.Query{}))
		// The first page is asked for without the parameter that it names itself by.
		if len(got) > 6 || !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), "leads back") || p.Requests(fdstest.APIEndpoint) > 2 {
			t.Errorf("%s: %d items in %d requests, %v", name, len(got), p.Requests(fdstest.APIEndpoint), err)
		}
		off()
		if got, err := raws(newClient(t, config).Items(t.Context(), pull.Specifications, pull.Query{})); len(got) != 7 || err != nil {
			t.Errorf("%s: afterwards %d items, %v", name, len(got), err)
		}
	}
}

func TestAttackACircleOfPagesEndsTheList(t *testing.T) {
	for name, test := range map[string]struct {
		dialect func(*pull.Config)
		answer  func(r *http.Request) *http.Response
	}{
		"cursors": {cursors, func(r *http.Request) *http.Response {
			next := map[string]string{"": "a", "a": "b", "b": "c", "c": "a"}[r.URL.Query().Get("after")]
			return reply(r, 200, fmt.Sprintf(`{"list":[{}],"paging":{"next":%q}}`, next))
		}},
		"links": {func(*pull.Config) {}, func(r *http.Request) *http.Response {
			next := map[string]string{"": "?n=a", "n=a": "./spaces?n=b", "n=b": "https://API.example.com:443/fds/v2/spaces?n=c", "n=c": "#again"}[r.URL.RawQuery]
			return reply(r, 200, `{"list":[{}]}`, "Link", "<"+next+">; rel=next")
		}},
	} {
		asked := 0
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			asked++
			return test.answer(r), nil
		}), test.dialect, func(c *pull.Config) { c.Dialect.ListMember, c.MaxPages = "list", 100 })
		got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		if len(got) != 4 || asked != 4 || !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), "leads back") {
			t.Errorf("%s: %d items in %d requests, %v", name, len(got), asked, err)
		}
	}
}

func TestAttackPagesWithoutEndEndAtTheBound(t *testing.T) {
	for name, test := range map[string]struct {
		dialect func(*pull.Config)
		answer  func(r *http.Request, n int) *http.Response
	}{
		"cursors": {cursors, func(r *http.Request, n int) *http.Response {
			return reply(r, 200, fmt.Sprintf(`{"list":[{}],"paging":{"next":%d}}`, n))
		}},
		"links": {func(*pull.Config) {}, func(r *http.Request, n int) *http.Response {
			return reply(r, 200, `[{}]`, "Link", fmt.Sprintf(`<?n=%d>; rel="next"`, n))
		}},
		"numbers": {numbered, func(r *http.Request, n int) *http.Response {
			return reply(r, 200, fmt.Sprintf(`[{"n":%d}]`, n))
		}},
	} {
		for _, bound := range []int{0, 1, 25} {
			asked := 0
			client := offline(t, script(func(r *http.Request) (*http.Response, error) {
				if asked++; asked > pull.DefaultMaxPages+100 {
					return nil, errors.New("there is no end")
				}
				return test.answer(r, asked), nil
			}), test.dialect, func(c *pull.Config) { c.MaxPages = bound })
			_, err := pull.Collect(client.Spaces(t.Context(), pull.Query{}))
			if bound == 0 {
				bound = 10_000
			}
			if asked != bound || !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), fmt.Sprintf("over %d pages; pull.Settings.MaxPages", bound)) {
				t.Errorf("%s: %d requests, %v", name, asked, err)
			}
		}
	}
}

func TestAttackManyPagesWithLongAddressesTakeBoundedMemory(t *testing.T) {
	const pages = 10_000
	long, asked := strings.Repeat("x", 6<<10), 0
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		if asked++; asked > pages+100 {
			return nil, errors.New("there is no end")
		}
		return reply(r, 200, `[{}]`, "Link", fmt.Sprintf(`<?n=%d&%s>; rel="next"`, asked, long), "ETag", fmt.Sprintf(`"%d"`, asked)), nil
	}))
	before, held, n := heap(), int64(0), 0
	for _, err := range client.Items(t.Context(), pull.Spaces, pull.Query{Version: new(pull.Version)}) {
		if err != nil {
			continue
		}
		if n++; n == pages {
			held = heap() - before
		}
	}
	if n != pages || held > 8<<20 {
		t.Fatalf("%d MB are held of %d pages", held>>20, n)
	}
}

func TestAttackTheSamePageUnderEveryNumberEndsTheList(t *testing.T) {
	for name, test := range map[string]struct {
		dialect fds.Dialect
		pages   func(n int) string
		items   int
		fails   bool
	}{
		"the parameter is not known":  {fds.Dialect{Paging: fds.Paging{PageParameter: "page"}}, func(int) string { return `[{"n":1},{"n":2}]` }, 2, true},
		"the last page is repeated":   {fds.Dialect{Paging: fds.Paging{PageParameter: "page"}}, func(n int) string { return fmt.Sprintf(`[{"n":%d}]`, min(n, 3)) }, 4, false},
		"the pages differ in a space": {fds.Dialect{Paging: fds.Paging{PageParameter: "page"}}, func(n int) string { return []string{`[{"n":1}]`, `[{"n": 1}]`, `[]`}[n] }, 2, false},
		"one item more":               {fds.Dialect{Paging: fds.Paging{PageParameter: "page"}}, func(n int) string { return []string{`[{},{}]`, `[{},{},{}]`, `[]`}[n] }, 5, false},
	} {
		asked := 0
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			asked++
			return reply(r, 200, test.pages(pageOf(r))), nil
		}), func(c *pull.Config) { c.Dialect, c.MaxPages = test.dialect, 100 })
		got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		if len(got) != test.items || (err != nil) != test.fails || test.fails && (!isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), "Dialect.Paging")) {
			t.Errorf("%s: %d items in %d requests, %v", name, len(got), asked, err)
		}
	}
}

func TestAttackNoLinkLeadsTheTokenElsewhere(t *testing.T) {
	elsewhere, plain := traps(t)
	for _, test := range []struct{ link, want string }{
		{elsewhere.URL + "/fds/v2/spaces", elsewhere.URL},
		{strings.TrimPrefix(elsewhere.URL, "https:"), elsewhere.URL},
		{plain.URL, plain.URL},
		{"http://HOST:1/fds/v2/spaces", "usable"},
		{"http://localhost:PORT/fds/v2/spaces", "http://"},
		{"http://127.0.0.1/fds/v2/spaces", "http://127.0.0.1"},
		{"https://localhost:PORT/", "https://localhost:"},
		{"https://127.0.0.1.evil.example:PORT/", "https://127.0.0.1.evil.example"},
		{"https://user:" + secret + "@HOST/", "usable"},
		{"//user@HOST/", "usable"},
		{"ftp://HOST/", "ftp://"},
		{"javascript:alert(1)", "javascript:"},
		{"https:opaque", "https://"},
		{"https:///x", "https://"},
		{"https://127.0.0.1:99999999999/", "99999999999"},
		{"https://%zz/", "usable"},
		{"/%zz", "usable"},
		{"https://" + strings.Repeat("a", 4000) + "/", "https://aaaa"},
		{"?" + strings.Repeat("a", 8<<10), "longer than 8192 bytes"},
	} {
		a := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, port, _ := strings.Cut(r.Host, ":")
			link := strings.NewReplacer("HOST", r.Host, "PORT", port).Replace(test.link)
			w.Header()["Link"] = []string{"<" + link + `>; rel="next"`}
			answer(`[{}]`)(w, r)
		})
		// All the servers have one certificate, so that only the rule keeps the token here.
		got, err := raws(a.client(t).Items(t.Context(), pull.Spaces, pull.Query{}))
		if len(got) != 1 || !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), secret) || len(err.Error()) > 500 || a.authorized != 1 {
			t.Errorf("%.80q: %d items, %v, %d requests", test.link, len(got), err, a.authorized)
		}
	}
}

func TestALinkIsRelativeToWhereRedirectsLed(t *testing.T) {
	var asked []string
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.Path+"?"+r.URL.RawQuery)
		switch len(asked) {
		case 1:
			return reply(r, 307, ``, "Location", "/moved/list"), nil
		case 2:
			return reply(r, 200, `[{}]`, "Link", `<?n=2>; rel="next"`), nil
		}
		return reply(r, 200, `[{}]`), nil
	}))
	got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
	if len(got) != 2 || err != nil || !slices.Equal(asked, []string{"/fds/v2/spaces?", "/moved/list?", "/moved/list?n=2"}) {
		t.Fatalf("%d items, %v, asked for %q", len(got), err, asked)
	}
}

func TestALinkThatIsMalformedOrAboutSomethingElseIsNoNextPage(t *testing.T) {
	for _, test := range []struct {
		links []string
		next  string // the query of what is asked next; "": nothing
	}{
		{nil, ""},
		{[]string{`<?a>; rel="next"`}, "a"},
		{[]string{`<?a>;rel=NEXT`}, "a"},
		{[]string{` , ,<?a>;;rel = "prev  next"; title="x;y,\"z"`}, "a"},
		{[]string{`<?a>; rel=prev, <?b>; rel=next`}, "b"},
		{[]string{`<?a>; rel=prev`, `<?b>; title; rel=next`}, "b"},
		{[]string{`<?a,b;c>; rel="next"`}, "a,b;c"},
		{[]string{`< ?a >; rel="next"`}, "a"},
		{[]string{`<?a>; rel=prev; rel=next`}, ""},
		{[]string{`<?a>; rel="next"; anchor="#x"`}, ""},
		{[]string{`<?a>; rel="next`}, ""},
		{[]string{`<?a>; rel="\`}, ""},
		{[]string{`<?a>`}, ""},
		{[]string{`<?a`}, ""},
		{[]string{`?a; rel=next`}, ""},
		{[]string{`<>; rel=next`, `;;;===,,,<<<>>>`}, ""},
		{[]string{`<?a>; nextrel="next"`}, ""},
		{[]string{`<?a>; rel="nextish next-1"`}, ""},
		{[]string{`junk <?a>; rel=next`}, ""},
		{[]string{`<?a> junk; rel=next`}, ""},
		{[]string{strings.Repeat(`<?a>; rel=prev,`, 4000) + `<?b>; rel=next`}, "b"},
		{[]string{"<?a>" + strings.Repeat(`;`, 60_000) + "rel=next"}, "a"},
	} {
		var asked []string
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			response := reply(r, 200, `[{}]`)
			if len(asked) == 0 {
				response.Header["Link"] = test.links
			}
			asked = append(asked, r.URL.RawQuery)
			return response, nil
		}))
		_, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		want := []string{""}
		if test.next != "" {
			want = append(want, test.next)
		}
		if err != nil || !slices.Equal(asked, want) {
			t.Errorf("%.80q: asked for %q, want %q, %v", test.links, asked, want, err)
		}
	}
}

// A plain array has no room for a cursor: it is no page of which one could say that it is the last.
func TestAPlainArrayWhereCursorsAreNamedDoesNotLookLikeTheWholeList(t *testing.T) {
	for name, test := range map[string]struct {
		pages []string
		items int
		asked int
	}{
		"the first page":    {[]string{`[{},{}]`}, 2, 1},
		"without items":     {[]string{`[]`}, 0, 1},
		"a page after that": {[]string{`{"list":[{}],"paging":{"next":"a"}}`, ` [{},{},{}]`}, 4, 2},
	} {
		n := 0
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			n++
			return reply(r, 200, test.pages[n-1]), nil
		}), cursors)
		got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		if len(got) != test.items || n != test.asked || !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), `"paging.next"`) || !strings.Contains(err.Error(), "fds.Paging.CursorMember") {
			t.Errorf("%s: %d items in %d requests, %v", name, len(got), n, err)
		}
	}
	// Where nothing says that there is a cursor, an array is a list whether or not one in an object
	// is expected.
	for name, dialect := range map[string]fds.Dialect{
		"a list member": {ListMember: "list"},
		"numbers":       {ListMember: "list", Paging: fds.Paging{PageParameter: "page"}},
	} {
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			return reply(r, 200, []string{`[{}]`, `[]`}[pageOf(r)]), nil
		}), func(c *pull.Config) { c.Dialect = dialect })
		if got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{})); len(got) != 1 || err != nil {
			t.Errorf("%s: %d items, %v", name, len(got), err)
		}
	}
}

func TestACursorOfAWrongKindIsAnErrorAndNotTheEnd(t *testing.T) {
	for _, test := range []struct {
		member, answer string
		next           string // the cursor that is sent; "": none
		fails          string // in the error
	}{
		{"next", `{"list":[{}],"next":"a b&c"}`, "a b&c", ""},
		{"next", `{"next":"a","list":[{}]}`, "a", ""},
		{"next", `{"list":[{}],"next":1e400}`, "1e400", ""},
		{"next", `{"list":[{}],"next":12345678901234567890123}`, "12345678901234567890123", ""},
		{"next", `{"list":[{}],"next":"a","next":"b"}`, "b", ""},
		{"next", `{"list":[{}],"next":null}`, "", ""},
		{"next", `{"list":[{}],"next":""}`, "", ""},
		{"next", `{"list":[{}]}`, "", ""},
		{"next", `{"list":[{}],"next":"a` + "\xff" + `"}`, "", "not valid UTF-8"},
		{"next", `{"list":[{}],"next":true}`, "", "neither a string nor a number"},
		{"next", `{"list":[{}],"next":{"a":"` + secret + `"}}`, "", "neither a string nor a number"},
		{"next", `{"list":[{}],"next":["a"]}`, "", "neither a string nor a number"},
		{"next", `{"list":[{}],"next":"` + strings.Repeat(secret, 1000) + `"}`, "", "longer than 2048 bytes"},
		{"next", `{"list":[{}],"next":` + strings.Repeat("9", 3000) + `}`, "", "longer than 2048 bytes"},
		{"a.b.c", `{"list":[{}],"a":{"b":{"c":"x"}}}`, "x", ""},
		{"a.b.c", `{"a":{"b":{"c":7}},"list":[{}]}`, "7", ""},
		{"a.b.c", `{"list":[{}],"a":{"b":{"c":null}}}`, "", ""},
		{"a.b.c", `{"list":[{}],"a":{"b":{}}}`, "", ""},
		{"a.b.c", `{"list":[{}],"a":{"b":null}}`, "", ""},
		{"a.b.c", `{"list":[{}],"a":null}`, "", ""},
		{"a.b.c", `{"list":[{}],"a":"` + secret + `"}`, "", "no object"},
		{"a.b.c", `{"list":[{}],"a":[]}`, "", ""}, // how some languages write an object without members
		{"a.b.c", `{"list":[{}],"a":[1]}`, "", "no object"},
		{"a.b.c", `{"list":[{}],"a":{"b":"` + secret + `"}}`, "", "no object"},
		{"a.b.c", `{"list":[{}],"a":{"b":[{"c":"x"}]}}`, "", "no object"},
		{"a.b.c", `{"list":[{}],"a":{"b":{"c":[]}}}`, "", ""},
		{"a.b.c", `{"list":[{}],"a.b.c":"x","a":7}`, "x", ""}, // a name may have dots
		{"a.b.c", `{"list":[{}],"a":{"b.c":"x"}}`, "x", ""},
		{"next", `{"list":[{}],"next":false}`, "", ""},
		{"next", `{"list":[{}],"next":0}`, "", ""},
		{"next", `{"list":[{}],"next":"0"}`, "", ""},
		{"next", `{"list":[{}],"next":-1}`, "", ""},
		{"next", `{"list":[{}],"next":"null"}`, "", ""},
		{"next", `{"list":[{}],"next":"undefined"}`, "", ""},
		{"next", `{"list":[{}],"next":"None"}`, "", ""},
		{"next", `{"list":[{}],"next":{}}`, "", ""},
	} {
		var asked []string
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.Query().Get("after"))
			if len(asked) > 1 {
				return reply(r, 200, `{"list":[]}`), nil
			}
			return reply(r, 200, test.answer), nil
		}), func(c *pull.Config) {
			c.Dialect.ListMember, c.Dialect.Paging = "list", fds.Paging{CursorParameter: "after", CursorMember: test.member}
		})
		got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		want := []string{""}
		if test.next != "" {
			want = append(want, test.next)
		}
		if len(got) != 1 || !slices.Equal(asked, want) {
			t.Errorf("%.80s: %d items, asked with %.80q, %v", test.answer, len(got), asked, err)
		}
		if test.fails == "" {
			if err != nil {
				t.Errorf("%.80s: %v", test.answer, err)
			}
		} else if !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), test.fails) || strings.Contains(err.Error(), secret) {
			t.Errorf("%.80s: %v, want %q in it", test.answer, err, test.fails)
		}
	}
}

// A gateway whose routes are being changed answers so for a moment; what ends a list for
// good says it twice.
func TestAPageThatIsNotFoundOnceEndsNoList(t *testing.T) {
	for name, test := range map[string]struct {
		dialect func(*pull.Config)
		page    func(r *http.Request) (n int)
		answer  func(r *http.Request, n int) *http.Response
	}{
		"by number": {func(c *pull.Config) { c.Dialect.Paging = fds.Paging{PageParameter: "page"} },
			func(r *http.Request) (n int) { _, _ = fmt.Sscan(r.URL.Query().Get("page"), &n); return n },
			func(r *http.Request, n int) *http.Response { return reply(r, 200, fmt.Sprintf(`[{"n":%d}]`, n)) }},
		"by links": {func(*pull.Config) {},
			func(r *http.Request) (n int) { _, _ = fmt.Sscan(r.URL.Query().Get("n"), &n); return n },
			func(r *http.Request, n int) *http.Response {
				return reply(r, 200, fmt.Sprintf(`[{"n":%d}]`, n), "Link", fmt.Sprintf("<?n=%d>; rel=next", n+1))
			}},
		"by cursors": {cursors,
			func(r *http.Request) (n int) { _, _ = fmt.Sscan(r.URL.Query().Get("after"), &n); return n },
			func(r *http.Request, n int) *http.Response {
				return reply(r, 200, fmt.Sprintf(`{"list":[{"n":%d}],"paging":{"next":"%d"}}`, n, n+1))
			}},
	} {
		for lost := 1; lost < 4; lost++ {
			failed := false
			client := offline(t, script(func(r *http.Request) (*http.Response, error) {
				switch n := test.page(r); {
				case n >= 4, n == lost && !failed:
					failed = failed || n == lost
					return reply(r, 404, ""), nil
				default:
					return test.answer(r, n), nil
				}
			}), test.dialect)
			got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
			if err != nil || len(got) != 4 || !failed {
				t.Errorf("%s, page %d: %d items of 4, %v", name, lost, len(got), err)
			}
		}
	}
}
