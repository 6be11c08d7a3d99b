package webapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/webapi"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

// Whatever the query and the header say, a list is answered, is known already
// or is refused; a cursor leads to no place that is not in the list.
func FuzzAListIsAnsweredOrRefused(f *testing.F) {
	for _, seed := range [][3]string{
		{"ids=a;b&limit=3", "*", "gzip"},
		{"cursor=%2B%2F%2B%2FMw%3D%3D&limit=9999", `W/"x,y", "z"`, "gzip;q=0.5, *;q=0"},
		{"cursor=%2B%2F%2B%2FLTE%3D&lang=de-CH", `"`, "br"},
		{"limit=-1&lang=%00", `, ,"a""b"`, ";q="},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	w, id := world.New(world.Config{Seed: 1}), fds.NewSubscriptionID()
	if err := w.AddOwner(id, "A"); err != nil {
		f.Fatal(err)
	}
	api := webapi.New(webapi.Config{
		Verify: func(*http.Request, string, string) ([]fds.SubscriptionID, *webapi.Refusal) {
			return []fds.SubscriptionID{id}, nil
		},
		World: w,
		Dialect: webapi.Dialect{
			IDsSeparator: ";", ListMember: "items", LanguageParameter: "lang", Compress: true,
			Paging: webapi.Paging{CursorParameter: "cursor", CursorMember: "paging.next", LinkHeader: true, SizeParameter: "limit"},
		},
	})
	f.Fuzz(func(t *testing.T, query, tags, codings string) {
		r := httptest.NewRequest(http.MethodGet, "https://api.example/fds/v2/specifications", nil)
		r.URL.RawQuery = query
		r.Header = http.Header{"Authorization": {"Bearer a"}, "If-None-Match": {tags}, "Accept-Encoding": {codings}}
		answer := httptest.NewRecorder()
		api.ServeHTTP(answer, r)
		_, err := url.ParseQuery(query)
		switch inGzip := answer.Header().Get("Content-Encoding") == "gzip"; {
		case answer.Code == http.StatusNotModified && answer.Body.Len() == 0 && err == nil:
		case answer.Code == http.StatusBadRequest:
		case answer.Code != http.StatusOK || err != nil:
			t.Errorf("%d %s", answer.Code, answer.Body)
		case !inGzip && !json.Valid(answer.Body.Bytes()):
			t.Errorf("no JSON: %s", answer.Body)
		}
	})
}
