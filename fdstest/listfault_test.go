package fdstest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

// waysToPage are dialects that lead to the next page in every way.
func waysToPage() map[string]fdstest.WebAPI {
	inObject := func(p fdstest.Paging) fdstest.WebAPI {
		p.Size = 2
		return fdstest.WebAPI{ListMember: "data", Paging: p}
	}
	return map[string]fdstest.WebAPI{
		"offset":        {Paging: fdstest.Paging{OffsetParameter: "offset", SizeParameter: "limit", Size: 2}},
		"offset, more":  inObject(fdstest.Paging{OffsetParameter: "offset", MoreMember: "paging.has_more"}),
		"number, more":  inObject(fdstest.Paging{PageParameter: "page", MoreMember: "has_more"}),
		"cursor":        inObject(fdstest.Paging{CursorParameter: "after", CursorMember: "paging.next"}),
		"cursor, more":  inObject(fdstest.Paging{CursorParameter: "after", CursorMember: "paging.next", MoreMember: "paging.more"}),
		"URL":           inObject(fdstest.Paging{NextMember: "links.next"}),
		"URL of number": inObject(fdstest.Paging{PageParameter: "page", FirstPage: 1, NextMember: "next"}),
		"link":          {Paging: fdstest.Paging{LinkHeader: true, Size: 2}},
	}
}

// walk reads a list as the dialect leads, at most ten pages, and returns the devices of each
// page and what the answer past them was.
func (r *reader) walk(way fdstest.WebAPI) (pages []string, last answer) {
	r.t.Helper()
	target := r.p.APIURL() + "/fds/v2/specifications"
	offset := 0
	for range 10 {
		last = r.send(http.MethodGet, target, "")
		if last.status != http.StatusOK {
			return pages, last
		}
		list, members := json.RawMessage(last.body), map[string]any{}
		if way.ListMember != "" {
			var object map[string]json.RawMessage
			if err := json.Unmarshal(list, &object); err != nil {
				r.t.Fatalf("%v: %s", err, last.body)
			}
			list = object[way.ListMember]
			if err := json.Unmarshal([]byte(last.body), &members); err != nil {
				r.t.Fatal(err)
			}
		}
		ids := ""
		if string(list) != "null" {
			ids = idsOf(list)
		}
		pages = append(pages, ids)
		next := r.next(way.Paging, members, last, &offset, ids)
		if next == "" {
			return pages, last
		}
		base, err := url.Parse(target)
		if err != nil {
			r.t.Fatal(err)
		}
		to, err := base.Parse(next)
		if err != nil {
			r.t.Fatal(err)
		}
		to.Scheme = "https"
		target = to.String()
	}
	return pages, last
}

