package authserver

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
)

var pending = Attempt{
	Issuer: issuer, ClientID: "app", RedirectURI: "https://app.example/callback",
	State: fds.NewSecret("the state"), Verifier: fds.NewSecret("the verifier"), Nonce: fds.NewSecret("the nonce"),
}

func redirected(query string) (fds.Secret, error) {
	return at(nil, Settings{}).ReadRedirect(&Metadata{Issuer: issuer}, pending, "/callback?"+query)
}

func TestARedirectIsReadByWhatIsNeededOfIt(t *testing.T) {
	for name, query := range map[string]string{
		"as it should be":           "code=c%2Fd&state=the+state",
		"with the issuer":           "code=c%2Fd&state=the%20state&iss=https%3A%2F%2Fauth.example",
		"a semicolon elsewhere":     "x=a;b&code=c%2Fd&state=the+state",
		"a broken escape elsewhere": "x=%zz&%zz&y=100%&code=c%2Fd&state=the+state&%",
		"others twice":              "x=1&x=2&code=c%2Fd&state=the+state",
		"empty pairs":               "&&code=c%2Fd&&state=the+state&",
		"a name encoded":            "c%6fde=c%2Fd&state=the+state",
		"words without an error":    "error_description=%zz&code=c%2Fd&state=the+state",
		"something behind it":       "code=c%2Fd&state=the+state#_=_",
	} {
		if code, err := redirected(query); err != nil || code.Reveal() != "c/d" {
			t.Errorf("%s: %q, %v", name, code.Reveal(), err)
		}
	}
}

func TestADenialIsReadAsItIsMeant(t *testing.T) {
	for query, want := range map[string]string{
		"error=access_denied&error_description=cancelled;try+again&state=the+state":                      "cancelled;try again",
		"error=access_denied&error_description=100%+sure&state=the+state":                                "100% sure",
		"error=access_denied&error_description=100%25%zz%&state=the+state":                               "100%%zz%",
		"error=access_denied&error_description=a&error_description=b&state=the+state":                    "a",
		"error=access_denied&state=the+state":                                                            "",
		"state=the+state&error_description=%1b%5b2J%c2%9b%e2%80%ae&error=access_denied&error_uri=x;y%zz": " [2J  ",
	} {
		_, err := redirected(query)
		var refused publicRefusal
		if !errors.As(err, &refused) || refused.Code != "access_denied" || refused.Description != want || refused.Endpoint != "authorization" || errors.Is(err, fds.ErrForeignRedirect) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// TestAttackARedirectThatIsNotThisSignInsEndsNothing: any web page can send one.
func TestAttackARedirectThatIsNotThisSignInsEndsNothing(t *testing.T) {
	for name, query := range map[string]string{
		"no state":              "code=c",
		"another state":         "code=c&state=another",
		"an empty state":        "code=c&state=",
		"two states":            "code=c&state=the+state&state=the+state",
		"a state encoded, too":  "code=c&state=the+state&st%61te=x",
		"two codes":             "code=c&state=the+state&code=d",
		"two errors":            "error=a&error=b&state=the+state",
		"two issuers":           "code=c&state=the+state&iss=x&iss=y",
		"by a semicolon":        "code=c;state=the+state",
		"a state half decoded":  "code=c&state=the+state%zz",
		"a denial, other state": "error=access_denied&state=another",
		"a denial by none":      "error=access_denied&error_description=%1b%5b2J+no",
		"a denial, empty state": "error=access_denied&error_description=%1b%5b2J+no&state=",
	} {
		code, err := redirected(query)
		var stateless *StatelessDenial
		if !errors.Is(err, fds.ErrForeignRedirect) || !code.IsZero() || errors.As(err, &stateless) != (name == "a denial by none" || name == "a denial, empty state") {
			t.Errorf("%s: %q, %v", name, code.Reveal(), err)
		}
		var refused publicRefusal
		if errors.As(err, &refused) || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: %q", name, err)
		}
		if stateless != nil && (stateless.Code != "access_denied" || stateless.Description != " [2J no") {
			t.Errorf("%s: %+v", name, stateless)
		}
	}
	if _, err := redirected("code=c&state=the+state&iss=https%3A%2F%2Fauth.example%zz"); !errors.Is(err, fds.ErrIssuer) {
		t.Errorf("an issuer that cannot be decoded: %v", err)
	}
	if _, err := redirected("error=%zz&state=the+state"); err == nil || errors.Is(err, fds.ErrForeignRedirect) {
		t.Errorf("an error that cannot be decoded: %v", err)
	}
}

func FuzzARedirectIsReadByWhatIsNeededOfIt(f *testing.F) {
	f.Add("x=%zz;a&&=")
	f.Add("error_description=a")
	f.Fuzz(func(t *testing.T, other string) {
		code, err := redirected(other)
		if err == nil && !strings.Contains(other, "state") {
			t.Errorf("%q gives the code %q", other, code.Reveal())
		}
		for _, needed := range []string{"state", "code", "error", "iss", "%", "#", "\x7f"} {
			if strings.Contains(other, needed) {
				return
			}
		}
		if strings.ContainsFunc(other, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(other) > maxCallbackBytes-100 {
			return
		}
		if code, err := redirected(other + "&code=c&state=the+state"); err != nil || code.Reveal() != "c" {
			t.Errorf("with %q: %q, %v", other, code.Reveal(), err)
		}
	})
}
