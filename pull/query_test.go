package pull_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// recorder is a transport that answers every request with an empty list and keeps its URL.
type recorder struct{ urls []*url.URL }

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	r.urls = append(r.urls, request.URL)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader("[]")), Request: request,
	}, nil
}

func ask(t testing.TB, dialect fds.Dialect, query pull.Query) ([]*url.URL, error) {
	t.Helper()
	transport := &recorder{}
	client := newClient(t, pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}, Transport: transport, Dialect: dialect})
	_, err := pull.Collect(client.Statuses(t.Context(), query))
	return transport.urls, err
}

func TestTheQueryIsWrittenOnceAndInOrder(t *testing.T) {
	for _, test := range []struct {
		dialect fds.Dialect
		query   pull.Query
		want    string
	}{
		{fds.Dialect{}, pull.Query{}, ""},
		{fds.Dialect{}, pull.Query{IDs: []string{}}, ""},
		{fds.Dialect{}, pull.Query{IDs: []string{"FORKINC_S1_1223"}}, "ids=FORKINC_S1_1223"},
		{fds.Dialect{}, pull.Query{IDs: []string{"a b", "c&d=e", "ä+#"}}, "ids=a%20b%2Cc%26d%3De%2C%C3%A4%2B%23"},
		{fds.Dialect{IDsSeparator: "|"}, pull.Query{IDs: []string{"a,b", "c"}}, "ids=a%2Cb%7Cc"},
		{fds.Dialect{}, pull.Query{Parameters: map[string]string{"to": "2", "from": "1&ids=x", "a b": ""}}, "a%20b=&from=1%26ids%3Dx&to=2"},
		{fds.Dialect{}, pull.Query{IDs: []string{"a"}, Parameters: map[string]string{"z": "1"}}, "z=1&ids=a"},
	} {
		urls, err := ask(t, test.dialect, test.query)
		if err != nil || len(urls) != 1 || urls[0].RawQuery != test.want {
			t.Errorf("%+v: %v, %v, want %q", test.query, urls, err, test.want)
		}
	}
}

func TestDatesAreSentInTheDialectsFormAndNeverBoundTooMuch(t *testing.T) {
	for _, test := range []struct{ layout, at, since, until string }{
		{"", "2026-05-06T12:30:00Z", "2026-05-06T12:30:00Z", "2026-05-06T12:30:00Z"},
		{"", "2026-05-06T12:30:00+02:00", "2026-05-06T10:30:00Z", "2026-05-06T10:30:00Z"},
		{"", "2026-05-06T12:30:00.000000001Z", "2026-05-06T12:30:00Z", "2026-05-06T12:30:01Z"},
		{time.RFC3339Nano, "2026-05-06T12:30:00.000000001Z", "2026-05-06T12:30:00.000000001Z", "2026-05-06T12:30:00.000000001Z"},
		{time.DateTime, "2026-12-31T23:59:59.9Z", "2026-12-31 23:59:59", "2027-01-01 00:00:00"},
		{"2006-01-02T15:04:05.000Z", "2026-05-06T12:30:00.0001Z", "2026-05-06T12:30:00.000Z", "2026-05-06T12:30:00.001Z"},
		{"2006-01-02 15:04", "2026-05-06T12:30:01Z", "2026-05-06 12:30", "2026-05-06 12:31"},
		{"2006-01-02 15h", "2026-05-06T12:30:01Z", "2026-05-06 12h", "2026-05-06 13h"},
		{time.DateOnly, "2026-02-28T12:30:00Z", "2026-02-28", "2026-03-01"},
		{time.DateOnly, "2026-05-07T00:00:00Z", "2026-05-07", "2026-05-07"},
		{time.DateOnly, "2026-05-07T01:00:00+02:00", "2026-05-06", "2026-05-07"},
		{"2006-01", "2026-01-31T12:00:00Z", "2026-01", "2026-02"},
		{"2006-01", "2026-12-01T00:00:00.1Z", "2026-12", "2027-01"},
		{"2006", "2024-01-01T00:00:00.1Z", "2024", "2025"},
		{"15:04", "2026-05-06T12:30:00Z", "12:30", ""}, // which is a time of the year 0
		{"Jan 02 2006 _", "2026-05-06T12:30:00Z", "May 06 2026 _", "May 07 2026 _"},
	} {
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		dialect := fds.Dialect{FromParameter: "since", ToParameter: "until", TimeLayout: test.layout}
		for want, query := range map[[2]string]pull.Query{{"since", test.since}: {From: at}, {"until", test.until}: {To: at}} {
			urls, err := ask(t, dialect, query)
			if err != nil || len(urls) != 1 || urls[0].Query().Get(want[0]) != want[1] || urls[0].Query().Has(want[0]) != (want[1] != "") || len(urls[0].Query()) > 1 {
				t.Errorf("%q in %q: %v, %v, want %q", test.at, test.layout, urls, err, want)
			}
		}
		// What has no name is not sent.
		if urls, err := ask(t, fds.Dialect{TimeLayout: test.layout}, pull.Query{From: at, To: at, Language: "de"}); err != nil || len(urls) != 1 || urls[0].RawQuery != "" {
			t.Errorf("%q in %q: %v, %v without names", test.at, test.layout, urls, err)
		}
	}
}

