package grants

import (
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func TestARenewalIsDueAheadOfWhateverExpiresFirst(t *testing.T) {
	const unknown = -1
	now := time.Now().Round(0)
	all := New(Settings{Server: authserver.New(authserver.Settings{}), RefreshInterval: 10 * time.Hour})
	for name, c := range map[string]struct {
		access, refresh  time.Duration // lives; 0: there is none
		earliest, latest time.Duration // of the renewal
		usable           time.Duration
	}{
		"ten minutes":                            {10 * time.Minute, 0, 7 * time.Minute, 8 * time.Minute, 10*time.Minute - 10*time.Second},
		"a day":                                  {24 * time.Hour, 0, 24*time.Hour - 450*time.Second, 24*time.Hour - 5*time.Minute, 24*time.Hour - 10*time.Second},
		"ten seconds":                            {10 * time.Second, 0, 7 * time.Second, 8 * time.Second, 9 * time.Second},
		"a refresh token for less":               {24 * time.Hour, time.Hour, 42 * time.Minute, 48 * time.Minute, 24*time.Hour - 10*time.Second},
		"a refresh token for who knows how long": {24 * time.Hour, unknown, 7 * time.Hour, 8 * time.Hour, 24*time.Hour - 10*time.Second},
		"a refresh token for weeks":              {10 * time.Minute, 500 * time.Hour, 7 * time.Minute, 8 * time.Minute, 10*time.Minute - 10*time.Second},
	} {
		for range 50 {
			r := tokenstore.Grant{Renewed: now, AccessExpiry: now.Add(c.access), GrantType: ClientCredentials}
			if c.refresh != 0 {
				r.RefreshToken, r.GrantType = fds.NewSecret("r"), ""
			}
			if c.refresh > 0 {
				r.RefreshExpiry = now.Add(c.refresh)
			}
			got, err := all.Grant(r.Key).credential(r)
			if err != nil {
				t.Fatal(err)
			}
			if due := got.due.Sub(now); due < c.earliest || due > c.latest {
				t.Fatalf("%s: due after %v, want between %v and %v", name, due, c.earliest, c.latest)
			}
			if usable := got.usable.Sub(now); usable != c.usable {
				t.Fatalf("%s: usable for %v, want %v", name, usable, c.usable)
			}
		}
	}
}
