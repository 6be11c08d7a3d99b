package conformance_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// hostile are providers that are out to hurt who checks them.
var hostile = []struct {
	name string
	make func(elsewhere string) []fdstest.Fault
}{
	{"bodies without end", func(string) []fdstest.Fault {
		return []fdstest.Fault{fdstest.Endless(fdstest.APIEndpoint), fdstest.Endless(fdstest.MetadataEndpoint), fdstest.Endless(fdstest.TokenEndpoint), fdstest.Endless(fdstest.AuthorizationEndpoint)}
	}},
	{"bodies that inflate", func(string) []fdstest.Fault {
		return []fdstest.Fault{fdstest.GzipBomb(fdstest.APIEndpoint, 1<<40), fdstest.GzipBomb(fdstest.MetadataEndpoint, 1<<40)}
	}},
	{"a slow drip", func(string) []fdstest.Fault {
		return []fdstest.Fault{fdstest.Drip(fdstest.APIEndpoint, time.Second), fdstest.Drip(fdstest.MetadataEndpoint, time.Second), fdstest.Drip(fdstest.TokenEndpoint, time.Second)}
	}},
	{"redirects to elsewhere", func(elsewhere string) []fdstest.Fault {
		return []fdstest.Fault{fdstest.Redirect(fdstest.APIEndpoint, http.StatusTemporaryRedirect, elsewhere), fdstest.Redirect(fdstest.TokenEndpoint, http.StatusTemporaryRedirect, elsewhere), fdstest.Redirect(fdstest.AuthorizationEndpoint, http.StatusFound, elsewhere)}
	}},
	{"headers that are too large", func(string) []fdstest.Fault {
		large := func(r *fdstest.Reply) { r.Header.Set("X-Large", strings.Repeat("x", 1<<20)) }
		return []fdstest.Fault{fdstest.RewriteAnswer(fdstest.APIEndpoint, large), fdstest.RewriteAnswer(fdstest.TokenEndpoint, large)}
	}},
	{"texts for a terminal", func(string) []fdstest.Fault {
		said := func(r *fdstest.Reply) {
			r.Header["Www-Authenticate"] = []string{"Bearer realm=\"\x1b[2J\u202e\""}
			r.Body, _ = json.Marshal(map[string]any{"status": 400, "message": fdstest.HostileText})
			r.Status = http.StatusBadRequest
		}
		return []fdstest.Fault{
			fdstest.RewriteAnswer(fdstest.APIEndpoint, said), fdstest.OAuthError(fdstest.TokenEndpoint, 400, "invalid_grant", fdstest.HostileText),
			fdstest.MetadataMember("revocation_endpoint", "http://"+fdstest.HostileText), fdstest.MetadataMember("grant_types_supported", []string{fdstest.HostileText}),
			fdstest.ResponseParameter("error", fdstest.HostileText),
		}
	}},
}

func TestAttackAHostileProviderHurtsNobodyWhoChecksIt(t *testing.T) {
	for _, one := range hostile {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var visits []string
			thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				visits = append(visits, r.Method)
			}))
			defer thief.Close()
			s := newWebSite(t, fdstest.Options{})
			s.config.CheckTimeout = 700 * time.Millisecond
			s.config.SignIn = nil
			for _, f := range one.make(thief.URL + "/stolen") {
				s.box.Inject(f)
			}
			began := time.Now()
			report := check(t, s.config)
			if took := time.Since(began); took > 90*time.Second {
				t.Errorf("it took %v", took)
			}
			if len(visits) > 0 {
				t.Errorf("%d requests went elsewhere", len(visits))
			}
			all, err := json.Marshal(report)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range s.box.Secrets() {
				if strings.Contains(string(all), secret) {
					t.Error("the report has a secret")
				}
			}
			for _, r := range report.Results {
				realtest.CheckShown(t, r.Why)
				for _, e := range r.Evidence {
					realtest.CheckShown(t, e.Tried)
					realtest.CheckShown(t, e.Saw)
				}
			}
		})
	}
}

func TestAttackAReportHasNoSecretThatIsEchoed(t *testing.T) {
	s := newWebSite(t, fdstest.Options{})
	var mu sync.Mutex
	sent := "" // by the last request of the Web API
	s.box.Inject(fdstest.LooseAuthorization(func(r *http.Request) []fdstest.Owner {
		mu.Lock()
		defer mu.Unlock()
		sent = r.URL.RawQuery + " " + r.Header.Get("Authorization")
		return nil
	}))
	s.box.Inject(fdstest.RewriteAnswer(fdstest.APIEndpoint, func(r *fdstest.Reply) {
		mu.Lock()
		defer mu.Unlock()
		if r.Status >= 400 {
			r.Header.Set("Www-Authenticate", sent)
			r.Body = []byte(sent)
		}
	}))
	report := check(t, s.config)
	all, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(all), "[redacted]") {
		t.Error("nothing was echoed")
	}
	for _, secret := range s.box.Secrets() {
		if strings.Contains(string(all), secret) || len(secret) > 60 && strings.Contains(string(all), secret[:60]) {
			t.Error("the report has a secret, or the beginning of one")
		}
	}
}

func TestAttackTheApplicationsSecretIsInNoReportInAnyForm(t *testing.T) {
	s := newWebSite(t, fdstest.Options{})
	s.config.SignIn = nil
	secret, id := s.config.Client.Application.ClientSecret.Reveal(), s.config.Client.Application.ClientID
	pair := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id) + ":" + url.QueryEscape(secret)))
	for _, echo := range []string{secret, pair, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)), pair[:40], secret[:20]} {
		off := s.box.Inject(fdstest.OAuthError(fdstest.TokenEndpoint, 400, "invalid_grant", "you sent "+echo))
		all, err := json.Marshal(check(t, s.config))
		off()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(all), echo) || !strings.Contains(string(all), "you sent ") {
			t.Errorf("the report has %q, or not the server's words", echo)
		}
	}
}
