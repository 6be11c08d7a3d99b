package pull_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
)

// way is how a provider splits its lists, and what tells a client so.
type way struct {
	api     fdstest.WebAPI
	span    *fdstest.TimeRange
	dialect fds.Dialect
}

// newWay returns the dialect for a provider of that kind.
func newWay(api fdstest.WebAPI, span *fdstest.TimeRange, size int) way {
	d := fds.Dialect{
		LanguageParameter: api.LanguageParameter, TagParameter: api.TagParameter, IDsSeparator: api.IDsSeparator, ListMember: api.ListMember,
		Paging: fds.Paging{
			PageParameter: api.Paging.PageParameter, FirstPage: api.Paging.FirstPage,
			CursorParameter: api.Paging.CursorParameter, CursorMember: api.Paging.CursorMember,
		},
	}
	if span != nil {
		d.FromParameter, d.ToParameter, d.TimeLayout = span.From, span.To, span.Layout
	}
	if api.Paging.SizeParameter != "" {
		d.Paging.SizeParameter, d.Paging.Size = api.Paging.SizeParameter, size
	}
	return way{api, span, d}
}

// spoken notes the protocol and the compression of answers.
type spoken struct {
	http.RoundTripper
	protocols    []string
	uncompressed bool
}

func (s *spoken) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := s.RoundTripper.RoundTrip(r)
	if err == nil {
		s.protocols = append(s.protocols, response.Proto)
		s.uncompressed = s.uncompressed || response.Uncompressed
	}
	return response, err
}

var noon = time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)

// filled is a provider with n devices D_0000, ... and as many events, a minute apart.
func filled(t *testing.T, w way, n int) (*fdstest.Provider, pull.Config) {
	t.Helper()
	p, config, _ := provider(t, fdstest.Options{Devices: -1, WebAPI: w.api, TimeRange: w.span})
	config.Dialect = w.dialect
	for i := range n {
		if err := p.AddDevice(p.Owners()[0], fmt.Appendf(nil, `{"device_id":"D_%04d","generic":{"device_type":"dispenser"}}`, i)); err != nil {
			t.Fatal(err)
		}
		at := noon.Add(time.Duration(i) * time.Minute).Format(time.RFC3339)
		if err := p.AddEvent(p.Owners()[0], fmt.Appendf(nil, `{"message_id":"E_%04d","generic":{"date_time":"%s","device_id":"D_%04[1]d"}}`, i, at)); err != nil {
			t.Fatal(err)
		}
	}
	return p, config
}

func ids(prefix string, from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("%s_%04d", prefix, i))
	}
	return all
}

