package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
)

// throwAwaySignIn is a sign-in whose grant is kept in memory, and signed out at the end.
type throwAwaySignIn struct {
	client   *fdsclient.Client
	attempt  fdsclient.Attempt
	callback string
	owners   []*fdsclient.Owner
}

// signInChecks are what W8 asks of a sign-in, with a person at the browser.
func signInChecks() []*check {
	const requirement, control = "W8", "W8-signin-ordinary"
	return []*check{
		{
			id: control, requirement: requirement, duty: OfAuthorizationServer, needs: []need{needPerson, needAuthorization}, person: true,
			rule:   "An owner's user signs in by the authorization code flow with PKCE.",
			remedy: "Register the redirect URI with any port (RFC 8252 section 7.3); the error has the server's words.",
			probe:  (*run).probeSignIn,
		},
		{
			id: "W8-signin-code-twice", requirement: requirement, duty: OfAuthorizationServer, needs: []need{needPerson, needAuthorization}, controls: []string{control}, negative: true,
			rule:       "An authorization code is taken once.",
			remedy:     "Refuse a code that was used, and revoke what it brought (RFC 6749 section 4.1.2).",
			weaknesses: []string{"CWE-294", "API2:2023"},
			probe:      (*run).probeCodeTwice,
		},
		{
			id: "W8-signin-verifier", requirement: requirement, duty: OfAuthorizationServer, needs: []need{needPerson, needAuthorization}, controls: []string{control}, negative: true, person: true,
			rule:       "An authorization code is taken with the code_verifier of its own sign-in alone.",
			remedy:     "Compare the code_verifier with the code_challenge of the authorization request (RFC 7636 section 4.6).",
			weaknesses: []string{"CWE-287", "API2:2023"},
			probe:      (*run).probeVerifier,
		},
		{
			id: "W8-signin-pkce-demanded", requirement: requirement, duty: OfAuthorizationServer, needs: []need{needPerson, needAuthorization}, controls: []string{control}, negative: true, person: true,
			rule:       "A sign-in without PKCE is refused (RFC 9700 section 2.1.1).",
			remedy:     "Demand a code_challenge of method S256 in every authorization request of this application.",
			weaknesses: []string{"CWE-287", "API2:2023"},
			probe:      (*run).probePKCE,
		},
		{
			id: "W8-signin-redirect-exact", requirement: requirement, duty: OfAuthorizationServer, needs: []need{needPerson, needAuthorization}, controls: []string{control}, negative: true, person: true,
			rule:       "The browser is sent to a registered redirect URI only, compared letter by letter, but for the port of the loopback (RFC 9700 section 2.1).",
			remedy:     "Compare redirect_uri with the registered ones as texts; of http://127.0.0.1 and http://[::1] leave the port out. On any difference show the person a page, and redirect nowhere.",
			weaknesses: []string{"CWE-601", "API2:2023"},
			probe:      (*run).probeRedirect,
		},
	}
}

// needAuthorization: there is an authorization endpoint.
func needAuthorization(r *run) (Outcome, string) {
	if r.endpoint("authorization_endpoint") == "" {
		return Error, "the authorization endpoint is not known: the metadata name none"
	}
	return "", ""
}

// endSignIn signs the throw-away grants out.
func (r *run) endSignIn() {
	if r.web.signIn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	for _, o := range r.web.signIn.owners {
		_ = o.SignOut(ctx) // where there is no revocation it ends by itself
	}
	r.web.signIn = nil
}

// memoryClient is one whose grants are its own. It knows no broker: to sign out ends no session
// there.
func (r *run) memoryClient(ctx context.Context) (*fdsclient.Client, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	client, err := r.throwAway(life, func(c *fdsclient.Config) {
		c.Provider.BrokerURL, c.Certificates, c.Push.Fallbacks = "", nil, nil
	})
	if err != nil {
		cancel()
		return nil, err
	}
	r.web.ends = append(r.web.ends, func() {
		_ = client.Close() // its grants are thrown away
		cancel()
	})
	return client, nil
}

func (r *run) probeSignIn(ctx context.Context, t *trial) {
	s := new(throwAwaySignIn)
	request, listener, err := r.newCodeRequest(ctx, "")
	if errors.Is(err, errPushed) {
		r.signInPushed(ctx, t, s)
		return
	}
	if err != nil {
		t.error("%v", err)
		return
	}
	if s.attempt, err = request.attempt(); err != nil {
		t.error("%v", err)
		return
	}
	callback, err := r.browse(ctx, listener, request.address())
	if err != nil {
		t.saw("send the person to the authorization endpoint", "%v", err)
		t.error("the person did not come back: %v", err)
		return
	}
	s.callback = callback.String()
	if s.client, err = r.memoryClient(ctx); err != nil {
		t.error("%v", err)
		return
	}
	s.owners, err = s.client.FinishSignIn(ctx, s.attempt, s.callback)
	r.judgeSignIn(ctx, t, s, err)
}

