package fdsclient_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

// lastPage signs owners in and returns what the browser is shown at the end.
func lastPage(t *testing.T, p *fdstest.Provider, client *fdsclient.Client, owners ...fdstest.Owner) (policy, page string) {
	t.Helper()
	shown := make(chan *http.Response, 1)
	text := make(chan string, 1)
	_, err := client.SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
		browser := newPerson(t)
		callback, err := p.ApproveCallback(ctx, browser.begin(address), owners...)
		if err != nil {
			return err
		}
		response, err := browser.Get(callback)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		var b strings.Builder
		if err := response.Write(&b); err != nil {
			return err
		}
		shown <- response
		text <- b.String()
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return (<-shown).Header.Get("Content-Security-Policy"), <-text
}

func TestAttackTheLastPageSaysWhoHasSignedInAndNoSecret(t *testing.T) {
	var owners []fdstest.Owner
	for _, digit := range "1234567" {
		owners = append(owners, fdstest.Owner{Name: "Site " + string(digit), Spelling: strings.Repeat(string(digit), 8) + "-5b9d-4c53-8b0e-2f9d1c7a3e01"})
	}
	p := start(t, fdstest.Options{Owners: owners})
	cfg := configure(t, p)
	cfg.Application.Name = `<img src=x onerror="alert(1)">`
	policy, page := lastPage(t, p, open(t, cfg), p.Owners()...)
	for _, part := range []string{"7 owners", owners[0].Spelling, "and 2 more", strings.TrimPrefix(p.Issuer(), "https://"), "openid offline_access", "renews it by itself"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page does not say %q:\n%s", part, page)
		}
	}
	if strings.Contains(page, owners[6].Spelling) || strings.Contains(page, "<img") {
		t.Errorf("the page is\n%s", page)
	}
	for _, secret := range p.Secrets() {
		if strings.Contains(page, secret) {
			t.Error("the page has a code or a token")
		}
	}
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
	if style == nil {
		t.Fatal("the page has no style")
	}
	hash := sha256.Sum256([]byte(style[1]))
	if allowed := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"; !strings.Contains(policy, allowed) || !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("the policy is %s, want %s", policy, allowed)
	}
}

func TestAPageOfTheApplicationsOwnIsTold(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Application.Page = template.Must(template.New("own").Parse(`<style>p{color:red}</style><p>{{range .Grant.Owners}}{{.}}{{end}} {{.Grant.Renewable}}`))
	policy, page := lastPage(t, p, open(t, cfg), p.Owners()[0])
	if !strings.Contains(page, "<p>"+p.Owners()[0].SubscriptionID.String()+" true") || !strings.Contains(policy, "style-src 'unsafe-inline'") {
		t.Errorf("%s\n%s", policy, page)
	}
}

func TestAnAccessThatEndsSaysWhen(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Application.Scopes = []string{"openid"}
	if _, page := lastPage(t, p, open(t, cfg), p.Owners()[0]); !regexp.MustCompile(`Until \d+ \w+ \d{4}, \d\d:\d\d UTC; then sign in again\.`).MatchString(page) {
		t.Errorf("the page is\n%s", page)
	}
}