// checkPaging reads lists of n items in every way of asking, and returns the number of requests for
// the whole list.
func checkPaging(t *testing.T, w way, n int, http2 bool) int {
	t.Helper()
	p, config := filled(t, w, n)
	config.Transport.(*http.Transport).ForceAttemptHTTP2 = http2
	heard := &spoken{RoundTripper: config.Transport}
	config.Transport = heard
	client := newClient(t, config)
	check := func(what string, want, got []string, err error) {
		t.Helper()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %d of %d, %v\n%.300q", what, len(got), len(want), err, got)
		}
	}
	specifications := func(query pull.Query) (got []string, err error) {
		list, err := pull.Collect(client.Specifications(t.Context(), query))
		for _, device := range list {
			got = append(got, device.ID())
		}
		return got, err
	}
	events := func(query pull.Query) (got []string, err error) {
		list, err := pull.Collect(client.Events(t.Context(), query))
		for _, message := range list {
			got = append(got, message.ID())
		}
		return got, err
	}

	got, err := specifications(pull.Query{Language: "de-CH"})
	requests := p.Requests(fdstest.APIEndpoint)
	check("all", ids("D", 0, n), got, err)
	for _, r := range p.APIRequests() {
		if values, _ := url.ParseQuery(r.Query); w.dialect.LanguageParameter != "" && values.Get(w.dialect.LanguageParameter) != "de-CH" {
			t.Errorf("a page was asked for without its language: %q", r.Query)
		}
	}

	// Every second one, and as many that nobody has, so that the IDs take several URLs.
	var some, ask []string
	for i := 0; i < n; i += 2 {
		some = append(some, fmt.Sprintf("D_%04d", i))
		ask = append(ask, some[len(some)-1], strings.Repeat("x", 200)+"-"+fmt.Sprint(i))
	}
	before := p.Requests(fdstest.APIEndpoint)
	got, err = specifications(pull.Query{IDs: ask})
	check("split over requests", some, got, err)
	if n > 100 && p.Requests(fdstest.APIEndpoint)-before < 3 {
		t.Error("the IDs were not split over requests")
	}

	from, to := 0, n
	query := pull.Query{}
	if w.dialect.FromParameter != "" {
		from, query.From = n/4, noon.Add(time.Duration(n/4)*time.Minute)
	}
	if w.dialect.ToParameter != "" {
		to, query.To = n/2, noon.Add(time.Duration(n/2)*time.Minute)
	}
	got, err = events(query)
	if to < n && len(got) == to-from+1 { // whether the end belongs to it is the provider's
		to++
	}
	check("within a time", ids("E", from, to), got, err)

	wanted := "HTTP/1.1"
	if http2 {
		wanted = "HTTP/2.0"
	}
	if slices.ContainsFunc(heard.protocols, func(p string) bool { return p != wanted }) {
		t.Errorf("%q was spoken, want %s", slices.Compact(heard.protocols), wanted)
	}
	if heard.uncompressed != w.api.Compress {
		t.Errorf("compressed: %v", heard.uncompressed)
	}
	for _, r := range p.APIRequests() {
		if r.Status != http.StatusOK || !r.Authorization {
			t.Errorf("%s?%s was answered %d", r.Path, r.Query, r.Status)
		}
	}
	return requests
}

func TestEveryItemOfAListInPagesComesOnceAndInOrder(t *testing.T) {
	t.Parallel()
	span := &fdstest.TimeRange{From: "since", To: "until", Layout: time.DateTime}
	for name, test := range map[string]struct {
		api      fdstest.WebAPI
		span     *fdstest.TimeRange
		n, size  int
		requests int
	}{
		"one answer":                    {api: fdstest.WebAPI{}, n: 250, requests: 1},
		"numbers from 0":                {api: fdstest.WebAPI{Paging: fdstest.Paging{PageParameter: "page"}}, n: 250, requests: 4},
		"numbers from 1":                {api: fdstest.WebAPI{Paging: fdstest.Paging{PageParameter: "p", FirstPage: 1, Size: 50}}, n: 250, requests: 6},
		"numbers and a list member":     {api: fdstest.WebAPI{ListMember: "the.items", Compress: true, Paging: fdstest.Paging{PageParameter: "p", Size: 60}}, n: 250, requests: 6},
		"cursors":                       {api: fdstest.WebAPI{ListMember: "items", Paging: fdstest.Paging{CursorParameter: "after", CursorMember: "next"}}, n: 250, requests: 3},
		"cursors below the root":        {api: fdstest.WebAPI{ListMember: "items", Compress: true, Paging: fdstest.Paging{CursorParameter: "after", CursorMember: "page.links.next", Size: 33}}, n: 250, requests: 8},
		"cursors, one page":             {api: fdstest.WebAPI{ListMember: "items", Paging: fdstest.Paging{CursorParameter: "after", CursorMember: "next"}}, n: 7, requests: 1},
		"cursors, whole pages":          {api: fdstest.WebAPI{ListMember: "items", Paging: fdstest.Paging{CursorParameter: "after", CursorMember: "next", Size: 50}}, n: 100, requests: 2},
		"links, relative and absolute":  {api: fdstest.WebAPI{Paging: fdstest.Paging{LinkHeader: true, Size: 40}}, n: 250, requests: 7},
		"links in gzip and a member":    {api: fdstest.WebAPI{ListMember: "items", Compress: true, Paging: fdstest.Paging{LinkHeader: true, Size: 40}}, n: 250, requests: 7},
		"links, of pages with numbers":  {api: fdstest.WebAPI{Paging: fdstest.Paging{LinkHeader: true, PageParameter: "page", Size: 40}}, n: 250, requests: 8},
		"a size":                        {api: fdstest.WebAPI{Paging: fdstest.Paging{LinkHeader: true, SizeParameter: "size"}}, n: 250, size: 125, requests: 2},
		"a size of numbered pages":      {api: fdstest.WebAPI{Paging: fdstest.Paging{PageParameter: "page", SizeParameter: "size"}}, n: 250, size: 240, requests: 3},
		"names of everything":           {api: fdstest.WebAPI{IDsSeparator: "||", LanguageParameter: "lang", Paging: fdstest.Paging{PageParameter: "page", SizeParameter: "size"}}, span: span, n: 250, size: 30, requests: 10},
		"names that have to be escaped": {api: fdstest.WebAPI{IDsSeparator: "&", LanguageParameter: "a b&c", ListMember: "ä\"", Paging: fdstest.Paging{CursorParameter: "=?#", CursorMember: "\\.\u2028"}}, span: &fdstest.TimeRange{From: "+", To: "%41"}, n: 250, requests: 3},
	} {
		t.Run(name, func(t *testing.T) {
			for _, http2 := range []bool{true, false} {
				if got := checkPaging(t, newWay(test.api, test.span, test.size), test.n, http2); got != test.requests {
					t.Errorf("%d requests, want %d", got, test.requests)
				}
			}
		})
	}
}

