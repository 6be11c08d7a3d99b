package fdstest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

const sevenDevices = "A B C D E F G"

func TestPagesHaveNumbersFromTheFirstOn(t *testing.T) {
	for _, first := range []int{0, 1, 7} {
		r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{
			Paging: fdstest.Paging{PageParameter: "page", FirstPage: first, SizeParameter: "limit", Size: 3},
		}}, strings.Fields(sevenDevices)...)
		for query, want := range map[string]string{
			"":                                                     "A B C",
			"page=" + fmt.Sprint(first):                            "A B C",
			"page=" + fmt.Sprint(first+1):                          "D E F",
			"page=" + fmt.Sprint(first+2):                          "G",
			"page=" + fmt.Sprint(first+3):                          "",
			"page=9223372036854775807":                             "",
			"page=" + fmt.Sprint(first+1) + "&limit=2":             "C D",
			"page=" + fmt.Sprint(first+1) + "&limit=7":             "",
			"limit=10000":                                          sevenDevices,
			"ids=B,D,F,G&limit=2&page=" + fmt.Sprint(first+1):      "F G",
			"limit=1&page=" + fmt.Sprint(first+6) + "&ids=A,B,C,D": "",
		} {
			ans := r.read("specifications?" + query)
			if got := idsOf(json.RawMessage(ans.body)); got != want || ans.status != 200 {
				t.Errorf("first page %d, %s: %d %s, want %s", first, query, ans.status, got, want)
			}
			if link := ans.header.Get("Link"); link != "" {
				t.Errorf("first page %d, %s: Link %s", first, query, link)
			}
		}
		for _, query := range []string{"page=", "page=x", "page=-1", "page=" + fmt.Sprint(first-1), "page=9223372036854775808", "limit=0", "limit=-1", "limit=10001", "limit=x"} {
			r.read("specifications?"+query).refused(t, query, 400, "invalid_parameter_value")
		}
		r.read("specifications?cursor=x").refused(t, "a cursor", 400, "invalid_parameter")
		r.read("specifications?page=1&page=2").refused(t, "two pages", 400, "duplicate_parameter")
	}
}

func TestCursorsLeadThroughTheListInTheMemberThatTheOptionsName(t *testing.T) {
	for _, member := range []string{"next_cursor", "paging.next", "a.b.c"} {
		r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{
			ListMember: "items",
			Paging:     fdstest.Paging{CursorParameter: "cursor", CursorMember: member, SizeParameter: "limit", Size: 3},
		}}, strings.Fields(sevenDevices)...)
		// next reads a page, and returns the cursor and whether there is one.
		next := func(query string) (ids, cursor string, has, listFirst bool) {
			t.Helper()
			ans := r.read("specifications?" + query)
			var answer map[string]json.RawMessage
			if err := json.Unmarshal([]byte(ans.body), &answer); err != nil || ans.status != 200 {
				t.Fatalf("%s: %d %s", query, ans.status, ans.body)
			}
			ids = idsOf(answer["items"])
			raw, listFirst := json.RawMessage(ans.body), strings.HasPrefix(ans.body, `{"items":`)
			for _, name := range strings.Split(member, ".") {
				var object map[string]json.RawMessage
				if json.Unmarshal(raw, &object) != nil {
					return ids, "", false, listFirst
				}
				raw = object[name]
			}
			return ids, cursor, raw != nil && json.Unmarshal(raw, &cursor) == nil, listFirst
		}
		var pages []string
		ids, cursor, _, listFirst := next("")
		pages = append(pages, ids)
		for range 5 {
			if cursor == "" {
				break
			}
			if url.QueryEscape(cursor) == cursor || listFirst != (len(pages)%2 == 1) {
				t.Errorf("page %d: cursor %s, the list in front: %v", len(pages), cursor, listFirst)
			}
			ids, cursor, _, listFirst = next("cursor=" + url.QueryEscape(cursor))
			pages = append(pages, ids)
		}
		if want := []string{"A B C", "D E F", "G"}; !slices.Equal(pages, want) {
			t.Errorf("%s: %q, want %q", member, pages, want)
		}
		if _, _, has, _ := next("limit=7"); has {
			t.Errorf("%s: a list of one page has a cursor", member)
		}
		_, second, _, _ := next("limit=5")
		if ids, cursor, has, _ := next("limit=5&cursor=" + url.QueryEscape(second)); ids != "F G" || cursor != "" || !has {
			t.Errorf("%s: the last of several pages: %s, cursor %q, %v", member, ids, cursor, has)
		}
		for _, bad := range []string{"", "x", "3", "Mw==", second, url.QueryEscape(second + "=")} { // second is not escaped
			r.read("specifications?cursor="+bad).refused(t, "cursor "+bad, 400, "invalid_parameter_value")
		}
	}
}

