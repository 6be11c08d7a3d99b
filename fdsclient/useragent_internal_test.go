package fdsclient

import (
	"context"
	"net/http"
	"testing"

	"github.com/fds-sdk/fds-go/pull"
)

// free authorizes without anything.
type free struct{}

func (free) Authorize(context.Context, *http.Request) error                     { return nil }
func (free) Challenged(context.Context, *http.Response) (retry bool, err error) { return false, nil }

func TestTheAuthorizationServerAndTheWebAPISeeTheSameUserAgent(t *testing.T) {
	for name, want := range map[string]string{"fds-go": "fds-go", "Hausverwaltung Süd": "Hausverwaltung S_d fds-go", " ": "fds-go"} {
		var seen []string
		server := answering(func(r *http.Request) (int, string) {
			seen = append(seen, r.UserAgent())
			return http.StatusServiceUnavailable, ""
		})
		client := at(t, server, Application{Name: name})
		_, _ = client.SignInDevice(t.Context(), func(DeviceCode) {})
		reader, err := pull.New(pull.Config{BaseURL: "https://api.example", Authorizer: free{}, Transport: server, UserAgent: headerText(name), Settings: pull.Settings{RetryFor: -1}})
		if err != nil {
			t.Fatal(err)
		}
		for range reader.Specifications(t.Context(), pull.Query{}) {
		}
		if len(seen) != 2 || seen[0] != want || seen[1] != want {
			t.Errorf("%q: %q, want %q", name, seen, want)
		}
	}
}
