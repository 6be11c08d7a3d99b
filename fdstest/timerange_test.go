package fdstest_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestTheWebAPISpeaksTheNamesOfATimeRangeThatItWasGiven(t *testing.T) {
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	rfc, plain := at.Format(time.RFC3339), at.Format(time.DateTime)
	for _, test := range []struct {
		options    *fdstest.TimeRange
		query      url.Values
		status     int
		old, young bool
	}{
		{nil, url.Values{"from": {rfc}}, 200, false, true},
		{nil, url.Values{"to": {rfc}}, 200, true, false},
		{&fdstest.TimeRange{From: "since", To: "until", Layout: time.DateTime}, url.Values{"since": {plain}}, 200, false, true},
		{&fdstest.TimeRange{From: "since", To: "until", Layout: time.DateTime}, url.Values{"until": {plain}}, 200, true, false},
		{&fdstest.TimeRange{From: "since", To: "until", Layout: time.DateTime}, url.Values{"since": {rfc}}, 400, false, false},
		{&fdstest.TimeRange{From: "since", To: "until"}, url.Values{"from": {rfc}}, 400, false, false},
		{&fdstest.TimeRange{From: "since"}, url.Values{"since": {rfc}}, 200, false, true},
		{&fdstest.TimeRange{}, url.Values{"from": {rfc}}, 400, false, false},
		{&fdstest.TimeRange{}, url.Values{"": {rfc}}, 400, false, false},
		{&fdstest.TimeRange{}, nil, 200, true, true},
	} {
		p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1, TimeRange: test.options})
		o := p.Owners()[0]
		for id, when := range map[string]time.Time{"old": at.Add(-time.Hour), "young": at.Add(time.Hour)} {
			if err := p.AddEvent(o, []byte(`{"message_id":"`+id+`","generic":{"date_time":"`+when.Format(time.RFC3339)+`","device_id":"D"}}`)); err != nil {
				t.Fatal(err)
			}
		}
		tokens, err := p.IssueTokens(p.PublicApplication().ID, o)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.RootCAs(), MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, p.APIURL()+"/fds/v2/events?"+test.query.Encode(), nil)
		r.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != test.status || strings.Contains(string(body), `"old"`) != test.old || strings.Contains(string(body), `"young"`) != test.young {
			t.Errorf("%+v asked with %v: %d %s, %v", test.options, test.query, response.StatusCode, body, err)
		}
	}
	if _, err := fdstest.Start(fdstest.Options{TimeRange: &fdstest.TimeRange{From: "a", To: "a"}}); err == nil {
		t.Error("two parameters of one name are accepted")
	}
}