func TestLinksLeadThroughTheList(t *testing.T) {
	form := regexp.MustCompile(`^<([^<>"]+)>; rel="next"$`)
	for name, paging := range map[string]fdstest.Paging{
		"alone":        {LinkHeader: true, Size: 2, SizeParameter: "limit"},
		"with numbers": {LinkHeader: true, Size: 2, SizeParameter: "limit", PageParameter: "page", FirstPage: 1},
		"with cursors": {LinkHeader: true, Size: 2, SizeParameter: "limit", CursorParameter: "after", CursorMember: "next"},
	} {
		webAPI := fdstest.WebAPI{LanguageParameter: "lang", Paging: paging}
		if paging.CursorMember != "" {
			webAPI.ListMember = "items"
		}
		r := newReader(t, fdstest.Options{WebAPI: webAPI}, strings.Fields(sevenDevices)...)
		for start, want := range map[string][]string{
			"lang=de":                            {"A B", "C D", "E F", "G"},
			"limit=3&lang=de":                    {"A B C", "D E F", "G"},
			"lang=de&ids=A,D,G":                  {"A D", "G"},
			"lang=de&limit=7":                    {sevenDevices},
			"ids=unknown%2C%26lang%3Den&lang=de": {""},
		} {
			base, _ := url.Parse(r.p.APIURL() + "/fds/v2/specifications?" + start)
			var pages []string
			for base != nil && len(pages) < 10 {
				ans := r.read(base.String())
				list := json.RawMessage(ans.body)
				if webAPI.ListMember != "" {
					var answer map[string]json.RawMessage
					if err := json.Unmarshal(list, &answer); err != nil {
						t.Fatalf("%s: %s", base, ans.body)
					}
					list = answer["items"]
				}
				pages = append(pages, idsOf(list))
				if ans.header.Get("Content-Language") != "de" {
					t.Errorf("%s: %s has lost its other parameters", name, base)
				}
				link := form.FindStringSubmatch(ans.header.Get("Link"))
				if link == nil {
					if got := ans.header.Values("Link"); got != nil {
						t.Errorf("%s: Link %q", name, got)
					}
					break
				}
				reference, err := url.Parse(link[1])
				if err != nil || reference.IsAbs() != (len(pages)%2 == 0) {
					t.Fatalf("%s: page %d leads to %s, %v", name, len(pages), link[1], err)
				}
				base = base.ResolveReference(reference)
			}
			if !slices.Equal(pages, want) {
				t.Errorf("%s, %s: %q, want %q", name, start, pages, want)
			}
		}
	}
}

func TestPagesHaveAHundredItemsUnlessTheOptionsSayOtherwise(t *testing.T) {
	r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{Paging: fdstest.Paging{PageParameter: "page"}}})
	for i := range 101 {
		r.addDevice(fmt.Sprint(i))
	}
	if n, m := len(r.read("specifications").items(t)), len(r.read("specifications?page=1").items(t)); n != 100 || m != 1 {
		t.Errorf("%d and %d items", n, m)
	}
	r.read("specifications?limit=1").refused(t, "no such parameter", 400, "invalid_parameter")
	for _, list := range []string{"statuses", "statistics", "diagnostics", "spaces", "events", "event_specifications", "tag"} {
		if ans := r.read(list + "?page=3"); ans.body != "[]" || ans.status != 200 {
			t.Errorf("%s is not paged: %d %s", list, ans.status, ans.body)
		}
	}
}

