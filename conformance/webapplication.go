package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// applicationChecks are W4: it is the application that asks, and not somebody with its name.
func applicationChecks() []*check {
	const requirement, control = "W4", "W4-auth-right-credentials"
	refused := func(what, rule string, change func(*fdsclient.Application) error) *check {
		return &check{
			id: requirement + "-auth-" + what, requirement: requirement, duty: OfAuthorizationServer,
			needs: []need{needCredentials}, controls: []string{control}, negative: true,
			rule: rule, remedy: "Verify the application's credentials at the token endpoint before anything else, and answer invalid_client (RFC 6749 section 5.2).",
			weaknesses: []string{"CWE-287", "CWE-306", "API2:2023"},
			probe: func(r *run, ctx context.Context, t *trial) {
				application := r.config.Client.Application
				if err := change(&application); err != nil {
					t.error("%v", err)
					return
				}
				r.judgeApplication(ctx, t, what, application)
			},
		}
	}
	return []*check{
		{
			id: "W4-application-credentials", requirement: requirement, duty: OfApplication,
			rule:       "The application has credentials of its own: an ID and a secret at the least, better a certificate.",
			remedy:     "Have the provider register the application with a client certificate (RFC 8705), a key (RFC 7523) or a secret, and set it in Application.",
			weaknesses: []string{"CWE-306", "API2:2023"},
			probe:      (*run).probeCredentials,
		},
		{
			id: control, requirement: requirement, duty: OfAuthorizationServer, needs: []need{needCredentials},
			rule:   "The authorization server takes the application's own credentials.",
			remedy: "Compare the client ID, the credentials and the method of authentication with the registration.",
			probe:  (*run).probeRightCredentials,
		},
		refused("wrong-credentials", "The authorization server refuses the application's name with another secret, key or certificate.", otherCredentials),
		refused("no-credentials", "The authorization server refuses the application's name without credentials.", noCredentials),
	}
}

// needCredentials: the application has something to prove itself with.
func needCredentials(r *run) (Outcome, string) {
	if r.method() == fdsclient.AuthNone {
		return NotApplicable, "the application has no credentials, as W4-application-credentials tells"
	}
	return "", ""
}

// method is how the application authenticates, as far as its configuration says.
func (r *run) method() fdsclient.AuthMethod {
	switch a := r.config.Client.Application; {
	case a.AuthMethod != "":
		return a.AuthMethod
	case a.Key != nil:
		return fdsclient.AuthPrivateKeyJWT
	case !a.ClientSecret.IsZero():
		return fdsclient.AuthClientSecretBasic // or post, as the metadata have it
	case a.Certificate != nil:
		return fdsclient.AuthTLS
	}
	return fdsclient.AuthNone
}

func (r *run) probeCredentials(_ context.Context, t *trial) {
	method := r.method()
	tried := "look at how the application authenticates"
	switch method {
	case fdsclient.AuthNone:
		t.saw(tried, "it does not: it is a public client")
		t.fail("the application is a public client: whoever knows its ID is taken for it")
	case fdsclient.AuthTLS, fdsclient.AuthSelfSignedTLS:
		t.saw(tried, "%s, an X.509 certificate, which FDS strongly recommends", method)
		t.pass()
	case fdsclient.AuthPrivateKeyJWT:
		t.saw(tried, "%s, a key that never leaves it; FDS strongly recommends an X.509 certificate", method)
		t.pass()
	default:
		t.saw(tried, "by a client secret; FDS strongly recommends an X.509 certificate in its place (RFC 8705)")
		t.pass()
	}
	methods, known := r.metadataList("token_endpoint_auth_methods_supported")
	if known {
		t.saw("read token_endpoint_auth_methods_supported", "%q", methods)
	}
}

// throwAway is copyOf, and every connection of the client ends with ctx: its failures are meant,
// and nobody waits for them.
func (r *run) throwAway(ctx context.Context, change func(*fdsclient.Config), grants ...tokenstore.Grant) (*fdsclient.Client, error) {
	return r.copyOf(ctx, func(c *fdsclient.Config) {
		c.Provider.Dial = r.within(ctx)
		if change != nil {
			change(c)
		}
	}, grants...)
}

// madeUp returns a grant that the provider never gave, whose access token is over.
func (r *run) madeUp(ctx context.Context) tokenstore.Grant {
	id := fds.NewSubscriptionID().String()
	grant := tokenstore.Grant{Subscriptions: []string{id}, TokenType: "Bearer"}
	if r.owner != nil {
		if stored, err := r.grantOf(ctx, r.owner); err == nil {
			grant = stored // for the key that its tokens are bound to
		}
	}
	grant.Key = tokenstore.Key{Issuer: r.config.Client.Provider.Issuer, ClientID: r.config.Client.Application.ClientID, GrantID: id}
	grant.Revision, grant.Renewal, grant.GrantType = "", tokenstore.Renewal{}, ""
	grant.Created = time.Now().Add(-time.Hour).Round(0)
	grant.Renewed, grant.AccessExpiry = grant.Created, grant.Created.Add(time.Minute)
	grant.AccessToken, grant.RefreshToken = fds.NewSecret(rand.Text()), fds.NewSecret(rand.Text()+rand.Text())
	grant.RefreshExpiry = time.Time{}
	return grant
}

