package fdsclient_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

func TestAClientThatNobodyHasKeepsNoRedirectURL(t *testing.T) {
	p, other := start(t, fdstest.Options{}), start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Application.RedirectURL = "https://forgotten.example/callback"
	if _, err := fdsclient.New(cfg); err != nil { // and it is never closed
		t.Fatal(err)
	}
	at := configure(t, other)
	at.Application.RedirectURL = cfg.Application.RedirectURL
	eventually(t, "the URL is free", func() bool {
		runtime.GC()
		client, err := fdsclient.New(at)
		if err == nil {
			client.Close()
		}
		return err == nil
	})
}

func TestTheRedirectPathIsOnePerIssuerAndStaysTheSame(t *testing.T) {
	const issuer = "https://auth.example.com"
	// printf %s https://auth.example.com | sha256sum | cut -c1-20
	if got := fdsclient.RedirectPath(issuer); got != "/callback/1ce18487e0b9bfefc825" {
		t.Errorf("path %s", got)
	}
	if fdsclient.RedirectPath(issuer+"/") == fdsclient.RedirectPath(issuer) {
		t.Error("two issuers have one path")
	}
}

func TestASharedRedirectPathIsWarnedOfOnceWhereTheProviderDoesNotNameItself(t *testing.T) {
	p := start(t, fdstest.Options{})
	for name, c := range map[string]struct {
		path  string
		named bool
		warns int
	}{
		"the default":           {"", false, 0},
		"the default by hand":   {fdsclient.RedirectPath(p.Issuer()), false, 0},
		"of earlier versions":   {"/callback", false, 1},
		"by hand, and it names": {"/callback", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configure(t, p)
			cfg.Application.RedirectPath = c.path
			log := logged(&cfg)
			client := open(t, cfg)
			if !c.named {
				unnamed, unpromised := p.Inject(fdstest.NoResponseIssuer()), p.Inject(fdstest.MetadataMember("authorization_response_iss_parameter_supported", nil))
				defer unnamed()
				defer unpromised()
			}
			signIn(t, client, p)
			signIn(t, client, p)
			if n := strings.Count(log.String(), "cannot be told from another's"); n != c.warns {
				t.Errorf("%d warnings, want %d", n, c.warns)
			}
		})
	}
}