func TestTagsArePagedLikeAllElse(t *testing.T) {
	r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{TagParameter: "id", Paging: fdstest.Paging{PageParameter: "page", Size: 2}}})
	for _, id := range []string{"a", "b", "c"} {
		r.send("POST", "tag", `{"tag_id":"`+id+`","generic":{}}`)
	}
	for query, want := range map[string]string{"": "a b", "?page=1": "c", "?page=2": ""} {
		if got := idsOf(json.RawMessage(r.read("tag" + query).body)); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	if got := r.read("tag?id=c&page=5").json(t)["tag_id"]; got != "c" {
		t.Errorf("a single tag has no pages: %v", got)
	}
}

func TestWhatIsAddedAtTheEndComesOnALaterPage(t *testing.T) {
	r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{Paging: fdstest.Paging{LinkHeader: true, Size: 2}}}, "A", "B", "C")
	link, _, _ := strings.Cut(strings.TrimPrefix(r.read("specifications").header.Get("Link"), "<"), ">")
	r.addDevice("D")
	r.addDevice("E")
	ans := r.read("specifications" + link)
	if got := idsOf(json.RawMessage(ans.body)); got != "C D" || ans.header.Get("Link") == "" {
		t.Errorf("%s, Link %q", got, ans.header.Get("Link"))
	}
}

func TestDialectsThatNoProviderCanSpeakAreExplained(t *testing.T) {
	for want, webAPI := range map[string]fdstest.WebAPI{
		`IDsSeparator is "-"`:                         {IDsSeparator: "-"},
		`IDsSeparator is " or "`:                      {IDsSeparator: " or "},
		`LanguageParameter uses the parameter "ids"`:  {LanguageParameter: "ids"},
		`as does TimeRange.From`:                      {TagParameter: "from"},
		`as does WebAPI.LanguageParameter`:            {LanguageParameter: "x", Paging: fdstest.Paging{LinkHeader: true, SizeParameter: "x"}},
		`Paging.LinkHeader uses the parameter "next"`: {TagParameter: "next", Paging: fdstest.Paging{LinkHeader: true}},
		`numbers or cursors`:                          {ListMember: "l", Paging: fdstest.Paging{PageParameter: "p", CursorParameter: "c", CursorMember: "n"}},
		`set both or neither`:                         {ListMember: "l", Paging: fdstest.Paging{CursorParameter: "c"}},
		`one of CursorParameter and CursorMember`:     {ListMember: "l", Paging: fdstest.Paging{CursorMember: "c", LinkHeader: true}},
		`set WebAPI.ListMember too`:                   {Paging: fdstest.Paging{CursorParameter: "c", CursorMember: "n"}},
		`name another member`:                         {ListMember: "l", Paging: fdstest.Paging{CursorParameter: "c", CursorMember: "l.next"}},
		`between and after dots`:                      {ListMember: "l", Paging: fdstest.Paging{CursorParameter: "c", CursorMember: "paging."}},
		`FirstPage is 1`:                              {Paging: fdstest.Paging{LinkHeader: true, FirstPage: 1}},
		`FirstPage is -1`:                             {Paging: fdstest.Paging{PageParameter: "p", FirstPage: -1}},
		`Size is -1`:                                  {Paging: fdstest.Paging{PageParameter: "p", Size: -1}},
		`Size is 10001`:                               {Paging: fdstest.Paging{PageParameter: "p", Size: 10001}},
		`a size but no pages`:                         {Paging: fdstest.Paging{SizeParameter: "limit"}},
	} {
		p, err := fdstest.Start(fdstest.Options{WebAPI: webAPI})
		if err == nil {
			p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", webAPI, err, want)
		}
	}
	p, err := fdstest.Start(fdstest.Options{TimeRange: &fdstest.TimeRange{}, WebAPI: fdstest.WebAPI{LanguageParameter: "from", Paging: fdstest.Paging{PageParameter: "next", LinkHeader: true}}})
	if err != nil {
		t.Fatalf("names that are free: %v", err)
	}
	p.Close()
}
