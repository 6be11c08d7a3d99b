package authserver

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

func TestMetadataAreFetchedOnceAnHourAndOutliveTheirServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const issuer = "https://auth.example.com"
		requests, down := 0, false
		server := answering(func(*http.Request) (int, string) {
			requests++
			if down {
				return http.StatusServiceUnavailable, ""
			}
			return http.StatusOK, `{"issuer":"` + issuer + `","authorization_endpoint":"` + issuer + `/a","token_endpoint":"` + issuer + `/t"}`
		})
		d := New(Settings{Issuer: issuer, Transport: server}).discovery
		get := func(want int, when string) {
			t.Helper()
			m, err := d.get(t.Context())
			if err != nil || m.TokenEndpoint != issuer+"/t" {
				t.Fatalf("%s: %+v, %v", when, m, err)
			}
			synctest.Wait()
			if requests != want {
				t.Fatalf("%s: %d requests, want %d", when, requests, want)
			}
		}
		get(1, "at first")
		time.Sleep(metadataAge - time.Second)
		get(1, "within the hour")
		time.Sleep(2 * time.Second)
		get(2, "after it")

		down = true
		time.Sleep(metadataAge + time.Second)
		get(4, "the server is down: both places asked, the old metadata used")
		time.Sleep(30 * time.Second)
		get(4, "half a minute later")
		time.Sleep(31 * time.Second)
		down = false
		get(5, "a minute later")

		d = New(Settings{Issuer: issuer, Transport: server}).discovery
		down = true
		if _, err := d.get(t.Context()); !errors.Is(err, fds.ErrUnavailable) {
			t.Fatalf("with none known: %v", err)
		}
		down = false
		get(8, "the server is back")
	})
}