func TestAMalformedQueryIsNotSent(t *testing.T) {
	for _, test := range []struct {
		query pull.Query
		want  string
	}{
		{pull.Query{IDs: []string{"a", ""}}, "empty"},
		{pull.Query{IDs: []string{"a,b"}}, "separates"},
		{pull.Query{Parameters: map[string]string{"ids": "a"}}, "Query.IDs"},
		{pull.Query{Parameters: map[string]string{"": "a"}}, "no name"},
		{pull.Query{Parameters: map[string]string{"since": "a"}}, "Query.From"},
		{pull.Query{Parameters: map[string]string{"until": "a"}}, "Query.To"},
		{pull.Query{Parameters: map[string]string{"lang": "a"}}, "Query.Language"},
		{pull.Query{Parameters: map[string]string{"page": "a"}}, "Dialect.Paging"},
		{pull.Query{Parameters: map[string]string{"size": "a"}}, "Dialect.Paging"},
		{pull.Query{From: noon, To: noon.Add(-time.Second)}, "before Query.From"},
		{pull.Query{IDs: []string{"a", strings.Repeat("x", 5000)}}, "4096"},
		{pull.Query{Parameters: map[string]string{"a": strings.Repeat("x", 5000)}}, "4096"},
	} {
		dialect := fds.Dialect{FromParameter: "since", ToParameter: "until", LanguageParameter: "lang", Paging: fds.Paging{PageParameter: "page", SizeParameter: "size", Size: 5}}
		urls, err := ask(t, dialect, test.query)
		if !errors.Is(err, fds.ErrQuery) || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 300 || len(urls) != 0 {
			t.Errorf("%.60v: %d requests, %v", test.query, len(urls), err)
		}
	}
	client := newClient(t, pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}, Transport: &recorder{}})
	for _, kind := range []pull.Kind{"", "tag", "../spaces", "spaces?a=b"} {
		if _, err := pull.Collect(client.Items(t.Context(), kind, pull.Query{})); !errors.Is(err, fds.ErrQuery) {
			t.Errorf("kind %q: %v", kind, err)
		}
	}
}