// spendMadeUp asks the token endpoint for a renewal with a made-up refresh token, and returns the
// error of the server.
func (r *run) spendMadeUp(ctx context.Context, application fdsclient.Application) (*fdsclient.OAuthError, error) {
	client, err := r.throwAway(ctx, func(c *fdsclient.Config) { c.Application = application }, r.madeUp(ctx))
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }() // what it keeps is made up
	owner, err := onlyOwner(ctx, client)
	if err != nil {
		return nil, err
	}
	_, err = owner.Token(ctx)
	var refused *fdsclient.OAuthError
	switch {
	case err == nil:
		return nil, errTaken
	case errors.As(err, &refused):
		return refused, err
	}
	return nil, err
}

// said is the server's own error, if there is one: that it would be asked again is of no use here.
func said(refused *fdsclient.OAuthError, err error) error {
	if refused != nil {
		return refused
	}
	return err
}

// errTaken says that a made-up refresh token was taken.
var errTaken = errors.New("the made-up refresh token was taken")

func onlyOwner(ctx context.Context, client *fdsclient.Client) (*fdsclient.Owner, error) {
	owners, err := client.Owners(ctx)
	if err != nil {
		return nil, err
	}
	if len(owners) == 0 {
		return nil, errors.New("the copy of the grant cannot be read")
	}
	return owners[0], nil
}

func (r *run) probeRightCredentials(ctx context.Context, t *trial) {
	refused, err := r.spendMadeUp(ctx, r.config.Client.Application)
	tried := "renew a made-up grant with the application's own credentials"
	t.saw(tried, "%v", said(refused, err))
	switch {
	case errors.Is(err, errTaken):
		t.fail("the token endpoint issues tokens for a refresh token that it never issued")
	case refused == nil:
		t.error("the token endpoint did not answer as RFC 6749 section 5.2 has it: %v", err)
	case refused.Code == "invalid_grant", refused.Code == "bad_refresh_token":
		t.pass() // the application was let in, and the token was not
	case refused.Code == "invalid_client", refused.Code == "unauthorized_client":
		t.fail("the authorization server does not take the application's own credentials (%s)", refused.Code)
	default:
		t.error("the token endpoint answers %s, where invalid_grant was due", refused.Code)
	}
}

func (r *run) judgeApplication(ctx context.Context, t *trial, what string, application fdsclient.Application) {
	refused, err := r.spendMadeUp(ctx, application)
	for range mostLost {
		if !errors.Is(err, fds.ErrUnavailable) || r.config.Client.Application.Certificate == nil || closesDoor(err) || ctx.Err() != nil {
			break
		}
		refused, err = r.spendMadeUp(ctx, application)
	}
	t.saw("renew a made-up grant with "+strings.ReplaceAll(what, "-", " "), "%v", said(refused, err))
	switch {
	case errors.Is(err, errTaken):
		t.fail("the token endpoint issues tokens for a refresh token that it never issued, to anybody")
	case refused == nil && r.config.Client.Application.Certificate != nil && closesDoor(err):
		t.pass() // who has no certificate of the application's does not get as far as OAuth
	case refused == nil:
		t.error("the token endpoint did not answer as RFC 6749 section 5.2 has it: %v", err)
	case refused.Code == "invalid_grant", refused.Code == "bad_refresh_token":
		t.fail("the token endpoint judges the grant of who did not prove to be the application (%s)", refused.Code)
	case slices.Contains([]string{"invalid_client", "unauthorized_client"}, refused.Code):
		t.pass()
	case refused.Code == "invalid_request", refused.HTTPStatus == 401:
		t.pass() // not let in, if by another name
	default:
		t.error("the token endpoint answers %s, where invalid_client was due", refused.Code)
	}
}

// mostLost is how often a server is asked again whose alert may have been lost: under TLS 1.3 it
// refuses a certificate when the request is on its way, and the connection may end before that is
// heard.
const mostLost = 4

// closesDoor reports whether a server ended a TLS handshake, by its word, for the client's
// certificate.
func closesDoor(err error) bool {
	alert := tlspolicy.Alert(err)
	return alert != "" && alert != "tls: internal error"
}

// otherCredentials puts others of the same kind in the place of the application's.
func otherCredentials(a *fdsclient.Application) error {
	if !a.ClientSecret.IsZero() {
		a.ClientSecret = fds.NewSecret(rand.Text() + rand.Text())
	}
	if a.Key != nil {
		if _, isRSA := a.Key.Public().(*rsa.PublicKey); isRSA {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				return err
			}
			a.Key = key
		} else {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return err
			}
			a.Key = key
		}
	}
	if a.Certificate != nil {
		certificate, err := selfSigned(a.ClientID)
		if err != nil {
			return err
		}
		a.Certificate = func(context.Context) (*tls.Certificate, error) { return certificate, nil }
	}
	return nil
}

// noCredentials leaves the application its name alone.
func noCredentials(a *fdsclient.Application) error {
	a.AuthMethod, a.ClientSecret, a.Key, a.KeyID, a.KeyAlgorithm, a.Certificate = fdsclient.AuthNone, fds.Secret{}, nil, "", "", nil
	a.SymmetricIDTokens = false
	return nil
}

// selfSigned makes a certificate that nobody knows.
func selfSigned(name string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