// drawWay draws how a provider is asked, with names of its own.
func drawWay(random *rand.Rand) (way, int) {
	taken := map[string]bool{"ids": true, "next": true}
	name := func() string {
		for {
			var text strings.Builder
			for range 1 + random.IntN(8) {
				text.WriteString([]string{"a", "b", "Z", "_", "-", "7", "ä", " ", "&", "=", "+", "%", "#", "[", "]", "\"", "\\", "/", "?", ";", ":"}[random.IntN(21)])
			}
			if !taken[text.String()] {
				taken[text.String()] = true
				return text.String()
			}
		}
	}
	maybe := func() string {
		if random.IntN(2) == 0 {
			return ""
		}
		return name()
	}
	api := fdstest.WebAPI{
		IDsSeparator:      []string{"", ",", ";", "|", "||", " ", "&", "+", "..", ", "}[random.IntN(10)],
		ListMember:        maybe(),
		LanguageParameter: maybe(),
		TagParameter:      maybe(),
		Compress:          random.IntN(2) == 0,
	}
	size := 1 + random.IntN(60)
	switch random.IntN(4) {
	case 0:
		api.Paging = fdstest.Paging{PageParameter: name(), FirstPage: random.IntN(3)}
	case 1:
		api.ListMember = name()
		api.Paging = fdstest.Paging{CursorParameter: name(), CursorMember: strings.Join([]string{name(), name(), name()}[:1+random.IntN(3)], ".")}
	case 2:
		api.Paging = fdstest.Paging{LinkHeader: true}
	default:
		api.Paging = fdstest.Paging{LinkHeader: true, PageParameter: name(), FirstPage: random.IntN(2)}
	}
	api.Paging.Size = size
	if random.IntN(2) == 0 {
		api.Paging.SizeParameter = name()
	}
	var span *fdstest.TimeRange
	if random.IntN(2) == 0 {
		span = &fdstest.TimeRange{From: maybe(), To: maybe(), Layout: []string{"", time.DateTime, time.RFC3339Nano}[random.IntN(3)]}
	} else {
		span = &fdstest.TimeRange{} // the provider's default names could be drawn for others
	}
	return newWay(api, span, size+random.IntN(30)), random.IntN(130)
}

func TestAnyDialectIsReadAsTheProviderWritesIt(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 15 {
		w, n := drawWay(random)
		checkPaging(t, w, n, random.IntN(2) == 0)
		if t.Failed() {
			t.Fatalf("seed %d: %d items in %+v of %+v", seed, n, w.dialect, w.api)
		}
	}
}