func TestNoDialectSendsAParameterTwiceOrOneForAnother(t *testing.T) {
	names := []string{"", "ids", "a", "b", "c"}
	taken, refused := 0, 0
	for n := range 5 * 5 * 5 * 5 * 5 {
		var name [5]string
		for i, rest := 0, n; i < len(name); i, rest = i+1, rest/5 {
			name[i] = names[rest%5]
		}
		d := fds.Dialect{FromParameter: name[0], ToParameter: name[1], LanguageParameter: name[2], ListMember: "list"}
		if d.Paging.SizeParameter = name[3]; name[3] != "" {
			d.Paging.Size = 7
		}
		if n%2 == 0 {
			d.Paging.PageParameter = name[4]
		} else if d.Paging.CursorParameter = name[4]; name[4] != "" {
			d.Paging.CursorMember = "next"
		}
		want := url.Values{"ids": {"x,y"}, "other": {"z"}}
		for i, value := range []string{"2026-05-06T12:00:00Z", "2026-05-06T13:00:00Z", "de", "7", ""} {
			if name[i] != "" && value != "" {
				want.Set(name[i], value)
			}
		}
		var asked []*http.Request
		client, err := pull.New(pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}, Dialect: d, Transport: script(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r)
			return reply(r, 200, []string{`{"list":[{}],"next":"n"}`, `{"list":[]}`}[len(asked)-1]), nil
		})})
		if err != nil {
			refused++
			continue
		}
		taken++
		query := pull.Query{IDs: []string{"x", "y"}, From: noon, To: noon.Add(time.Hour), Language: "de", Parameters: map[string]string{"other": "z"}}
		if _, err := pull.Collect(client.Statuses(t.Context(), query)); err != nil {
			t.Fatalf("%+v: %v", d, err)
		}
		for i, r := range asked {
			if name[4] != "" && d.Paging.PageParameter != "" {
				want.Set(name[4], strconv.Itoa(i))
			} else if name[4] != "" && i > 0 {
				want.Set(name[4], "n")
			}
			if got, err := url.ParseQuery(r.URL.RawQuery); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%+v: asked with %q, want %q", d, got, want)
			}
		}
	}
	if taken == 0 || refused == 0 {
		t.Errorf("%d dialects were taken and %d refused", taken, refused)
	}
}

func TestManyIDsAreAskedForInRequestsOfBoundedLength(t *testing.T) {
	var ids []string
	for i := range 2000 {
		ids = append(ids, fmt.Sprintf("FORK INC/S1_%d", i))
	}
	parameters := map[string]string{"lang": "de"}
	urls, err := ask(t, fds.Dialect{}, pull.Query{IDs: ids, Parameters: parameters})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	bytes := 0
	for _, u := range urls {
		if len(u.RawQuery) > 2000 || u.Query().Get("lang") != "de" {
			t.Errorf("a URL of %d bytes: %.80s", len(u.String()), u)
		}
		bytes += len(u.RawQuery)
		got = append(got, strings.Split(u.Query().Get("ids"), ",")...)
	}
	if !slices.Equal(got, ids) {
		t.Fatalf("%d IDs were asked for, want the %d given, in order", len(got), len(ids))
	}
	if full := bytes / 2000; len(urls) > full+2 {
		t.Errorf("%d requests where about %d are enough", len(urls), full+1)
	}
}

func FuzzEveryIDArrivesOnce(f *testing.F) {
	f.Add("a", "b c", "ä&=#?/", ",", 3)
	f.Add("%", "+", ";", "||", 2000)
	f.Add("a|", "|b", "c", "||", 3)
	f.Fuzz(func(t *testing.T, a, b, c, separator string, n int) {
		var ids []string
		for i := range min(max(n, 0), 1000) {
			ids = append(ids, []string{a, b, c}[i%3])
		}
		urls, err := ask(t, fds.Dialect{IDsSeparator: separator}, pull.Query{IDs: ids, Parameters: map[string]string{"p": a}})
		if err != nil {
			if !errors.Is(err, fds.ErrQuery) {
				t.Fatal(err)
			}
			return
		}
		if separator == "" {
			separator = ","
		}
		var got []string
		for _, u := range urls {
			values, err := url.ParseQuery(u.RawQuery)
			if err != nil || len(values["ids"]) > 1 || len(values["p"]) != 1 || values.Get("p") != a || len(u.String()) > 4096 {
				t.Fatalf("%q: %v", u, err)
			}
			if values.Has("ids") {
				got = append(got, strings.Split(values.Get("ids"), separator)...)
			}
		}
		if !slices.Equal(got, ids) {
			t.Fatalf("separator %q: %q arrived as %q", separator, ids, got)
		}
	})
}