// signInPushed signs in where requests are pushed, so that none can be altered.
func (r *run) signInPushed(ctx context.Context, t *trial, s *throwAwaySignIn) {
	var err error
	if s.client, err = r.memoryClient(ctx); err != nil {
		t.error("%v", err)
		return
	}
	s.owners, err = s.client.SignIn(ctx, *r.config.SignIn)
	r.judgeSignIn(ctx, t, s, err)
}

// noteOddID remembers a subscription ID that is none, for W6.
func (r *run) noteOddID(err error) {
	if errors.Is(err, fds.ErrSubscriptionID) && r.web.oddID == nil {
		r.web.oddID = err
	}
}

func (r *run) judgeSignIn(ctx context.Context, t *trial, s *throwAwaySignIn, err error) {
	if err != nil {
		r.noteOddID(err)
		t.saw("sign in", "%v", err)
		if isAnswer(err) {
			t.fail("the sign-in did not succeed: %v", err)
		} else {
			t.error("the sign-in did not come to its end: %v", err)
		}
		return
	}
	r.web.signIn = s
	var names []string
	for _, o := range s.owners {
		_, _ = r.token(ctx, o) // so that no Result shows it
		names = append(names, o.Key().SubscriptionID.String())
	}
	t.saw("sign in", "%d owners: %s", len(s.owners), cut(strings.Join(names, " ")))
	t.pass()
}

func (r *run) probeCodeTwice(ctx context.Context, t *trial) {
	s := r.web.signIn
	if s.callback == "" {
		t.untestable("authorization requests are pushed, and what the SDK pushes cannot be told: ask the authorization server")
		return
	}
	second, err := r.memoryClient(ctx)
	if err != nil {
		t.error("%v", err)
		return
	}
	owners, err := second.FinishSignIn(ctx, s.attempt, s.callback)
	tried := "use the authorization code of the ordinary sign-in again"
	var refused *fdsclient.OAuthError
	switch {
	case err == nil:
		t.saw(tried, "tokens")
		t.fail("the token endpoint takes an authorization code twice")
		s.owners = append(s.owners, owners...)
		return
	case !errors.As(err, &refused):
		t.saw(tried, "%v", err)
		t.error("the token endpoint did not say whether it takes the code again: %v", err)
		return
	}
	t.saw(tried, "%v", err)
	if !refusesGrant(refused) {
		t.error("the token endpoint did not say whether it takes the code again: %v", err)
		return
	}
	t.pass()
	if token, err := s.owners[0].Token(ctx); err == nil && token.Type() == "Bearer" && r.web.collection != "" {
		a, err := r.askWith(ctx, token.Reveal())
		if err != nil {
			t.error("%v", err)
			return
		}
		t.saw("use what the code had brought before", "%s: %s", a.saw(),
			map[bool]string{true: "it serves on, which RFC 6749 section 4.1.2 would have revoked", false: "it was revoked"}[a.isData()])
	}
}

// refusesGrant reports whether an error of the token endpoint is about the code or the refresh
// token, and not about who sent it or the server's state.
func refusesGrant(e *fdsclient.OAuthError) bool {
	return (e.HTTPStatus == http.StatusBadRequest || e.HTTPStatus == http.StatusUnauthorized || e.HTTPStatus == http.StatusForbidden) && !saysNothing(e.Code) &&
		!slices.Contains([]string{"invalid_client", "unauthorized_client", "unsupported_grant_type", "use_dpop_nonce", "invalid_dpop_proof"}, e.Code)
}

// probeVerifier signs in once more, and uses the code with another sign-in's code_verifier.
func (r *run) probeVerifier(ctx context.Context, t *trial) {
	request, listener, err := r.newCodeRequest(ctx, "")
	if !usable(t, err) {
		return
	}
	callback, err := r.browse(ctx, listener, request.address())
	if err != nil {
		t.saw("send the person to the authorization endpoint", "%v", err)
		t.error("the person did not come back: %v", err)
		return
	}
	request.verifier = oauth2.GenerateVerifier()
	r.secret(request.verifier)
	attempt, err := request.attempt()
	if err != nil {
		t.error("%v", err)
		return
	}
	client, err := r.memoryClient(ctx)
	if err != nil {
		t.error("%v", err)
		return
	}
	owners, err := client.FinishSignIn(ctx, attempt, callback.String())
	tried := "use an authorization code with a code_verifier that is not its own"
	var refused *fdsclient.OAuthError
	switch {
	case err == nil:
		r.web.signIn.owners = append(r.web.signIn.owners, owners...)
		t.saw(tried, "tokens")
		t.fail("the token endpoint does not verify the code_verifier: a code that was stolen serves the thief")
	case errors.As(err, &refused) && refused.Endpoint == "token" && refusesGrant(refused):
		t.saw(tried, "%v", err)
		t.pass()
	default:
		t.saw(tried, "%v", err)
		t.error("the token endpoint did not say whether it takes the code: %v", err)
	}
}