func memberOf(members map[string]any, path string) any {
	var value any = members
	for name := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

func (r *reader) next(p fdstest.Paging, members map[string]any, ans answer, offset *int, ids string) string {
	if p.MoreMember != "" {
		if more, isBool := memberOf(members, p.MoreMember).(bool); !isBool || !more {
			return ""
		}
	}
	switch {
	case p.NextMember != "":
		next, _ := memberOf(members, p.NextMember).(string)
		return next
	case p.LinkHeader:
		next, _, _ := strings.Cut(strings.TrimPrefix(ans.header.Get("Link"), "<"), ">")
		return next
	case p.CursorParameter != "":
		cursor, _ := memberOf(members, p.CursorMember).(string)
		if cursor == "" {
			return ""
		}
		return "?" + url.Values{p.CursorParameter: {cursor}}.Encode()
	case ids == "":
		return ""
	}
	*offset += 2
	if p.PageParameter != "" {
		return "?" + p.PageParameter + "=" + string('0'+rune(p.FirstPage+*offset/2))
	}
	return "?" + p.OffsetParameter + "=" + string('0'+rune(*offset))
}

func TestListsArePagedInEveryWayThatTheOptionsSay(t *testing.T) {
	for name, way := range waysToPage() {
		r := newReader(t, fdstest.Options{WebAPI: way}, "A", "B", "C", "D", "E")
		pages, _ := r.walk(way)
		if got := strings.TrimRight(strings.Join(pages, "|"), "|"); got != "A B|C D|E" {
			t.Errorf("%s: %q", name, got)
		}
		if faults := r.p.Dialect().Faults(); len(faults) > 0 {
			t.Errorf("%s: the dialect has faults: %q", name, faults)
		}
	}
	r := newReader(t, fdstest.Options{WebAPI: waysToPage()["offset"]}, "A", "B", "C")
	if got := idsOf(json.RawMessage(r.read("specifications?offset=1&limit=2").body)); got != "B C" {
		t.Errorf("from the second: %s", got)
	}
	for _, value := range []string{"-1", "x", ""} {
		r.read("specifications?offset="+value).refused(t, value, 400, "invalid_parameter_value")
	}
	for _, web := range []fdstest.WebAPI{
		{Paging: fdstest.Paging{NextMember: "next"}},
		{ListMember: "data", Paging: fdstest.Paging{MoreMember: "more"}},
		{ListMember: "data", Paging: fdstest.Paging{NextMember: "data.next"}},
		{ListMember: "data", Paging: fdstest.Paging{NextMember: "paging", MoreMember: "paging.more"}},
		{ListMember: "data", Paging: fdstest.Paging{NextMember: "next."}},
		{Paging: fdstest.Paging{OffsetParameter: "o", PageParameter: "p"}},
		{Paging: fdstest.Paging{OffsetParameter: "ids"}},
	} {
		if p, err := fdstest.Start(fdstest.Options{WebAPI: web}); err == nil {
			p.Close()
			t.Errorf("%+v is taken", web.Paging)
		}
	}
}

func TestOddListEndsAreWhatTheirNamesSay(t *testing.T) {
	for name, way := range waysToPage() {
		r := newReader(t, fdstest.Options{WebAPI: way}, "A", "B", "C")
		for _, odd := range fdstest.OddListEnds() {
			off := r.p.Inject(odd.Fault)
			pages, last := r.walk(way)
			got := strings.Join(pages, "|")
			leads := way.Paging.CursorParameter != "" || way.Paging.LinkHeader || way.Paging.NextMember != ""
			var want string
			switch {
			case way.Paging.MoreMember != "": // which says that there is no more
				want = "A B|C"
			case strings.HasSuffix(odd.Name, "past the end"):
				want = "A B|C"
				if !leads && last.status == http.StatusOK {
					t.Errorf("%s, %s: past the end it answers %d", name, odd.Name, last.status)
				}
			case strings.Contains(odd.Name, "leads to 40") || strings.Contains(odd.Name, "leads to 20"):
				want = "A B|C"
				if last.status == http.StatusOK {
					t.Errorf("%s, %s: the last answer is %d", name, odd.Name, last.status)
				}
			case strings.Contains(odd.Name, "null"), strings.HasSuffix(odd.Name, "an empty one"):
				want = "A B|C|"
			case strings.HasSuffix(odd.Name, "which leads to itself"):
				want = "A B|C||||||||"
				if !leads {
					want = "A B|C|"
				} else if way.Paging.PageParameter != "" || way.Paging.OffsetParameter != "" {
					want = got // a page that leads to itself is named anew by who counts
				}
			default:
				want = "A B|C|C|C|C|C|C|C|C|C"
				if !leads {
					want = "A B|C|"
				} else if way.Paging.PageParameter != "" && way.Paging.NextMember == "" || way.Paging.OffsetParameter != "" {
					want = got
				}
			}
			if !strings.HasPrefix(got, "A B|C") || got != want || !odd.Harmless {
				t.Errorf("%s, %s: %q, want %q", name, odd.Name, got, want)
			}
			off()
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("lists that are not split have no odd end")
		}
	}()
	newReader(t, fdstest.Options{}).p.Inject(fdstest.OddListEnds()[0].Fault)
}

func TestTheNextPagesURLIsWrittenWithHTTPWhereAFaultSaysSo(t *testing.T) {
	for name, way := range waysToPage() {
		r := newReader(t, fdstest.Options{WebAPI: way}, "A", "B", "C", "D", "E")
		if way.Paging.NextMember == "" && !way.Paging.LinkHeader {
			continue
		}
		r.p.Inject(fdstest.NextOverHTTP(fdstest.APIEndpoint))
		first := r.read("specifications")
		next := r.next(way.Paging, first.members(way), first, new(int), "A B")
		if !strings.HasPrefix(next, "http://"+strings.TrimPrefix(r.p.APIURL(), "https://")+"/fds/v2/specifications?") {
			t.Errorf("%s leads to %q", name, next)
		}
		if pages, _ := r.walk(way); strings.Join(pages, "|") != "A B|C D|E" {
			t.Errorf("%s: %q", name, pages)
		}
	}
}

func (ans answer) members(way fdstest.WebAPI) map[string]any {
	m := make(map[string]any)
	if way.ListMember != "" {
		_ = json.Unmarshal([]byte(ans.body), &m)
	}
	return m
}

func TestAnEmptyListIsNullWhereAFaultSaysSo(t *testing.T) {
	for member, want := range map[string]string{"": "null", "data": `{"data":null}`} {
		r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{ListMember: member}})
		r.p.Inject(fdstest.NullLists(fdstest.APIEndpoint))
		if ans := r.read("events"); ans.status != http.StatusOK || ans.body != want {
			t.Errorf("%d %s, want %s", ans.status, ans.body, want)
		}
		r.addDevice("A")
		if got := r.read("specifications").body; !strings.Contains(got, `"A"`) {
			t.Errorf("a list of one is %s", got)
		}
	}
}

