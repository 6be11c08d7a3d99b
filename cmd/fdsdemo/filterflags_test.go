package main

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

// webAPIs are ways of providers, with the settings that lead to them.
var webAPIs = []struct {
	name     string
	web      fdstest.WebAPI
	settings string // of provider.dialect
}{
	{"plain", fdstest.WebAPI{}, "{from_parameter: from, to_parameter: to}"},
	{"a_list_inside", fdstest.WebAPI{ListMember: "items", IDsSeparator: ";", TagParameter: "tag"},
		`{list_member: items, ids_separator: ";", tag_parameter: tag}`},
	{"pages_by_number", fdstest.WebAPI{LanguageParameter: "lang", Paging: fdstest.Paging{PageParameter: "page", FirstPage: 1, SizeParameter: "size"}},
		"{language_parameter: lang, paging: {page_parameter: page, first_page: 1, size_parameter: size, size: 2}}"},
	{"pages_by_cursor", fdstest.WebAPI{ListMember: "data", Compress: true, Paging: fdstest.Paging{CursorParameter: "after", CursorMember: "paging.next", Size: 2}},
		"{list_member: data, paging: {cursor_parameter: after, cursor_member: paging.next}}"},
	{"pages_by_link", fdstest.WebAPI{TagParameter: "id", Paging: fdstest.Paging{LinkHeader: true, Size: 2}}, "{tag_parameter: id}"},
}

// dialect configures provider.dialect.
func (s *setup) dialect(settings string) {
	s.t.Helper()
	s.configure("  ca_file:", "  dialect: "+settings+"\n  ca_file:")
}

func TestEveryDialectIsRead(t *testing.T) {
	t.Parallel()
	for _, c := range webAPIs {
		t.Run(c.name, func(t *testing.T) {
			s := newSetupOf(t, c.web)
			s.dialect(c.settings)
			want := ""
			for i := range 5 {
				item := fmt.Sprintf(`{"device_id":"d%d","generic":{}}`, i)
				s.device(s.north, item)
				want += item + "\n"
			}
			s.signIn(s.north)
			if r := s.run("get", "specifications", "--json").expect(statusDone); r.out != want {
				t.Errorf("stdout\n%s\nwant\n%s", r.out, want)
			}
			if r := s.run("get", "specifications", "--ids", "d1,d3", "--json").expect(statusDone); strings.Join(r.lines(), "") != `{"device_id":"d1","generic":{}}{"device_id":"d3","generic":{}}` {
				t.Errorf("stdout %s", r.out)
			}
		})
	}
}

// lastQuery returns what the box was asked at last.
func (s *setup) lastQuery() url.Values {
	s.t.Helper()
	requests := s.box.APIRequests()
	if len(requests) == 0 {
		s.t.Fatal("the Web API was not asked")
	}
	query, err := url.ParseQuery(requests[len(requests)-1].Query)
	if err != nil {
		s.t.Fatal(err)
	}
	return query
}

func TestGetAsksForASpanOfTimeAndALanguage(t *testing.T) {
	s := newSetupOf(t, fdstest.WebAPI{LanguageParameter: "lang"})
	s.dialect("{from_parameter: from, to_parameter: to, language_parameter: lang}")
	for _, day := range []string{"24", "25", "26"} {
		if err := s.box.AddEvent(s.north, []byte(`{"message_id":"m`+day+`","generic":{"date_time":"2025-11-`+day+`T12:00:00Z"}}`)); err != nil {
			t.Fatal(err)
		}
	}
	s.signIn(s.north)
	for _, c := range []struct{ args, want string }{
		{"", "m24 m25 m26"},
		{"--from 2025-11-25T12:00:00Z", "m25 m26"},
		{"--to 2025-11-25T14:00:01+02:00", "m24 m25"},
		{"--from 2025-11-25", "m25 m26"},
		{"--to 2025-11-25", "m24 m25"},
		{"--from 2025-11-25 --to 2025-11-25 --language de-CH", "m25"},
	} {
		r := s.run(append([]string{"get", "events", "--json"}, strings.Fields(c.args)...)...).expect(statusDone)
		var got []string
		for _, line := range r.lines() {
			got = append(got, line[len(`{"message_id":"`):][:3])
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s gives %v, want %s", c.args, got, c.want)
		}
	}
	if q := s.lastQuery(); q.Get("lang") != "de-CH" {
		t.Errorf("asked for %v", q)
	}
}

func TestWhatTheDialectDoesNotNameIsNeverIgnored(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	for _, c := range []struct{ args, says string }{
		{"--from 2025-11-25", "set provider.dialect.from_parameter"},
		{"--to 2025-11-25T12:00:00Z", "set provider.dialect.to_parameter"},
		{"--language de", "set provider.dialect.language_parameter"},
	} {
		s.run(append([]string{"get", "events"}, strings.Fields(c.args)...)...).expect(statusUsage).says(c.says)
	}
	s.dialect(`{from_parameter: from, time_layout: "06-01-02"}`)
	s.run("get", "events", "--from", "2075-11-25").expect(statusUsage).says("--from", "provider.dialect.time_layout")
	if n := s.box.Requests(fdstest.APIEndpoint); n > 0 {
		t.Errorf("the Web API was asked %d times", n)
	}
}

func TestADateMeansTheWholeDay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		end  bool
		want time.Time
	}{
		{"2025-11-25", false, time.Date(2025, 11, 25, 0, 0, 0, 0, time.Local)},
		{"2025-11-25", true, time.Date(2025, 11, 26, 0, 0, 0, 0, time.Local)},
		{"2025-12-31", true, time.Date(2026, 1, 1, 0, 0, 0, 0, time.Local)},
		{"2025-11-25T13:00:00.5+01:00", true, time.Date(2025, 11, 25, 12, 0, 0, 5e8, time.UTC)},
	} {
		if got, err := parseTime("--to", c.text, c.end); err != nil || !got.Equal(c.want) {
			t.Errorf("%s: %v, %v; want %v", c.text, got, err, c.want)
		}
	}
}

func TestATimeMayBeHowLongAgoItWas(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"5m": 5 * time.Minute, "2h30m": 150 * time.Minute, "90s": 90 * time.Second, "7d": 7 * 24 * time.Hour, "1.5h": 90 * time.Minute,
	} {
		before := time.Now()
		got, err := parseTime("--from", text, false)
		if ago := time.Since(got); err != nil || ago < want || ago > want+time.Since(before)+time.Second {
			t.Errorf("%s: %v ago, %v", text, ago, err)
		}
	}
	for _, text := range []string{"-5m", "0s", "5", "m", "d", "1d2h", "-1d", "1e9d", "99999999999999999999d", "40000d", "3000000h", "5 m", ""} {
		if at, err := parseTime("--from", text, false); err == nil {
			t.Errorf("%q is %v", text, at)
		}
	}
}