// personWait is how long is waited for a person who may see an error page at the browser.
var personWait = 3 * time.Minute

func (r *run) probePKCE(ctx context.Context, t *trial) {
	request, listener, err := r.newCodeRequest(ctx, "")
	if !usable(t, err) {
		return
	}
	defer func() { _ = listener.Close() }() // browse may not have come to it
	ordinary := r.knock(ctx, request)
	t.saw("ask for a code as the SDK does", "%s", ordinary.saw)
	request.query.Del("code_challenge")
	request.query.Del("code_challenge_method")
	tried := "ask for a code without code_challenge"
	knocked := r.knock(ctx, request)
	t.saw(tried, "%s", knocked.saw)
	switch {
	case knocked.failed != nil:
		t.error("%v", knocked.failed)
		return
	case knocked.refused && !ordinary.refused && ordinary.failed == nil: // and not whatever a program asks
		t.pass()
		return
	case knocked.code:
		t.fail("the authorization endpoint issues a code without PKCE")
		return
	}
	waiting, cancel := context.WithTimeout(ctx, personWait)
	defer cancel()
	callback, err := r.browse(waiting, listener, request.address())
	tried += ", as a person at the browser"
	switch {
	case err != nil:
		t.saw(tried, "%v", err)
		t.untestable("the authorization endpoint shows a page, from which nobody came back: if it said that PKCE is missing, the rule holds")
	case callback.Query().Get("code") != "":
		t.saw(tried, "a code")
		t.fail("the authorization endpoint issues a code without PKCE")
	case saysNothing(callback.Query().Get("error")):
		t.saw(tried, "error %q", cut(r.redacted(callback.Query().Get("error"))))
		t.untestable("the person came back without a code, and not for want of PKCE: check again, and have the person sign in and agree")
	default:
		t.saw(tried, "error %q", cut(r.redacted(callback.Query().Get("error"))))
		t.pass()
	}
}

func (r *run) probeRedirect(ctx context.Context, t *trial) {
	request, listener, err := r.newCodeRequest(ctx, "/conformance-unregistered")
	if !usable(t, err) {
		return
	}
	defer func() { _ = listener.Close() }() // browse may not have come to it
	below := request.query.Get("redirect_uri")
	registered := strings.TrimSuffix(below, "/conformance-unregistered")
	parsed, err := url.Parse(registered)
	if err != nil {
		t.error("%v", err)
		return
	}
	request.query.Set("redirect_uri", registered)
	ordinary := r.knock(ctx, request)
	t.saw("ask for a code with the registered redirect_uri", "%s", ordinary.saw)
	if ordinary.failed != nil {
		t.error("%v", ordinary.failed)
		return
	}
	for _, one := range []struct{ what, uri string }{
		{"another host", "https://conformance.invalid" + parsed.Path},
		{"the registered one as the user name of another host", "http://" + parsed.Host + "@conformance.invalid" + parsed.Path},
		{"a query added to the registered one", registered + "?conformance=1"},
		{"a path below the registered one", below},
	} {
		request.query.Set("redirect_uri", one.uri)
		knocked := r.knock(ctx, request)
		tried := "ask for a code with redirect_uri " + one.what
		t.saw(tried, "%s", knocked.saw)
		switch {
		case knocked.failed != nil:
			t.error("%v", knocked.failed)
		case knocked.toTarget:
			t.fail("the browser is sent to an unregistered redirect URI: %s", one.what)
		case knocked.refused && !ordinary.refused:
			t.pass()
		case one.uri != below: // from where nobody can come back
			t.untestable("the authorization endpoint answers to a program as if the redirect URI were registered (%s): if it shows an error to a person who signs in, the rule holds", one.what)
		default:
			waiting, cancel := context.WithTimeout(ctx, personWait)
			_, err := r.browse(waiting, listener, request.address())
			cancel()
			if err != nil {
				t.saw(tried+", as a person at the browser", "%v", err)
				t.untestable("the authorization endpoint shows a page, from which nobody came back: if it said that the redirect URI is wrong, the rule holds")
				break
			}
			t.saw(tried+", as a person at the browser", "the browser was sent there")
			t.fail("the browser is sent to an unregistered redirect URI: %s", one.what)
		}
	}
}

// usable reports whether an altered request can be made.
func usable(t *trial, err error) bool {
	switch {
	case errors.Is(err, errPushed):
		t.untestable("%v: ask the authorization server", err)
	case err != nil:
		t.error("%v", err)
	}
	return err == nil
}

// errPushed says that a request cannot be altered.
var errPushed = fmt.Errorf("authorization requests are pushed (RFC 9126), so that none can be altered in the browser")
