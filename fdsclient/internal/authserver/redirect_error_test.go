package authserver

import (
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

func TestAnEmptyErrorBesideACodeIsNone(t *testing.T) {
	a := Attempt{RedirectURI: "https://app.example/cb", State: fds.NewSecret("state-of-this-sign-in"), Expires: time.Now().Add(time.Minute)}
	for query, want := range map[string]string{
		"?code=c&error=":                      "c",
		"?code=c&error&error_description=":    "c",
		"?error=":                             "",
		"?code=c&error=access_denied":         "",
		"?code=c&error=access_denied&error=x": "",
	} {
		code, err := discovering(nil, Settings{}).ReadRedirect(&Metadata{Issuer: issuer}, a, "/cb"+query+"&state=state-of-this-sign-in")
		if code.Reveal() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", query, code.Reveal(), err)
		}
	}
}