func TestLongAddressesAreAnswered414(t *testing.T) {
	r := newReader(t, fdstest.Options{}, "A")
	target := "/fds/v2/specifications?ids=A"
	r.p.Inject(fdstest.LongAddresses(fdstest.APIEndpoint, len(target)))
	if ans := r.read("specifications?ids=A"); ans.status != http.StatusOK {
		t.Errorf("%d", ans.status)
	}
	if ans := r.read("specifications?ids=AB"); ans.status != http.StatusRequestURITooLong {
		t.Errorf("one byte more: %d", ans.status)
	}
}

func TestForbiddenForNowNamesWhenToComeAgain(t *testing.T) {
	r := newReader(t, fdstest.Options{})
	r.p.Inject(fdstest.ForbiddenForNow(fdstest.APIEndpoint, "7").Times(1))
	if ans := r.read("spaces"); ans.status != http.StatusForbidden || ans.header.Get("Retry-After") != "7" || ans.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v", ans.status, ans.header)
	}
	if ans := r.read("spaces"); ans.status != http.StatusOK {
		t.Errorf("%d", ans.status)
	}
}

func TestOddItemsHaveOtherDateTimesInListsAndMessages(t *testing.T) {
	a := start(t, fdstest.Options{Devices: -1})
	owner := a.p.Owners()[0]
	r := &reader{a, tokenOf(t, a.p, owner)}
	s, _ := mustConnect(t, a.p, owner)
	if err := s.subscribe(t, owner.Topic("#")); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"date-times in seconds":                  `1772600767`,
		"date-times in seconds with a fraction":  `1772600767.250`,
		"date-times in milliseconds":             `1772600767250`,
		"date-times in milliseconds, as strings": `"1772600767250"`,
		"date-times with +0000":                  `"2026-03-04T05:06:07.250+0000"`,
		"date-times with a space":                `"2026-03-04 05:06:07.250Z"`,
	}
	for _, odd := range fdstest.OddItems() {
		off := a.p.Inject(odd.Fault)
		if err := a.p.AddEvent(owner, []byte(`{"message_id":"1","n":1.50,"generic":{"date_time":"2026-03-04T05:06:07.250Z"}}`)); err != nil {
			t.Fatal(err)
		}
		text := `"n":1.50,"generic":{"date_time":` + want[odd.Name] + `}`
		if m := s.receive(t); !strings.Contains(string(m.Payload), text) {
			t.Errorf("%s: the message is %s", odd.Name, m.Payload)
		}
		if got := r.read("events").body; !strings.Contains(got, text) || want[odd.Name] == "" {
			t.Errorf("%s: the list is %s", odd.Name, got)
		}
		off()
	}
}

func TestDeviceIDsAreNumbersWhereTheOptionsSaySo(t *testing.T) {
	a := start(t, fdstest.Options{Devices: 20, WebAPI: fdstest.WebAPI{NumericIDs: true}})
	owner := a.p.Owners()[0]
	r := &reader{a, tokenOf(t, a.p, owner)}
	var devices []struct {
		ID json.RawMessage `json:"device_id"`
	}
	if err := json.Unmarshal([]byte(r.read("specifications").body), &devices); err != nil || len(devices) != 20 {
		t.Fatalf("%d devices, %v", len(devices), err)
	}
	for _, d := range devices {
		if strings.Trim(string(d.ID), "0123456789") != "" {
			t.Errorf("the ID %s is no number", d.ID)
		}
		if got := r.read("specifications?ids=" + string(d.ID)).body; strings.Count(got, "device_id") != 1 || !strings.Contains(got, string(d.ID)) {
			t.Errorf("%s is answered %.200s", d.ID, got)
		}
	}
	if err := a.p.AddDevice(owner, []byte(`{"device_id":17}`)); err != nil {
		t.Fatal(err)
	}
	if err := a.p.SetStatus(owner, []byte(`{"device_id":17}`)); err != nil {
		t.Error(err)
	}
	if got := r.read("statuses?ids=17").body; !strings.Contains(got, `"device_id":17`) {
		t.Errorf("its status is %s", got)
	}
}
